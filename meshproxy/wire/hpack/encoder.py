"""Fields as we say them: each on its own, by the static table alone, and in plain bytes.

To code in Huffman would save the peer a third of bytes that the local network hardly feels, and cost both sides time.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from meshproxy.wire.h1.grammar import OWS
from meshproxy.wire.h1.memo import LONGEST_KEY, MOST_ENTRIES, Memo
from meshproxy.wire.h1.shape import sounds_secret
from meshproxy.wire.hpack import integers
from meshproxy.wire.hpack.table import STATIC

NEVER_INDEXED = frozenset((b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"))
"""Fields that no hop is to keep in a table, where another stream could find out by guessing."""

_WHOLE = {(name, value): index for index, (name, value, _) in enumerate(STATIC, 1)}
_NAMES = {name: index for index, (name, _, _) in reversed(tuple(enumerate(STATIC, 1)))}

_INDEXED, _LITERAL, _NEVER = 0x80, 0x00, 0x10
_SIZES = [bytes((size,)) for size in range(0x7F)]
"""Of short strings."""

MOST_KEPT = 64
"""Lines of one name: with more than that it is a field whose values are ever new, or a date."""
SKIPS = 15
"""Of such a field, one line in sixteen is kept: a date comes again for a second."""


def field(name: bytes, value: bytes) -> bytes:
    """`name` is in lower case."""
    whole = _WHOLE.get((name, value))
    if whole is not None and value:
        return bytes((_INDEXED | whole,))
    return beginning(name) + string(value)


def beginning(name: bytes) -> bytes:
    """All of a field but its value."""
    form = _NEVER if name in NEVER_INDEXED else _LITERAL
    index = _NAMES.get(name, 0)
    return integers.encode(index, 0x0F, form) + (b"" if index else string(name))


def string(text: bytes) -> bytes:
    size = len(text)
    return (_SIZES[size] if size < 0x7F else integers.encode(size, 0x7F, 0)) + text


STATUS = {status: field(b":status", b"%d" % status) for status in range(100, 600)}


class Name:
    """What is known of a field by its name."""

    __slots__ = ("beginning", "kept", "latest", "only", "secret", "skips")

    def __init__(self, name: bytes, only: frozenset[bytes] | None) -> None:
        self.beginning = beginning(name)
        self.only = only
        """The values with which it is said, if not with all."""
        self.secret = sounds_secret(name) is not None
        self.kept = 0
        self.latest = b""
        """The line that makes room for the next one, once as many are kept as may be."""
        self.skips = 0
        """Lines to come that are not kept then."""


class Lines(dict[bytes, bytes]):
    """From lines, as HTTP/1.1 has them but without their ends, to fields of a block.

    Most lines come again, and cost one look-up.  Those with ever new values drive out each other alone, and those with
    secrets are never kept.
    """

    __slots__ = ("_names",)

    def __init__(self, only: Mapping[bytes, frozenset[bytes]] = MappingProxyType({})) -> None:
        """`only`: fields, by names in lower case, that are left out but for these values."""
        super().__init__()

        def name(spelt: bytes) -> Name:
            lower = spelt.lower()
            return Name(lower, only.get(lower))

        self._names: Memo[Name] = Memo(name)

    def __missing__(self, line: bytes) -> bytes:
        spelt, _, value = line.partition(b":")
        value = value.strip(OWS)
        name = self._names[spelt]
        if name.only is not None and value not in name.only:
            return b""
        size = len(value)
        encoded = name.beginning + (_SIZES[size] if size < 0x7F else integers.encode(size, 0x7F, 0)) + value
        if name.secret or len(line) > LONGEST_KEY:
            return encoded
        if name.kept < MOST_KEPT:
            name.kept += 1
            if len(self) >= MOST_ENTRIES:
                self.clear()
                self._names.clear()
        elif name.skips:
            name.skips -= 1
            return encoded
        else:
            name.skips = SKIPS
            self.pop(name.latest, None)
        name.latest = line
        self[line] = encoded
        return encoded
