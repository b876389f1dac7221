"""WebSocket (RFC 6455) as a server speaks it, for a protocol whose bytes may be cut anywhere over the frames.

    head = accepted(request_key, b"mqtt")       # the answer to the request that asked for it
    frames = Frames(most=MOST_FRAME)
    payload = frames.feed(received)             # unmasked, as it comes: no frame is ever collected
    frames.owed                                 # a pong to send; frames.over: nothing more is read, say why and go
    conn.write(binary(data)); conn.write(closing(code))

Nothing beyond the protocol itself is accepted: no extension, and no text, for what is carried is bytes.
"""

from __future__ import annotations

import re
from enum import IntEnum

from meshproxy.wire.websocket import (
    BINARY,
    CLOSE,
    LARGEST_CONTROL,
    MASK_SIZE,
    PING,
    PONG,
    TEXT,
    accepts,
)

MOST_FRAME = 1 << 28
"""Bytes of a frame; the largest packet of MQTT is as long.  Nothing is held of it, so this costs nothing."""

_CONTINUED = 0
_FINAL, _RESERVED, _KIND = 0x80, 0x70, 0x0F
_MASKED, _LENGTH = 0x80, 0x7F
_MESSAGE = _FINAL | BINARY
_SHORTEST = 2 + MASK_SIZE
_IN_16, _IN_64 = 126, 127
_WITHIN = frozenset((_CONTINUED, TEXT, BINARY, CLOSE, PING, PONG))

_key = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==").fullmatch


class Code(IntEnum):
    """Why a WebSocket is closed."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003
    NONE = 1005
    """None was said; never sent."""
    BAD_DATA = 1007
    TOO_LARGE = 1009


_MAY_BE_SAID = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))


def is_key(value: bytes | None) -> bool:
    """Whether it is the text of sixteen bytes, as every client sends one."""
    return value is not None and _key(value) is not None


def accepted(key: bytes, protocol: bytes) -> bytes:
    """The whole head that says so."""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: %b\r\nSec-WebSocket-Protocol: %b\r\n\r\n" % (accepts(key), protocol)
    )


def binary(data: bytes) -> bytes:
    """A whole message; a server masks nothing."""
    size = len(data)
    if size < _IN_16:
        return b"\x82%c%b" % (size, data)
    if size <= 0xFFFF:
        return b"\x82\x7e%b%b" % (size.to_bytes(2, "big"), data)
    return b"\x82\x7f%b%b" % (size.to_bytes(8, "big"), data)


def closing(code: int) -> bytes:
    return bytes((_FINAL | CLOSE, 0)) if code == Code.NONE else b"\x88\x02" + code.to_bytes(2, "big")


def unmasked(data: bytes, mask: bytes) -> bytes:
    """All at once as two large numbers: byte by byte would take fifty times as long."""
    size = len(data)
    stretched = (mask * (size // MASK_SIZE + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(stretched, "little")).to_bytes(size, "little")


class _Over(Exception):
    def __init__(self, code: int, word: str) -> None:
        super().__init__(word)
        self.code = code


class Frames:
    """What a client sends.  What was good before a fault is still handed on, and nothing after it."""

    __slots__ = ("_begun", "_head", "_left", "_mask", "_most", "over", "owed", "word")

    def __init__(self, most: int = MOST_FRAME) -> None:
        self._most = most
        self._head = b""
        """Of a frame of which that is not all, or of one that must be whole."""
        self._left = 0
        """Bytes to come of the frame that is being read."""
        self._mask = b""
        """Turned to where its next byte is."""
        self._begun = False
        """Whether a message has begun that is not whole."""
        self.owed = b""
        """The answer to the latest ping, until somebody takes it: the ones before need none (RFC 6455 5.5.3)."""
        self.over = 0
        """The code to close with, once the client has closed or broken a rule."""
        self.word = ""
        """Which rule; empty where it has closed."""

    def feed(self, data: bytes) -> bytes:
        """The payload in it."""
        if self.over:
            return b""
        parts: list[bytes] = []
        try:
            at = self._rest(data, parts) if self._left else 0
            if self._head:
                data, at, self._head = self._head + data[at:], 0, b""
            here, taken = len(data), parts.append
            while at < here:
                # Nearly all that comes is a short message that is whole, and more are in one read than of any other.
                if data[at] == _MESSAGE and not self._begun and here - at > _SHORTEST:
                    size = data[at + 1] - _MASKED
                    start = at + _SHORTEST
                    if 0 < size < _IN_16 and start + size <= here:
                        at = start + size
                        taken(unmasked(data[start:at], data[start - MASK_SIZE : start]))
                        continue
                at = self._frame(data, at, parts)
        except _Over as over:
            self.over, self.word = over.code, str(over)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _rest(self, data: bytes, parts: list[bytes]) -> int:
        """Of a frame that came in part; where what follows it begins."""
        piece = data[: self._left]
        size = len(piece)
        parts.append(unmasked(piece, self._mask))
        self._left -= size
        turn = size % MASK_SIZE
        self._mask = self._mask[turn:] + self._mask[:turn]
        return size

    def _frame(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Read the one that begins there, as far as it has come; where the next one begins."""
        here = len(data)
        if here - at < 2:
            self._head = data[at:]
            return here
        first, second = data[at], data[at + 1]
        kind, length = first & _KIND, second & _LENGTH
        self._check(first, kind, second, length)
        start = at + 2
        if length >= _IN_16:
            start += 2 if length == _IN_16 else 8
            if here < start:
                self._head = data[at:]
                return here
            length = self._long(length, int.from_bytes(data[at + 2 : start], "big"))
        start += MASK_SIZE
        end = start + length
        if here < start or (kind >= CLOSE and here < end):
            self._head = data[at:]
            return here
        mask = data[start - MASK_SIZE : start]
        if kind >= CLOSE:
            self._control(kind, unmasked(data[start:end], mask))
        else:
            self._begun = not first & _FINAL
            self._mask, self._left = mask, length
            if length:
                # Where all of it is here, which it mostly is, this is all of it.
                return start + self._rest(data[start:end], parts)
        return end

    def _check(self, first: int, kind: int, second: int, length: int) -> None:
        if first & _RESERVED:
            raise _Over(Code.PROTOCOL_ERROR, "reserved_bits")
        if kind not in _WITHIN:
            raise _Over(Code.PROTOCOL_ERROR, "reserved_opcode")
        if not second & _MASKED:
            raise _Over(Code.PROTOCOL_ERROR, "unmasked")
        if kind >= CLOSE:
            if not first & _FINAL or length > LARGEST_CONTROL:
                raise _Over(Code.PROTOCOL_ERROR, "bad_control")
        elif (kind == _CONTINUED) != self._begun:
            raise _Over(Code.PROTOCOL_ERROR, "bad_continuation")
        elif kind == TEXT:
            raise _Over(Code.UNSUPPORTED, "text")

    def _long(self, how: int, length: int) -> int:
        if length >> 63 or length < (_IN_16 if how == _IN_16 else 1 << 16):
            raise _Over(Code.PROTOCOL_ERROR, "bad_length")
        if length > self._most:
            raise _Over(Code.TOO_LARGE, "too_large")
        return length

    def _control(self, kind: int, payload: bytes) -> None:
        if kind == PING:
            self.owed = bytes((_FINAL | PONG, len(payload))) + payload
        elif kind == CLOSE:
            raise _Over(*_closed(payload))


def _closed(payload: bytes) -> tuple[int, str]:
    """What is answered to a close."""
    if not payload:
        return Code.NONE, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or code not in _MAY_BE_SAID:
        return Code.PROTOCOL_ERROR, "bad_close"
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return Code.BAD_DATA, "bad_close"
    return code, ""
