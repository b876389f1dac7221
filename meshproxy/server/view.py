"""What the process tells about itself, and takes from its admin side: it satisfies `admin.api.Proxy`."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, cast

from meshproxy import __version__
from meshproxy.admin.certs import certificate_rows
from meshproxy.admin.live import Ticker, Told, second_of
from meshproxy.admin.reload import Applied, Reloader
from meshproxy.admin.routes import route_rows
from meshproxy.admin.stream import Feed
from meshproxy.admin.traffic_metrics import SECONDS, TrafficMetrics
from meshproxy.cluster.balance import Seat, standing
from meshproxy.cluster.original import ORIGINAL
from meshproxy.core.overload import STAGES
from meshproxy.model import Address, Cluster, Listener, Named, encode
from meshproxy.net.clock import in_slices
from meshproxy.observe.exposition import Family
from meshproxy.observe.log import Level, Log
from meshproxy.observe.metrics.clusters import EndpointStats
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.observe.presets import identity_of
from meshproxy.observe.scrape import scraped
from meshproxy.observe.tap import Query
from meshproxy.observe.window import Window, document
from meshproxy.plan import places
from meshproxy.plan.explain import Explainer, Question
from meshproxy.plan.group import addresses, seats
from meshproxy.server.addresses import Addresses
from meshproxy.server.container import cpus, memory
from meshproxy.server.fleet import Fleet
from meshproxy.sources.store import Store

if TYPE_CHECKING:
    from meshproxy.server.sources import Sources


class Life(Protocol):
    started: float

    @property
    def state(self) -> str: ...

    def drain(self, until_idle: float) -> None: ...

    def quit(self) -> None: ...


NOT_COUNTED = EndpointStats().snapshot()
MOST_NOTES = 100


class View:
    def __init__(
        self,
        life: Life,
        fleet: Fleet,
        reloader: Reloader,
        store: Store,
        sources: Sources | None,
        process: ProcessStats,
        log: Log,
    ) -> None:
        self._life = life
        self._fleet = fleet
        self._reloader = reloader
        self._store = store
        self._sources = sources
        self._process = process
        self._log = log
        self._explain = Explainer()
        self._ticker = Ticker(self._second, reloader.clock)

    # What it is

    def state(self) -> str:
        return self._life.state

    def server_info(self) -> dict[str, object]:
        reloader = self._reloader
        return {
            "version": __version__,
            "state": self._life.state,
            "generation": reloader.generation,
            "config_version": reloader.version,
            "uptime_seconds": round(reloader.clock.wall() - self._life.started, 3),
            "node": encode(reloader.config.node),
            "pid": os.getpid(),
            "python": platform.python_version(),
            "loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
            "workers": self._fleet.workers(),
            "overload": STAGES[self._fleet.stage] if reloader.config.overload is not None else None,
            "limits": {"cpus": cpus(), "memory_bytes": memory()},
            "sources": self._sources.states() if self._sources is not None else {},
            "notes": [note.as_json() for note in reloader.notes[:MOST_NOTES]],
            "last_refused": reloader.refusal.as_json() if reloader.refusal is not None else None,
        }

    # What it counts

    async def stats(self) -> dict[str, Any]:
        await in_slices(self._fleet.fitness.count())
        return {"process": self._process.snapshot(), **await self._fleet.stats()}

    async def metrics(self) -> Callable[[], list[Family]]:
        stats, identity = await self.stats(), identity_of(self._reloader.config)
        said, loop = self._reloader.config.metrics, asyncio.get_running_loop()

        def found() -> list[Family]:
            told, left = scraped(stats, identity, said)
            if left:
                loop.call_soon_threadsafe(self._process.metrics_overflow.update, left)
            return told

        return found

    async def past(self, seconds: int) -> list[bytes]:
        return await self._fleet.history(seconds)

    async def listeners(self) -> list[dict[str, object]]:
        stats = (await self._fleet.stats())["listeners"]
        return [
            self._listener(said, stats[said.name])
            for said in self._reloader.config.listeners
            if said.name in stats
        ]

    def _listener(self, said: Listener, stats: dict[str, Any]) -> dict[str, object]:
        return {
            "name": said.name,
            "protocol": said.protocol,
            "listen": ", ".join(dict.fromkeys(map(self._fleet.doors.local, places(said)))),
            "connections": stats["connections_active"],
            "total": stats["connections_total"],
            "rejected": sum(stats["rejected"].values()),
            "received_bytes": stats["bytes_received_total"],
            "sent_bytes": stats["bytes_sent_total"],
        }

    async def clusters(self) -> list[dict[str, object]]:
        stats = (await self._fleet.stats())["clusters"]
        return [
            _cluster(
                said,
                stats[said.name],
                self._fleet.addresses,
                self._reloader.config.node.zone,
                self._fleet.fitness.rows(said),
            )
            for said in self._reloader.config.reached
            if said.name in stats
        ]

    def certificates(self) -> list[dict[str, object]]:
        return certificate_rows(self._fleet.papers.in_force.papers, self._reloader.clock.wall())

    async def traffic_metrics(self) -> TrafficMetrics:
        return TrafficMetrics(self._reloader.config, await self._fleet.history(SECONDS))

    def sources(self) -> list[dict[str, object]]:
        return self._sources.rows() if self._sources is not None else []

    def routes(self, stats: dict[str, Any]) -> list[dict[str, object]]:
        return route_rows(self._reloader.config, stats["listeners"])

    # What happens

    async def recent(self, most: int) -> dict[str, Any]:
        return await self._fleet.recent(most)

    def tap(self, query: Query, told: Told) -> Callable[[], None]:
        return self._fleet.tap(query, told)

    def watch(self, feed: Feed) -> Callable[[], None]:
        return self._ticker.watch(feed)

    async def _second(self) -> dict[str, Any]:
        past, recent = await asyncio.gather(self._fleet.history(1), self._fleet.recent(0))
        info = self.server_info()
        return {
            **await asyncio.to_thread(lambda: second_of(document(Window(past, 1)))),
            **{name: info[name] for name in ("state", "generation", "uptime_seconds")},
            "recent": {"errors": recent["errors_total"], "slow": recent["slow_total"]},
        }

    # The configuration

    def explain(self, question: Question) -> dict[str, object]:
        return self._explain(self._reloader.config, question)

    def config_dump(self) -> dict[str, object]:
        reloader = self._reloader
        return {
            "generation": reloader.generation,
            "version": reloader.version,
            "effective": encode(reloader.config, redact=True),
            "layers": {name: layer.redacted for name, layer in reloader.layers.items()},
        }

    def layer(self, name: str) -> tuple[dict[str, object], str] | None:
        layer = self._reloader.layers.get(name)
        return (layer.redacted, layer.etag) if layer is not None else None

    async def put(
        self, layer: str, body: bytes, *, dry_run: bool, if_match: str | None, source: str
    ) -> Applied:
        return await self._reloader.put(layer, body, dry_run=dry_run, if_match=if_match, source=source)

    async def delete(self, layer: str, *, if_match: str | None) -> Applied:
        return await self._reloader.delete(layer, if_match=if_match, source=f"DELETE /config/{layer}")

    def history(self) -> list[dict[str, object]]:
        return [
            {
                "generation": summary.generation,
                "version": summary.version,
                "time": summary.time,
                "source": summary.source,
                "changes": list(summary.changes),
            }
            for summary in self._store.history()
        ]

    async def rollback(self, generation: int | None) -> Applied:
        return await self._reloader.rollback(generation, source="POST /config/rollback")

    # The process

    def drain(self, until_idle: float) -> None:
        self._life.drain(until_idle)

    def quit(self) -> None:
        self._life.quit()

    def log_level(self, level: str | None) -> str:
        if level is not None:
            self._log.level = cast(Level, level)
            self._fleet.set_log_level(self._log.level)
            self._log.info("log-level", level=level)
        return self._log.level


def _cluster(
    said: Cluster, stats: dict[str, Any], names: Addresses, zone: str, fitness: Callable[[Address], dict[str, object]]
) -> dict[str, object]:
    return {
        "name": said.name,
        "balance": said.balance,
        "http": said.http.version,
        "connections": stats["connections_active"],
        "streams": stats["streams_active"],
        "max_connections": said.breaker.max_connections,
        "total": stats["connections_total"],
        "overflow": stats["overflow_total"],
        "breaker": "open" if stats["breaker_open"] else "closed",
        "refused": stats["refused_total"],
        "retries": stats["retries_total"],
        "endpoints": [*_endpoints(said, stats["endpoints"], names, zone, fitness)],
    }


def _endpoints(
    said: Cluster, stats: dict[str, Any], names: Addresses, zone: str, fitness: Callable[[Address], dict[str, object]]
) -> Iterator[dict[str, object]]:
    """Each address once, also where two names have it; and a name that has none.  All original destinations are one."""
    if said.original:
        yield {"address": ORIGINAL, **_standing(Seat(1), 1.0, []), **_endpoint(stats.get(ORIGINAL, NOT_COUNTED))}
    left = seats(said, names.known)
    doubts = {address: [*stats.get(str(address), NOT_COUNTED)["doubts"]] for address in left}
    weights, _ = standing(
        [*left.values()], [not doubts[address] for address in left], zone=zone, panic=said.panic
    )
    total = sum(weights) or 1
    shares = {address: round(weight / total, 3) for address, weight in zip(left, weights, strict=True)}
    for endpoint in said.members:
        where = endpoint.address
        name = {"name": str(where), "failure": names.failure(where.host)} if isinstance(where, Named) else {}
        found = addresses(endpoint, names.known)
        for address in found:
            seat, counted = left.pop(address, None), stats.get(str(address))
            if seat is not None and counted is not None:
                standing_now = _standing(seat, shares[address], doubts[address])
                yield {"address": str(address), **name, **standing_now, **_endpoint(counted), **fitness(address)}
        if not found:
            seat = Seat(endpoint.weight, endpoint.zone, endpoint.priority)
            yield {"address": None, **name, **_standing(seat, 0.0, ["address"]), **_endpoint(NOT_COUNTED)}


def _standing(seat: Seat, share: float, doubts: list[str]) -> dict[str, object]:
    """What was said of it, which share of the load it is to have, and why if that is none."""
    if share:
        picked = f"in panic: {', '.join(doubts)}" if doubts else "yes"
    else:
        picked = f"no: {', '.join(doubts)}" if doubts else "spare" if seat.weight else "weight 0"
    said = {"zone": seat.zone or None, "priority": seat.priority, "weight": seat.weight}
    return {**said, "share": share, "picked": picked}


def _endpoint(stats: dict[str, Any]) -> dict[str, object]:
    return {
        "connections": stats["connections_active"],
        "streams": stats["streams_active"],
        "total": stats["connections_total"],
        "connect_failures": stats["connect_failures_total"],
        "connect_timeouts": stats["connect_timeouts_total"],
    }
