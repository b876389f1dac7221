"""SOCKS5 on a listener: a client says where it wants to go, and from then on it is a connection of TCP like any other.

    greeting -> a name and a password, where they are asked for -> a request -> whether it may, and the addresses
    -> dialled -> the answer -> joined

Commands but CONNECT are refused.  All of it until the addresses are known has the time that a handshake has.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from meshproxy.core.filter import Answer
from meshproxy.core.targets import Refused, Target, read
from meshproxy.errors import Failure
from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.net.dial import Outcome
from meshproxy.net.splice import Pipes
from meshproxy.relay.arrival import Arrival
from meshproxy.relay.forward import LOOP, NO_NAME, NOT_ALLOWED, UNPROVEN, Forwarder
from meshproxy.relay.http.filtered import Waiting
from meshproxy.relay.http.site import Site
from meshproxy.relay.joined import Side
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin
from meshproxy.relay.tcp import TcpRelay, TcpService
from meshproxy.relay.turned import REFUSED
from meshproxy.wire import socks5_server as socks
from meshproxy.wire.socks5 import Code, Command, Malformed, Method

_OF_ERRORS = {
    errno.ECONNREFUSED: Code.REFUSED,
    errno.ENETUNREACH: Code.NO_NETWORK,
    errno.EHOSTUNREACH: Code.UNREACHABLE,
    errno.ETIMEDOUT: Code.UNREACHABLE,
}
_OF_FAILURES = {NOT_ALLOWED: Code.FORBIDDEN, LOOP: Code.FORBIDDEN, NO_NAME: Code.UNREACHABLE}


@dataclass(frozen=True, slots=True)
class Socks5Service:
    site: Site
    forwarder: Forwarder
    inner: TcpService
    within: float

    @property
    def clock(self) -> Clock:
        return self.inner.clock

    @property
    def state(self) -> ListenerState:
        return self.inner.state

    def behind(self, origin: Origin) -> None:
        """What was begun goes on as it was: nothing in it is ever begun anew."""

    def start(self, conn: Conn, origin: Origin) -> None:
        origin.called()
        Asking(self, conn, origin).begin()


class Asking(Arrival):
    """A client that has not yet said where it wants to go."""

    __slots__ = ("_service", "_step", "_target", "_waiting")

    reason = "protocol"

    def __init__(self, service: Socks5Service, conn: Conn, origin: Origin) -> None:
        self._service = service
        self._step: Callable[[Asking, bytes], int] = Asking._greeted
        """Reads what comes next, and tells how long it is; 0: more is needed."""
        self._target: Target | None = None
        self._waiting: Waiting | None = None
        super().__init__(service, service.within, conn, origin)

    def _understand(self, data: bytes) -> None:
        """Where it goes is never known at once."""
        if self._waiting is not None:
            self._conn.stop()  # whoever let it begin has started it anew
        while self._waiting is None and not self._over:
            step = self._step
            length = step(self, self._buffer)
            if not length:
                return
            self._buffer = self._buffer[length:]

    def _greeted(self, data: bytes) -> int:
        heard = socks.greeting(data)
        if heard is None:
            return 0
        methods, length = heard
        asks = self._service.forwarder.authenticator is not None
        method = Method.PASSWORD if asks else Method.NOTHING
        if method not in methods:
            self._turn_away(socks.chosen(Method.NONE_OF_THESE), UNPROVEN if asks else REFUSED["protocol"])
            return length
        self._conn.write(socks.chosen(method))
        self._step = Asking._logged_in if asks else Asking._requested
        return length

    def _logged_in(self, data: bytes) -> int:
        heard = socks.login(data)
        if heard is None:
            return 0
        said, length = heard
        who = self._service.forwarder.who(said.user, said.password, self._origin)
        self._wait(_as_answer(who), self._known)
        return length

    def _known(self, answer: Answer) -> None:
        if isinstance(answer, Failure):
            self._turn_away(socks.NOT_LET_IN, answer)
            return
        self._conn.write(socks.LET_IN)
        self._step = Asking._requested
        self._read_on()

    def _requested(self, data: bytes) -> int:
        try:
            heard = socks.request(data)
            if heard is None:
                return 0
            said, length = heard
            if said.command != Command.CONNECT:
                raise Malformed("not CONNECT", Code.UNKNOWN_COMMAND)
            target = read(said.host, said.port)
        except Malformed as fault:
            if fault.code is None:
                raise
            self._turn_away(socks.answer(fault.code), REFUSED["protocol"])
            return len(data)
        except Refused:
            self._turn_away(socks.answer(Code.FORBIDDEN), NOT_ALLOWED)
            return len(data)
        self._wait(self._service.forwarder.lead(self._origin, target), self._led)
        return length

    def _led(self, answer: Answer) -> None:
        if isinstance(answer, Failure):
            self._turn_away(socks.answer(_OF_FAILURES.get(answer, Code.FAILED)), answer)
            return
        origin = self._origin
        origin.early = self._buffer
        if origin.led:
            origin.destination = origin.led[0]
        self._go_as(origin)

    def _go_on(self, origin: Origin) -> None:
        SocksRelay(self._service.inner, self._conn, origin).begin()

    # While somebody is asked, nothing is read

    def _wait(self, answer: Awaitable[Answer], then: Callable[[Answer], None]) -> None:
        self._conn.stop()
        self._waiting = Waiting(self._service.site.loop, answer, partial(self._answered, then))

    def _answered(self, then: Callable[[Answer], None], answer: Answer) -> None:
        self._waiting = None
        then(answer)

    def _read_on(self) -> None:
        self._read(b"")
        if self._waiting is None and not self._over:
            self._conn.start()

    def _turn_away(self, last: bytes, why: Failure) -> None:
        """With a word that it understands, which must not be lost: no reset."""
        self._leave()
        state, conn = self._service.state, self._conn
        state.turned.tell(conn, self._origin, why, since=self._came_at)
        conn.write(last)
        conn.close()
        state.rejected("authorize" if why is UNPROVEN else self.reason)

    def _leave(self) -> None:
        super()._leave()
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


async def _as_answer(who: Awaitable[bool]) -> Answer:
    return None if await who else UNPROVEN


class SocksRelay(TcpRelay):
    """Whose client is told whether its connection is there."""

    __slots__ = ("_errno",)

    def __init__(self, service: TcpService, conn: Conn, origin: Origin) -> None:
        self._errno = 0
        super().__init__(service, conn, origin)

    def _dialled(self, outcome: Outcome) -> None:
        if isinstance(outcome, OSError):
            self._errno = outcome.errno or 0
        super()._dialled(outcome)

    def _join(self, up: Side, pipes: Pipes | None, to_up: bytes = b"", to_down: bytes = b"") -> None:
        super()._join(up, pipes, to_up, socks.answer(Code.DONE) + to_down)

    def _finish(self, reason: str) -> None:
        if self._up is None and reason in ("connect", "error"):
            self._down.write(socks.answer(_OF_ERRORS.get(self._errno, Code.FAILED)))
        super()._finish(reason)

    def _is_orderly(self, reason: str) -> bool:
        """What was said last must not be lost."""
        return self._up is None or super()._is_orderly(reason)
