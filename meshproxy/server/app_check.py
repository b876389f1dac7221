"""One look at the application, as kubelet would take it: over HTTP, HTTPS, gRPC, or just by connecting.

    looks = Looks(loop, clock)
    await looks.at(check)                   # Seen(200, ""), or Seen(503, "connect Connection refused")

A connection of its own each time, and a deadline for all of it.  Nobody looks at the application's certificate: kubelet
does not either, and what is asked is on this host.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from meshproxy.cluster import talk
from meshproxy.cluster.grpc_talk import GrpcTalk
from meshproxy.cluster.probe import Probe
from meshproxy.cluster.status_talk import StatusTalk
from meshproxy.model.health import GrpcCheck, Health
from meshproxy.model.probes import AppCheck
from meshproxy.net.clock import Clock
from meshproxy.net.deadlines import Deadlines
from meshproxy.net.dial import Dial, Dialling, Outcome, Way
from meshproxy.net.tls import Session, TlsConn, TlsDial
from meshproxy.net.tls.context import Terms, client_context
from meshproxy.wire.h1 import ResponseCodec

WELL = range(200, 400)
"""What kubelet takes for a success."""
UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class Seen:
    """What kubelet is told: a status, and why it is none of a success."""

    status: int
    why: str = ""

    @property
    def well(self) -> bool:
        return self.status in WELL


class Looks:
    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._deadlines = Deadlines(clock)
        self._codec = ResponseCodec()
        self._trusting: ssl.SSLContext | None = None
        """Made when it is first needed."""

    async def at(self, check: AppCheck) -> Seen:
        opening, said = self._words(check)
        over: asyncio.Future[talk.Result] = self._loop.create_future()
        probe = Probe(
            self._clock, lambda done: self._dial(check, done), opening, said, check.timeout, over.set_result
        )
        probe.begin()
        try:
            result = await over
        finally:
            probe.cancel()
        return _seen(result, said)

    def _words(self, check: AppCheck) -> tuple[bytes, talk.Talk | None]:
        """What to say first, and to whom to listen then."""
        if check.http is not None:
            http = check.http
            asked = Health(path=http.path, host=http.host, headers=http.headers)
            return talk.request(asked, check.target), StatusTalk(self._codec)
        if check.grpc is not None:
            host = talk.host_of(check.target).encode("ascii")
            return b"", GrpcTalk(GrpcCheck(check.grpc.service or None), host, b"http", self._clock.now)
        return b"", None

    def _dial(self, check: AppCheck, done: Callable[[Outcome], None]) -> Dialling:
        loop, clock, target, timeout = self._loop, self._clock, check.target, check.timeout
        way = Way(keepalive=False, source=check.source)

        def plain(done: Callable[[Outcome], None]) -> Dialling:
            return Dial(loop, clock, target, timeout, done, way)

        if check.http is None or check.http.scheme == "http":
            return plain(done)
        if self._trusting is None:
            self._trusting = client_context(Terms(), chain=False)
        context, host = self._trusting, check.http.host

        def session(_first: bytes) -> Session:
            # An address is no name to ask for; some servers know by it whom they are to be.
            return Session(context, name=None if host is None or host.startswith("[") else host.partition(":")[0])

        return TlsDial(self._deadlines, plain, timeout, done, session, _believe)


def _believe(_conn: TlsConn) -> None:
    """Whoever it is."""


def _seen(result: talk.Result, said: talk.Talk | None) -> Seen:
    if result is not talk.OK:
        return Seen(UNAVAILABLE, str(result))
    if not isinstance(said, StatusTalk):
        return Seen(200)
    if said.status in WELL:
        return Seen(said.status)
    # Whoever changes to another protocol has not answered: no status is told that is not one of an answer.
    return Seen(said.status if said.status >= WELL.start else UNAVAILABLE, f"the application answered {said.status}")
