"""Filters of the soak, which run in the proxy's own workers."""

from __future__ import annotations

import asyncio
import gc
import json
import os
from collections import Counter
from dataclasses import dataclass

from meshproxy.core.filter import Exchange, Hooks, Reply, Scope

COUNTED = frozenset(("Conn", "Connecting", "Downstream", "Exchange", "Tunnel", "Upstream"))


@dataclass(frozen=True)
class Census:
    """Answers how many tasks, and objects of each kind that a request needs, are alive in this worker."""

    def build(self, scope: Scope) -> Hooks:
        async def count(_: Exchange) -> Reply:
            gc.collect()
            found = Counter(type(each).__name__ for each in gc.get_objects())
            alive = {name: found[name] for name in sorted(COUNTED)}
            told = {"pid": os.getpid(), "tasks": len(asyncio.all_tasks()), "objects": found.total(), **alive}
            return Reply(200, body=json.dumps(told).encode())

        return Hooks(request=count)


@dataclass(frozen=True)
class Pause:
    """Looks at each answer for a while."""

    seconds: float = 0.005

    def build(self, scope: Scope) -> Hooks:
        async def wait(_: Exchange) -> None:
            await asyncio.sleep(self.seconds)

        return Hooks(response=wait)
