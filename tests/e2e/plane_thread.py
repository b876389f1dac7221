"""A control plane beside a test, which waits for a process; on a host of a lab, if it is to be there.

    thread = PlaneThread()
    thread.commit("7", {"listeners": []})
    thread.end()
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from tests.e2e.conftest import LONGEST
from tests.lab import Host
from tests.sources.plane import Plane


class PlaneThread:
    def __init__(self, host: Host | None = None) -> None:
        self.plane = Plane()
        if host is not None:
            self.plane.host = host.v4
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(host,))
        self._thread.start()
        self.open()

    def _run(self, host: Host | None) -> None:
        with host.inside() if host is not None else nullcontext():
            self._loop.run_forever()

    def open(self) -> None:
        asyncio.run_coroutine_threadsafe(self.plane.open(self.plane.port), self._loop).result(LONGEST)

    def do(self, action: Callable[..., object], *arguments: Any) -> None:
        async def doing() -> None:
            action(*arguments)

        asyncio.run_coroutine_threadsafe(doing(), self._loop).result(LONGEST)

    def commit(self, version: str, config: Any, name: str = "config.json") -> None:
        self.do(self.plane.commit, version, config, name)

    def gone(self) -> None:
        self.do(self.plane.close)

    def end(self) -> None:
        async def last() -> None:
            # Who had just come in is only served, and known, when the loop turns next.
            self.plane.close()
            await asyncio.sleep(0)
            while rest := asyncio.all_tasks() - {asyncio.current_task()}:
                self.plane.close()
                await asyncio.wait(rest, timeout=0.01)

        asyncio.run_coroutine_threadsafe(last(), self._loop).result(LONGEST)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LONGEST)
        self._loop.close()
