"""One call over HTTP/2, as a talk: whoever makes it hears what is answered, and says what that comes to.

    call = H2Talk(...)                      # or GrpcTalk(...)
    conn.write(call.says())                 # and again after each `feed`
    call.feed(data)                         # a Result, or None: more is needed
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from meshproxy.cluster.talk import CLOSED, Result
from meshproxy.wire.h2 import Block, Engine, Fault, Limits, Role


class Call(ABC):
    """Satisfies `Talk`, and what `wire.h2` wants of a connection and of its only stream."""

    __slots__ = ("_engine", "_result")

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self._result: Result | None = None
        self._engine = Engine(Role.CLIENT, self, limits, now)

    # As a talk

    def says(self) -> bytes:
        out = self._engine.out
        said = b"".join(out)
        out.clear()
        return said

    def feed(self, data: bytes) -> Result | None:
        self._engine.feed(data)
        return self._result

    def end(self) -> Result:
        return CLOSED

    def _is(self, result: Result) -> None:
        """What has come first counts."""
        if self._result is None:
            self._result = result

    # As the one who has called

    @abstractmethod
    def headed(self, block: Block, last: bool) -> None: ...

    @abstractmethod
    def taken(self, data: bytes, last: bool) -> None: ...

    @abstractmethod
    def trailed(self, block: Block) -> None: ...

    def reset(self, code: int) -> None:
        self._is(CLOSED)

    def refused(self) -> None:
        self._is(CLOSED)

    def hold(self) -> None:  # noqa: B027 - it is what there is to do
        """What is said is little."""

    def release(self) -> None:  # noqa: B027 - as before
        """And it is out."""

    # As the owner of the connection

    def broken(self, fault: Fault) -> None:
        self._is(Result("malformed", str(fault.reason)))

    def opened(self, stream: int, block: Block, last: bool) -> Call:
        raise AssertionError("a server opens no stream")

    def went(self, last_id: int, code: int) -> None:  # noqa: B027 - as before
        """What was asked before is still answered, or refused."""

    def settled(self) -> None:  # noqa: B027 - as before
        """One call is always possible."""

    def pong(self) -> None:  # noqa: B027 - as before
        """Nobody has asked."""

    def counted(self, word: str) -> None:  # noqa: B027 - as before
        """Checks are counted by what comes of them."""
