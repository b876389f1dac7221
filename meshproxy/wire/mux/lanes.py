"""Which frames of a link wait for which others, where the connection has several sequences of bytes.

    lanes = Lanes(64)
    for lane, data in lanes.sort(b"".join(link.pull(16384))): ...

Lane 0 is for what is not carried by a stream, in its order.  A stream keeps to one of the others from its first frame
to its last, the one that the fewest share; so what opens it comes first, before its bytes and its datagrams.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from meshproxy.wire.mux.frames import END, HEAD, SIZE, Kind

CONTROL = 0
_OF_STREAMS = frozenset((Kind.OPEN, Kind.DATA, Kind.DATAGRAM))
_LAST = frozenset((Kind.RESET, Kind.GONE))
_DATAGRAM = bytes((Kind.DATAGRAM,))


class Lanes:
    __slots__ = ("_of", "_users")

    def __init__(self, count: int) -> None:
        """`count` beside that for control."""
        self._users = [0] * count
        self._of: dict[int, int] = {}

    def keep(self, streams: Collection[int]) -> None:
        """Others that are known here were ended by the other end; looked at only where there are many."""
        if len(self._of) > 2 * len(streams) + len(self._users):
            for stream in self._of.keys() - set(streams):
                self._free(stream)

    def sort(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Whole frames, each with its lane."""
        at = 0
        while at < len(data):
            kind, flags, length, stream, _ = HEAD.unpack_from(data, at)
            end = at + SIZE + length
            lane = CONTROL
            if kind in _OF_STREAMS:
                lane = self._lane(stream)
                if kind == Kind.DATA and flags & END:
                    self._free(stream)
            elif kind in _LAST:
                self._free(stream)
            yield lane, data[at:end]
            at = end

    def _lane(self, stream: int) -> int:
        lane = self._of.get(stream)
        if lane is None:
            users = self._users
            lane = self._of[stream] = users.index(min(users))
            users[lane] += 1
        return lane + 1

    def _free(self, stream: int) -> None:
        lane = self._of.pop(stream, None)
        if lane is not None:
            self._users[lane] -= 1


def is_datagram(data: bytes) -> bool:
    """Whether it is one whole frame of that kind, and nothing else."""
    return data[:1] == _DATAGRAM and len(data) >= SIZE and len(data) == SIZE + HEAD.unpack_from(data)[2]


def stream_of(frame: bytes) -> int:
    """The stream that it is of; of a datagram, its flow."""
    _, _, _, stream, _ = HEAD.unpack_from(frame)
    return int(stream)
