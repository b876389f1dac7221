"""The checks of endpoints: made once for all workers, of every address that a name has as well.

    await checks.prepare(config)        # begins those that are new, and waits a moment for what they find
    worker.hear_health(checks.known)    # before it prepares; what changes later is told as it comes
    checks.commit()                     # or abort()

An endpoint of which nothing is known yet is fit: a proxy that starts should not refuse what works.  So that this is for
a moment only, a configuration waits for the first answers, and the first one decides alone.  What a check knows stays
over a reload that says the same of it.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from secrets import token_hex
from typing import Literal

from meshproxy.cluster import talk
from meshproxy.cluster.balance import Seat
from meshproxy.cluster.cluster import DialTo
from meshproxy.cluster.grpc_talk import GrpcTalk
from meshproxy.cluster.h2_talk import H2Talk
from meshproxy.cluster.health import Standing
from meshproxy.cluster.mqtt_talk import MqttTalk
from meshproxy.cluster.probe import Probe
from meshproxy.core.table import Claims, Table
from meshproxy.model import Address, Cluster, Config
from meshproxy.net.clock import Clock, Timer
from meshproxy.net.deadlines import Deadlines
from meshproxy.net.dial import Dialling, Outcome
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.clusters import CHECKED
from meshproxy.observe.metrics.process import HealthStats, ProcessStats
from meshproxy.plan.dialling import Reach, dialling
from meshproxy.plan.group import Known, seats
from meshproxy.plan.many import OFFERED
from meshproxy.plan.tls import Papers
from meshproxy.plan.verdicts import check_of
from meshproxy.wire.h1 import ResponseCodec

FIRST_WITHIN = 2.0
"""Seconds that a configuration waits for what its new checks find first, all of them together."""
MOST_AT_ONCE = 256
"""Connections of checks; what is due beyond that waits for its turn, which comes within a timeout."""
MOST_BETWEEN = 16
"""Checks that begin between two events of anything else."""
LOG_EVERY = 60.0
"""Seconds between two lines that say the same of one endpoint."""

Wanted = tuple[str, Cluster, Address]
"""What the key begins with, the cluster, and whom to check."""


class Checks:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        names: Known,
        papers: Callable[[], Papers],
        process: ProcessStats,
        log: Log,
    ) -> None:
        self.known: dict[str, bool] = {}
        """Whether an endpoint is fit, by the key of the verdict, once that is known."""
        self.told: Callable[[str], None] = lambda _: None
        """Hears of a verdict of the configuration in force that it is another."""
        self._loop = loop
        self._clock = clock
        self._names = names
        self._papers = papers
        self._deadlines = Deadlines(clock)
        self._process = process
        self._log = log
        self._codec = ResponseCodec()
        self._checked: dict[str, Cluster] = {}
        """The clusters in force that are checked, by what the keys of their verdicts begin with."""
        self._next: dict[str, Cluster] = {}
        self._dials: dict[str, DialTo] = {}
        self._next_dials: dict[str, DialTo] = {}
        self._seats: dict[str, dict[Address, Seat]] = {}
        """Who is checked, by the address that is looked at."""
        self._table = Table()
        self._claims: Claims | None = None
        self._watches: dict[str, Watch] = {}
        self._fresh: dict[str, Watch] = {}
        self._awaited: set[str] = set()
        self._all_heard = asyncio.Event()
        self._turns = Turns(loop)

    def of(self, check: str, address: Address) -> Watch | None:
        return self._watches.get(check + str(address))

    async def prepare(self, config: Config) -> None:
        self._next = {check: cluster for cluster in config.clusters if (check := check_of(cluster))}
        self._claims = claims = self._table.begin()
        reach = Reach(self._loop, self._clock, self._deadlines, self._log, self._papers(), config.node.trust_domain)
        self._next_dials = {
            check: self._dial_of(check, cluster, reach, claims) for check, cluster in self._next.items()
        }
        wanted = self._wanted(self._next)
        self._fresh = self._begin({key: who for key, who in wanted.items() if key not in self._watches})
        self._awaited = {key for key, watch in self._fresh.items() if watch.standing.healthy is None}
        if self._awaited:
            await self._hear_all()

    async def _hear_all(self) -> None:
        self._all_heard.clear()
        late = self._clock.after(FIRST_WITHIN, self._all_heard.set)
        try:
            await self._all_heard.wait()
        finally:
            late.cancel()

    def _dial_of(self, check: str, cluster: Cluster, reach: Reach, claims: Claims) -> DialTo:
        said = cluster.health
        assert said is not None
        reached = cluster if said.tls else replace(cluster, tls=None)
        offered = OFFERED[_version(cluster)]
        return dialling(
            reached, said.timeout, reach, claims, lambda: self._seats.get(check, {}), lambda _: None, offered
        )

    def _dial(self, check: str, address: Address, done: Callable[[Outcome], None]) -> Dialling:
        """As the next configuration says, if there is one."""
        dial = self._next_dials.get(check) or self._dials[check]
        return dial(address, done)

    def commit(self) -> None:
        self._checked = self._next
        self._dials, self._next_dials = self._next_dials, {}
        assert self._claims is not None, "commit follows prepare"
        for _ in self._claims.commit(0):
            """There is little of it."""
        self._claims = None
        fresh, self._fresh = self._fresh, {}
        self._watches |= fresh
        self._check(self._checked, self._watches)
        for key in fresh.keys() & self.known.keys():
            # It may have changed since it was prepared.
            self.told(key)

    def renew(self, name: str) -> None:
        """It has other addresses."""
        concerned = {check: cluster for check, cluster in self._checked.items() if name in cluster.names}
        if concerned:
            self._check(concerned, {key: watch for key, watch in self._watches.items() if watch.check in concerned})

    def abort(self) -> None:
        self._end(self._fresh)
        self._fresh = {}
        self._next_dials = {}
        self._wanted(self._checked)  # who sits there is again who sat there before
        if self._claims is not None:
            self._claims.abort()
            self._claims = None

    def close(self) -> None:
        self._end(self._fresh)
        self._end(self._watches)

    def _wanted(self, checked: Mapping[str, Cluster]) -> dict[str, Wanted]:
        wanted: dict[str, Wanted] = {}
        for check, cluster in checked.items():
            found = seats(cluster, self._names)
            self._seats[check] = {looked_at(cluster, address): seat for address, seat in found.items()}
            # Who is behind a tunnel is looked at by the proxy there.
            direct = [address for address, seat in found.items() if seat.via is None]
            wanted |= {check + str(address): (check, cluster, address) for address in direct}
        return wanted

    def _check(self, checked: Mapping[str, Cluster], watches: Mapping[str, Watch]) -> None:
        """Who is there now, and nobody else."""
        wanted = self._wanted(checked)
        gone = {key: watches[key] for key in watches.keys() - wanted.keys()}
        self._end(gone)
        for key in gone:
            del self._watches[key]
        self._watches |= self._begin({key: who for key, who in wanted.items() if key not in watches})

    def _begin(self, wanted: Mapping[str, Wanted]) -> dict[str, Watch]:
        return {
            key: Watch(
                self._clock, self._turns, self._codec, check, cluster, address, self._dial, partial(self._heard, key)
            )
            for key, (check, cluster, address) in wanted.items()
        }

    def _end(self, watches: Mapping[str, Watch]) -> None:
        for key, watch in watches.items():
            watch.stop()
            self.known.pop(key, None)

    def _heard(self, key: str, watch: Watch, result: talk.Result, changed: bool) -> None:
        counted = self._process.health.setdefault(watch.cluster, HealthStats()).checks
        if not counted:
            counted.update(dict.fromkeys(CHECKED, 0))
        counted[result.word] += 1
        if changed:
            self._changed(key, watch, result)
        self._awaited.discard(key)
        if not self._awaited:
            self._all_heard.set()

    def _changed(self, key: str, watch: Watch, result: talk.Result) -> None:
        well, known = bool(watch.standing.healthy), key in self.known
        self.known[key] = well
        if known or not well:
            event = "endpoint-healthy" if well else "endpoint-unhealthy"
            said = {"cluster": watch.cluster, "endpoint": watch.address, "check": result}
            self._log.limited(f"{event} {key}", LOG_EVERY, "info" if well else "warning", event, **said)
        if key in self._watches:
            self.told(key)


class Watch:
    """One endpoint, looked at again and again, from soon on and until `stop`."""

    def __init__(
        self,
        clock: Clock,
        turns: Turns,
        codec: ResponseCodec,
        check: str,
        cluster: Cluster,
        address: Address,
        dial: Callable[[str, Address, Callable[[Outcome], None]], Dialling],
        heard: Callable[[Watch, talk.Result, bool], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        said = cluster.health
        assert said is not None
        self.check = check
        self.cluster = cluster.name
        self.address = address
        self.standing = Standing(said)
        self.since = self.looked = clock.now()
        """When the verdict became what it is, and when the last check was over."""
        self.last: talk.Result | None = None
        self.stopped = False
        self._clock = clock
        self._turns = turns
        self._codec = codec
        self._said = said
        at = looked_at(cluster, address)
        self._dial = partial(dial, check, at)
        self._opening = talk.opening(said, at, cluster.proxy_protocol)
        self._version = _version(cluster)
        self._announced = talk.announced(cluster.proxy_protocol)
        self._scheme = b"https" if cluster.tls is not None and said.tls else b"http"
        self._at = at
        self._heard = heard
        self._jitter = jitter
        self._probe: Probe | None = None
        self._timer: Timer | None = None
        turns.ask(self)

    def stop(self) -> None:
        self.stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._probe is not None:
            self._probe.cancel()
            self._turns.give_back()

    def look(self) -> None:
        self._timer = None
        said, version = self._said, self._version
        chosen = self._h2() if version == "auto" else None
        at_once = version in ("h2", "prior")
        first = self._h2() if at_once else self._first()
        opening = self._announced if at_once else self._opening
        self._probe = Probe(self._clock, self._dial, opening, first, said.timeout, self._done, chosen)
        self._probe.begin()

    def _first(self) -> talk.Talk | None:
        said = self._said
        # Every broker takes so many letters and digits, and two proxies are never the same client.
        return MqttTalk(said.mqtt, f"meshproxy{token_hex(6)}") if said.mqtt else talk.begin(said, self._codec)

    def _h2(self) -> talk.Talk:
        said, now = self._said, self._clock.now
        if said.grpc is not None:
            return GrpcTalk(said.grpc, (said.host or talk.host_of(self._at)).encode("ascii"), self._scheme, now)
        inner = talk.begin(said, self._codec)
        assert inner is not None, "there is something to ask for"
        method = (said.method or "GET").encode("ascii")
        return H2Talk(talk.request(said, self._at), method, inner, self._scheme, now)

    def _done(self, result: talk.Result) -> None:
        self._probe = None
        first, now = self.last is None, self._clock.now()
        # What could not be looked at is what it was.
        changed = result.word != "unable" and self.standing.heard(result.word == "ok")
        self.last, self.looked = result, now
        if changed:
            self.since = now
        pause = self.standing.pause(self._jitter())
        # Those who begin together are not to go on together.
        self._timer = self._clock.after(pause * self._jitter() if first else pause, partial(self._turns.ask, self))
        self._turns.give_back()
        self._heard(self, result, changed)


def _version(cluster: Cluster) -> Literal["h1", "h2", "prior", "auto"]:
    """Of HTTP, in which a check speaks; what sends bytes of an operator's own says nothing of HTTP/2 either."""
    said = cluster.health
    assert said is not None
    if said.grpc is not None:
        return "prior" if cluster.http.version == "prior" else "h2"
    return cluster.http.version if said.path is not None else "h1"


def looked_at(cluster: Cluster, address: Address) -> Address:
    """Where an endpoint is checked."""
    said = cluster.health
    if said is None or said.port is None or address.kind == "unix":
        return address
    return replace(address, port=said.port)


class Turns:
    """Who may look now: so many at a time, and of those that are due together only some between two other events."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._looking = 0
        self._waiting: deque[Watch] = deque()
        self._called = False

    def ask(self, watch: Watch) -> None:
        self._waiting.append(watch)
        self._call()

    def give_back(self) -> None:
        self._looking -= 1
        self._call()

    def _call(self) -> None:
        if not self._called and self._waiting:
            self._called = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._called = False
        for _ in range(min(MOST_BETWEEN, MOST_AT_ONCE - self._looking, len(self._waiting))):
            watch = self._waiting.popleft()
            if not watch.stopped:
                self._looking += 1
                watch.look()
        if self._looking < MOST_AT_ONCE:
            self._call()
