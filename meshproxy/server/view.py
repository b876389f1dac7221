"""What the process tells about itself, and takes from its admin side: it satisfies `admin.api.Proxy`."""

from __future__ import annotations

import os
import platform
from typing import Protocol, cast

from meshproxy import __version__
from meshproxy.admin.api import Applied
from meshproxy.admin.reload import Reloader
from meshproxy.model import encode
from meshproxy.observe.log import Level, Log
from meshproxy.observe.metrics import Stats, expose, families
from meshproxy.server.worker import Worker
from meshproxy.sources.store import Store


class Life(Protocol):
    state: str
    started: float

    def drain(self) -> None: ...

    def quit(self) -> None: ...


class View:
    def __init__(
        self, life: Life, worker: Worker, reloader: Reloader, store: Store, stats: Stats, log: Log
    ) -> None:
        self._life = life
        self._worker = worker
        self._reloader = reloader
        self._store = store
        self._stats = stats
        self._log = log

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
            "loop": self._worker.loop_name,
            "last_refused": reloader.refusal.as_json() if reloader.refusal is not None else None,
        }

    # What it counts

    def metrics(self) -> bytes:
        self._worker.account()
        return expose(families(self._stats.snapshot()))

    def stats(self) -> dict[str, object]:
        self._worker.account()
        return self._stats.snapshot()

    def listeners(self) -> list[dict[str, object]]:
        self._worker.account()
        return [
            {
                "name": listener.config.name,
                "protocol": listener.config.protocol,
                "listen": ", ".join(door.live.local for door in listener.doors),
                "connections": listener.state.stats.connections_active,
                "total": listener.state.stats.connections_total,
                "rejected": sum(listener.state.stats.rejected.values()),
                "received_bytes": listener.state.stats.bytes_received_total,
                "sent_bytes": listener.state.stats.bytes_sent_total,
            }
            for listener in self._worker.listeners
        ]

    def clusters(self) -> list[dict[str, object]]:
        self._worker.account()
        return [
            {
                "name": group.config.name,
                "balance": group.config.balance,
                "connections": group.cluster.stats.connections_active,
                "max_connections": group.cluster.max_connections,
                "total": group.cluster.stats.connections_total,
                "overflow": group.cluster.stats.overflow_total,
                "endpoints": [
                    {
                        "address": endpoint.name,
                        "weight": weight,
                        "connections": endpoint.stats.connections_active,
                        "total": endpoint.stats.connections_total,
                        "connect_failures": endpoint.stats.connect_failures_total,
                        "connect_timeouts": endpoint.stats.connect_timeouts_total,
                    }
                    for endpoint, weight in group.endpoints
                ],
            }
            for group in self._worker.clusters
        ]

    # The configuration

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

    def drain(self) -> None:
        self._life.drain()

    def quit(self) -> None:
        self._life.quit()

    def log_level(self, level: str | None) -> str:
        if level is not None:
            self._log.level = cast(Level, level)
            self._log.info("log-level", level=level)
        return self._log.level
