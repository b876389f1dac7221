"""Cuts a stream into packets, without a look at what is in them.

    frames = Frames(1 << 20)
    data, cuts = frames.feed(chunk)
    for start, body, end in cuts:
        packet = decode(V5, data, start, body, end)

Nearly always a chunk is one packet or a few whole ones; then `data` is the chunk itself, and nothing is copied.
"""

from __future__ import annotations

from meshproxy.wire.mqtt.codes import Code
from meshproxy.wire.mqtt.faults import Cut, Fault, Malformed

MOST_LENGTH_BYTES = 4


class Frames:
    __slots__ = ("_held", "_needed", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        """Bytes of the largest packet, all of it."""
        self._held: bytes | bytearray = b""
        self._needed = 0
        """So many bytes have to be there before it is worth to look again."""

    @property
    def waiting(self) -> int:
        """How many bytes of a packet that is not whole yet are held."""
        return len(self._held)

    def feed(self, data: bytes) -> tuple[bytes, list[Cut]]:
        """The cuts lie in the bytes that are returned, one behind the other from the first byte on."""
        if self._held:
            if len(self._held) + len(data) < self._needed:
                self._keep(data)
                return b"", []
            data = b"".join((self._held, data))
            self._held = b""
        size, most = len(data), self.most
        if size > 2:
            # One whole packet of up to 16 KiB; what follows would find the same, but slower
            length = data[1]
            if length < 0x80:
                if length + 2 == size <= most and data[0] > 0x0F:
                    return data, [(0, 2, size)]
            elif 0 < (high := data[2]) < 0x80 and length - 0x80 + high * 0x80 + 3 == size <= most and data[0] > 0x0F:
                return data, [(0, 3, size)]
        cuts: list[Cut] = []
        at, last = 0, size - 1
        while at < last:
            if data[at] < 0x10:
                raise _type_0(data, cuts)
            length, body = data[at + 1], at + 2
            if length > 0x7F:
                if body <= last and 0 < (high := data[body]) < 0x80:
                    length += (high - 1) * 0x80
                    body += 1
                else:
                    length, body = self._long(data, at, cuts)
                    if not body:
                        break
            end = body + length
            if end - at > most:
                raise _fault(data, cuts, Fault.TOO_LARGE, f"of {end - at} bytes", Code.PACKET_TOO_LARGE)
            if end - 1 > last:
                self._needed = end - at
                break
            cuts.append((at, body, end))
            at = end
        if at <= last:
            if at == last:
                if data[at] < 0x10:
                    raise _type_0(data, cuts)
                self._needed = 2
            self._held = data[at:]
        return data, cuts

    def _keep(self, data: bytes) -> None:
        held = self._held
        if not isinstance(held, bytearray):
            held = self._held = bytearray(held)
        held += data

    def _long(self, data: bytes, at: int, cuts: list[Cut]) -> tuple[int, int]:
        """A length of more than one byte, and where the body begins; 0: that is not known yet."""
        said = data[at + 1 : at + 1 + MOST_LENGTH_BYTES]
        length = 0
        for number, byte in enumerate(said):
            length |= (byte & 0x7F) << (7 * number)
            if byte < 0x80:
                if not byte:
                    raise _fault(data, cuts, Fault.BAD_LENGTH, "a length of more bytes than it needs")
                return length, at + 2 + number
        if len(said) == MOST_LENGTH_BYTES:
            raise _fault(data, cuts, Fault.BAD_LENGTH, "a length of more than four bytes")
        self._needed = len(said) + 2
        return 0, 0


def _type_0(data: bytes, cuts: list[Cut]) -> Malformed:
    return _fault(data, cuts, Fault.BAD_TYPE, "a packet of type 0")


def _fault(data: bytes, cuts: list[Cut], word: Fault, text: str, code: Code = Code.MALFORMED_PACKET) -> Malformed:
    malformed = Malformed(word, text, code)
    malformed.before = (data, cuts)
    return malformed
