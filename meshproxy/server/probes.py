"""The listener for probes of the application: kubelet asks the proxy, and the proxy has a look.

    probes = Probes(loop, clock, log, inherited)
    Steered(fleet, probes)                  # takes a configuration as a whole, or leaves everything as it is
    await probes.close()

The application may listen on loopback alone, speak no TLS to anybody, or let in nobody who has no certificate: whoever
asks here needs to know nothing of that.  Everybody may ask, so nothing is reached but what the configuration says,
nothing of what the application says goes on but its status, and so many are answered at a time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

from meshproxy.admin.http import PLAIN, Request, Response, Server
from meshproxy.admin.reload import Fleet, Papers
from meshproxy.errors import CannotBind, Problem
from meshproxy.model import AppCheck, Config
from meshproxy.net.clock import Clock
from meshproxy.net.doors import Doors, Inherited, Place
from meshproxy.observe.log import Log
from meshproxy.server.app_check import Looks, Seen

METHODS = ("GET", "HEAD")
NO_BODY = (204, 205, 304)
LOG_EVERY = 60.0
"""Seconds between two lines that say the same of one check."""


class ProbeSite:
    """Answers for the checks of one configuration."""

    def __init__(self, checks: tuple[AppCheck, ...], looks: Looks, log: Log) -> None:
        self._checks: Mapping[str, AppCheck] = {check.path: check for check in checks}
        self._looks = looks
        self._log = log
        self._well: dict[str, bool] = {}
        """How the application was when it was last looked at."""

    def admit(self, request: Request) -> Response | None:
        if request.path not in self._checks:
            return _text(404, "no such check")
        if request.method not in METHODS:
            return _text(405, "a check takes GET, HEAD", (("Allow", "GET, HEAD"),))
        return _text(413, "a check takes no body") if request.announces_body else None

    async def answer(self, request: Request) -> Response:
        check = self._checks[request.path]
        seen = await self._looks.at(check)
        if seen.well != self._well.get(check.path, True):
            self._tell(check, seen)
        self._well[check.path] = seen.well
        return _text(seen.status, seen.why or "ok")

    def _tell(self, check: AppCheck, seen: Seen) -> None:
        event = "app-well" if seen.well else "app-not-well"
        said = {"path": check.path, "at": check.target, "answer": seen.why or seen.status}
        self._log.limited(f"{event} {check.path}", LOG_EVERY, "info" if seen.well else "warning", event, **said)


class Probes:
    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, log: Log, inherited: Inherited) -> None:
        self.doors = Doors(inherited=inherited)
        self._log = log
        self._looks = Looks(loop, clock)
        self._server: Server | None = None
        self._place: Place | None = None
        self._next: tuple[Place, tuple[AppCheck, ...]] | None = None
        self._left: list[Server] = []
        """Those who were at another address, until whoever they have let in has gone."""

    def prepare(self, config: Config) -> None:
        """Raises CannotBind."""
        said = config.probes
        self._next = None
        if said is not None:
            place = Place(said.listen, socket.SOCK_STREAM)
            try:
                self.doors.open(place)
            except OSError as error:
                raise CannotBind([Problem("probes.listen", str(error.strerror))]) from None
            self._next = place, said.checks

    def commit(self) -> None:
        place, checks = self._next or (None, ())
        site = ProbeSite(checks, self._looks, self._log)
        self._next = None
        # The owner lets go first: the server's copy is then the last, and it serves who stands in the queue.
        self.doors.commit()
        if place != self._place and self._server is not None:
            self._server.stop_listening()
            self._left.append(self._server)
            self._server = None
        self._left = [server for server in self._left if server.connections]
        if place is not None and self._server is None:
            self._server = Server(site, self._log)
            self._server.listen(self.doors.share(place, 0))
            self._log.info("probes", address=self.doors.local(place))
        self._place = place
        for server in self._servers:
            server.site = site

    def abort(self) -> None:
        self._next = None
        self.doors.abort()

    def stop_listening(self) -> None:
        """Who asks now is to be answered by somebody else."""
        for server in self._servers:
            server.stop_listening()

    async def close(self) -> None:
        for server in self._servers:
            await server.close()
        self.doors.close()

    @property
    def _servers(self) -> list[Server]:
        return [*self._left, *([self._server] if self._server is not None else [])]


class Steered:
    """The fleet and the probes: both take a configuration, or neither."""

    def __init__(self, fleet: Fleet, probes: Probes) -> None:
        self._fleet = fleet
        self._probes = probes

    @property
    def papers(self) -> Papers:
        return self._fleet.papers

    async def prepare(self, config: Config) -> None:
        self._probes.prepare(config)
        try:
            await self._fleet.prepare(config)
        except BaseException:
            self._probes.abort()
            raise

    async def commit(self) -> None:
        self._probes.commit()
        await self._fleet.commit()

    def abort(self) -> None:
        self._probes.abort()
        self._fleet.abort()


def _text(status: int, words: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    body = b"" if status in NO_BODY else f"{words}\n".encode()
    return Response(status, body, PLAIN, headers)
