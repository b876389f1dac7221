"""The form of a message: the names of its fields, in their order.

As with the shapes of HTTP/1.1, whose bigger sisters these are, few come along, and what names alone decide is decided
once for each: that pseudo-header fields stand in front and are the right ones, that names are in lower case, that none
belongs to the connection, and which lines an HTTP/1.1 message of the same meaning has.  There are no secrets in names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from meshproxy.wire.h1.body import FORBIDDEN_TRAILERS
from meshproxy.wire.h1.faults import Malformed, Reason
from meshproxy.wire.h1.grammar import CLEAN, CRLF, token
from meshproxy.wire.h1.rules import Limits
from meshproxy.wire.h1.shape import LONGEST_SHAPE, MOST_SHAPES
from meshproxy.wire.hpack import Block

CONNECTION_FIELDS = frozenset(
    b"connection keep-alive proxy-connection transfer-encoding upgrade http2-settings".split()
)
"""What HTTP/1.1 says of one connection; HTTP/2 has frames for it, and who says it nevertheless means to fool somebody
behind."""

CHUNKED_LINE = b"Transfer-Encoding: chunked"

Names = tuple[bytes, ...]
Values = tuple[bytes, ...]

# A block may stand in three places, and what it means in one is never taken for what it would mean in another: as a
# head by whether it is all of the message, and as trailers.
TRAILERS = 2
_PLACES = 3

NOWHERE = -1


def meanings(block: Block) -> list[Any]:
    """By the places where it may stand, what the block has been found to mean."""
    found: list[Any] | None = block.meaning
    if found is None:
        found = block.meaning = [None] * _PLACES
    return found


class Form:
    """The numbers are places among all fields, or NOWHERE."""

    __slots__ = ("names", "places", "start")

    def __init__(self, names: Names, known: frozenset[bytes], limits: Limits) -> None:
        self.places: dict[bytes, int] = {}
        """Where the pseudo-header fields stand."""
        for name in names:
            if name[:1] != b":":
                break
            if name not in known or name in self.places:
                raise Malformed(Reason.BAD_PSEUDO_HEADER)
            self.places[name] = len(self.places)
        self.start = len(self.places)
        """Where they end, and the others begin."""
        self.names = names[self.start :]
        if len(self.names) > limits.fields:
            raise Malformed(Reason.TOO_MANY_FIELDS)
        for name in self.names:
            refuse_bad_name(name)

    def only(self, name: bytes, otherwise: Reason) -> int:
        """Where a field stands that must not be repeated."""
        if name not in self.names:
            return NOWHERE
        if self.names.count(name) > 1:
            raise Malformed(otherwise)
        return self.start + self.names.index(name)


def refuse_bad_name(name: bytes) -> None:
    if name[:1] == b":":
        raise Malformed(Reason.BAD_PSEUDO_HEADER)
    if token(name) is None:
        raise Malformed(Reason.BAD_FIELD_NAME)
    if name != name.lower():
        raise Malformed(Reason.CAPITAL_IN_NAME)
    if name in CONNECTION_FIELDS:
        raise Malformed(Reason.CONNECTION_FIELD)


T = TypeVar("T")


class Forms(dict[Names, T], Generic[T]):
    """What was made of the names that were seen.  Emptied when full, like `Shapes`."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[Names], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, names: Names) -> T:
        made = self._make(names)
        if sum(map(len, names)) <= LONGEST_SHAPE:
            if len(self) >= MOST_SHAPES:
                self.clear()
            self[names] = made
        return made


_strip = bytes.strip


def refuse_bad_values(values: Values, lines: tuple[bytes, ...], limits: Limits) -> None:
    """Whatever could end a line, or be taken for another value; and more than is taken at all."""
    joined = b"".join(lines)
    if joined.translate(CLEAN) != joined:
        raise Malformed(Reason.CONTROL_BYTE)
    if tuple(map(_strip, values)) != values:
        raise Malformed(Reason.SPACE_AROUND_VALUE)
    if len(joined) + len(CRLF) * len(lines) > limits.head:
        raise Malformed(Reason.HEAD_TOO_LARGE)


def trailers(block: Block, limits: Limits) -> list[bytes]:
    """The field lines after a body, without their ends.  The same block gives the same list, which is not to change."""
    known = meanings(block)
    found: list[bytes] | None = known[TRAILERS]
    if found is None:
        if len(block.fields) > limits.fields:
            raise Malformed(Reason.TOO_MANY_FIELDS)
        for name, _, _ in block.fields:
            refuse_bad_name(name)
            if name in FORBIDDEN_TRAILERS:
                raise Malformed(Reason.FORBIDDEN_TRAILER)
        found = [line for _, _, line in block.fields]
        refuse_bad_values(tuple([value for _, value, _ in block.fields]), tuple(found), limits)
        known[TRAILERS] = found
    return found
