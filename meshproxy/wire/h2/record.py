"""What is known of one stream while it lasts."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from meshproxy.wire.hpack import Block


class User(Protocol):
    """Of a stream.  All of it may be called from within `feed`; nothing is after `reset` or `refused`."""

    def headed(self, block: Block, last: bool) -> None: ...

    def taken(self, data: bytes, last: bool) -> None: ...

    def trailed(self, block: Block) -> None: ...

    def reset(self, code: int) -> None: ...

    def refused(self) -> None: ...

    def hold(self) -> None: ...

    def release(self) -> None: ...


class Record:
    __slots__ = (
        "born", "ending", "headed", "held", "kept", "left", "offset", "owed", "state", "stopped", "stream", "trailer",
        "user", "window",
    )  # fmt: skip

    def __init__(self, stream: int, state: int, window: int, left: int, born: float) -> None:
        self.stream = stream
        self.state = state
        self.user: User | None = None
        self.headed = False
        """The final head has gone the way of the answer."""
        self.born = born

        self.window = window
        """How much we may send."""
        self.kept: deque[bytes] | None = None
        """What waits for a window, or for the socket."""
        self.offset = 0
        """How much of the first of them has gone."""
        self.ending = False
        """END_STREAM is due after what is kept."""
        self.trailer: bytes | None = None
        """With these fields."""

        self.left = left
        """How much the peer may send."""
        self.owed = 0
        """Taken, and not given back as window."""
        self.stopped = False
        self.held = 0
        """Taken while stopped."""
