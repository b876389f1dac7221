"""WebSocket (RFC 6455) as a client speaks it: bytes in, messages out, and back.  It knows no socket.

    request = encode.request(b"GET", target, [host, *offer(key)])        # `key`: 16 bytes of chance
    agreed(head.get(b"sec-websocket-accept"), key)
    messages = Messages()
    for kind, data in messages.feed(received): ...                       # raises Violation
    sent(PONG, data, mask)                                               # `mask`: four bytes of chance

Nothing beyond the protocol itself is offered, so nothing else is accepted.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha1

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_CONTINUED = 0
_FINAL, _RESERVED, _KIND = 0x80, 0x70, 0x0F
_MASKED, _LENGTH = 0x80, 0x7F
_KINDS = frozenset((_CONTINUED, TEXT, BINARY, CLOSE, PING, PONG))

LARGEST_MESSAGE = 64 * 1024
LARGEST_CONTROL = 125
KEY_SIZE, MASK_SIZE = 16, 4

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Field = tuple[bytes, bytes]


class Violation(ValueError):
    """What arrived is no WebSocket.  Nothing more is read after it."""


def offer(key: bytes) -> tuple[Field, ...]:
    """What a request says that would go on as a WebSocket."""
    return (
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", b64encode(key)),
    )


def agreed(accept: bytes | None, key: bytes) -> bool:
    """Whether whoever has answered had read the offer."""
    return accept == accepts(b64encode(key))


def accepts(offered: bytes) -> bytes:
    """What whoever agrees says to this text of a key."""
    return b64encode(sha1(offered + _GUID, usedforsecurity=False).digest())


def sent(kind: int, data: bytes, mask: bytes) -> bytes:
    """A control frame; a client masks all that it says."""
    if len(data) > LARGEST_CONTROL or len(mask) != MASK_SIZE:
        raise ValueError(f"no control frame: {len(data)} bytes, a mask of {len(mask)}")
    masked = bytes(byte ^ mask[place % MASK_SIZE] for place, byte in enumerate(data))
    return bytes((_FINAL | kind, _MASKED | len(data))) + mask + masked


class Messages:
    """Of a server, in the order in which they end: control frames may come between the frames of a message."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._kind = _CONTINUED
        """Of the message that has begun and not ended; none has, where it is this."""
        self._parts = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        self._buffer += data
        while (frame := self._frame()) is not None:
            first, payload = frame
            message = self._taken(first & _KIND, bool(first & _FINAL), payload)
            if message is not None:
                yield message

    def _frame(self) -> tuple[int, bytes] | None:
        """The first byte and what the frame holds; None: more is needed."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        if first & _RESERVED or first & _KIND not in _KINDS:
            raise Violation(f"a frame begins with 0x{first:02x}")
        if second & _MASKED:
            raise Violation("a server does not mask what it says")
        start, length = 2, second & _LENGTH
        if length > LARGEST_CONTROL:
            start += 2 if length == LARGEST_CONTROL + 1 else 8
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
        if first & _KIND >= CLOSE:
            if length > LARGEST_CONTROL or not first & _FINAL:
                raise Violation("a control frame is too long, or in pieces")
        elif len(self._parts) + length > LARGEST_MESSAGE:
            raise Violation(f"a message has more than {LARGEST_MESSAGE >> 10} KiB")
        if len(buffer) < start + length:
            return None
        payload = bytes(buffer[start : start + length])
        del buffer[: start + length]
        return first, payload

    def _taken(self, kind: int, final: bool, payload: bytes) -> tuple[int, bytes] | None:
        if kind >= CLOSE:
            return kind, payload
        if (kind == _CONTINUED) != (self._kind != _CONTINUED):
            raise Violation("a message goes on that has not begun, or begins within another")
        self._kind = self._kind or kind
        self._parts += payload
        if not final:
            return None
        kind, whole = self._kind, bytes(self._parts)
        self._kind = _CONTINUED
        self._parts.clear()
        if kind == TEXT:
            try:
                whole.decode()
            except UnicodeDecodeError:
                raise Violation("a text is not UTF-8") from None
        return kind, whole
