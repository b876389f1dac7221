"""Blocks of fields as a peer sends them.

A block that changed nothing in the table says the same again until something does: it is remembered, and the next time
its fields are found by one look-up, together with whatever the reader made of them.

What a block costs is bounded: a field takes a byte of it at least, but may stand for all that the table holds, so of
more fields than are taken none is kept, and the rest is read for the sake of the table alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshproxy.wire.h1.memo import Memo
from meshproxy.wire.hpack import huffman, integers
from meshproxy.wire.hpack.encoder import NEVER_INDEXED
from meshproxy.wire.hpack.faults import Broken, Reason, TooLarge
from meshproxy.wire.hpack.table import DEFAULT_SIZE, Field, Table, size_of

MOST_REMEMBERED = 32
LONGEST_REMEMBERED = 256

MOST_LIST = 60 * 1024
MOST_FIELDS = 104
"""A hundred, and the pseudo-header fields of a request."""

_memo: Memo[bytes] = Memo(huffman.decode)
_remembered = _memo.__getitem__
"""For names, which are few, and values that a peer does not want in the table but does not call secret either."""


class Block:
    __slots__ = ("fields", "meaning")

    def __init__(self, fields: list[Field]) -> None:
        self.fields = fields
        self.meaning: Any = None
        """What whoever decodes makes of it, and wants to know if the same block comes again."""


class Decoder:
    __slots__ = ("_asked", "_due", "_known", "_limit", "_most_fields", "_most_list", "table")

    def __init__(
        self, table_size: int = DEFAULT_SIZE, most_list: int = MOST_LIST, most_fields: int = MOST_FIELDS
    ) -> None:
        """`table_size` is what our SETTINGS say, or are silent about."""
        self.table = Table()
        self._asked = table_size
        self._limit = max(table_size, DEFAULT_SIZE)
        """Of the table, by what the peer may know of our SETTINGS."""
        self._due = False
        """Whether the next block has to begin with a smaller size of the table."""
        self._most_list = most_list
        self._most_fields = most_fields
        self._known: dict[bytes, Block] = {}

    def acknowledged(self) -> None:
        """The peer knows our SETTINGS from here on."""
        self._limit = self._asked
        self._due = self.table.most > self._limit
        self._known.clear()

    def forget(self) -> None:
        """What blocks were found to mean: they are read anew."""
        self._known.clear()

    def decode(self, block: bytes) -> Block:
        known = self._known.get(block)
        if known is not None:
            return known
        at = self._resized(block) if self._due or (block and block[0] & 0xE0 == 0x20) else 0
        fields, may_be_kept = self._fields(block, at)
        decoded = Block(fields)
        if may_be_kept and not at and len(block) <= LONGEST_REMEMBERED:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[block] = decoded
        return decoded

    def _resized(self, block: bytes) -> int:
        """Obey what the block says of the table's size, and answer where its fields begin."""
        at = 0
        while (form := block[at : at + 1]) and form[0] & 0xE0 == 0x20:
            size, at = form[0] & 0x1F, at + 1
            if size == 0x1F:
                size, at = integers.decode(block, at, 0x1F)
            if size > self._limit:
                raise Broken(Reason.SIZE_UPDATE_TOO_LARGE)
            self.table.resize(size)
            self._known.clear()
            self._due = False
        if self._due:
            raise Broken(Reason.SIZE_UPDATE_MISSING)
        return at

    def _fields(self, block: bytes, at: int) -> tuple[list[Field], bool]:
        """And whether the block may be remembered."""
        table = self.table
        entries = table.entries
        fields: list[Field] = []
        may_be_kept, changed, too_many = True, False, False
        size, most = len(block), self._most_fields
        long = size > most
        try:
            while at < size:
                if long and len(fields) > most:
                    too_many = True
                    fields = []
                form = block[at]
                if form > 0x80:
                    if form < 0xFF:
                        fields.append(entries[form - 0x80])
                        at += 1
                    else:
                        index, at = integers.decode(block, at + 1, 0x7F)
                        fields.append(entries[index])
                    continue
                at += 1
                if form >= 0x40:
                    index = form & 0x3F
                    if index == 0x3F:
                        index, at = integers.decode(block, at, 0x3F)
                elif form < 0x20:
                    index = form & 0x0F
                    if index == 0x0F:
                        index, at = integers.decode(block, at, 0x0F)
                else:
                    raise Broken(Reason.SIZE_UPDATE_TOO_LATE)
                if index:
                    name = entries[index][0]
                elif form < 0x80:
                    name, at = _string(block, at, _remembered)
                else:
                    raise Broken(Reason.BAD_INDEX)
                if form >= 0x40:
                    value, at = _string(block, at, huffman.decode)
                    field = (name, value, name + b": " + value)
                    table.add(field)
                    fields.append(field)
                    changed = True
                else:
                    secret = form >= 0x10 or name in NEVER_INDEXED
                    value, at = _string(block, at, huffman.decode if secret else _remembered)
                    fields.append((name, value, name + b": " + value))
                    if secret:
                        may_be_kept = False
        except IndexError:
            raise Broken(Reason.BAD_INDEX) from None
        if changed:
            self._known.clear()
        if too_many or len(fields) > most:
            raise TooLarge
        # Of bytes in the block, Huffman makes less than twice as many
        at_most = len(fields) * table.largest + 2 * size
        if at_most > self._most_list and size_of(fields) > self._most_list:
            raise TooLarge
        return fields, may_be_kept and not changed


def _string(block: bytes, at: int, decode: Callable[[bytes], bytes]) -> tuple[bytes, int]:
    """A string, and where it ends."""
    try:
        length = block[at]
    except IndexError:
        raise Broken(Reason.TRUNCATED) from None
    at += 1
    coded = length >= 0x80
    length &= 0x7F
    if length == 0x7F:
        length, at = integers.decode(block, at, 0x7F)
    end = at + length
    text = block[at:end]
    if len(text) < length:
        raise Broken(Reason.TRUNCATED)
    return decode(text) if coded else text, end
