"""What there is to see of a proxy, asked for in a thread: one that does not answer freezes no screen."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshproxy.cli.ask import Admin, Unanswered

WINDOW = 60
"""Seconds that are shown."""


@dataclass(frozen=True, slots=True)
class Look:
    """The answers of the proxy, as they are."""

    server: Any
    stats: Any
    listeners: Any
    clusters: Any
    recent: Any
    """None: it has no such thing."""

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Seen:
    """The last look, if there has been any; and since when no other one can be had, and why."""

    look: Look | None = None
    problem: str = ""
    since: float = 0.0


def look(admin: Admin) -> Look:
    """Raises Unanswered."""
    stats = _json(admin, f"/stats?window={WINDOW}s")
    if not isinstance(stats, dict) or "window_seconds" not in stats:
        raise Unanswered("whoever answers there remembers no seconds: it is another version, or no meshproxy")
    return Look(
        _json(admin, "/server_info"),
        stats,
        _json(admin, "/listeners?format=json"),
        _json(admin, "/clusters?format=json"),
        _recent(admin),
    )


def _json(admin: Admin, path: str) -> Any:
    try:
        return admin.json("GET", path)
    except ValueError:
        raise Unanswered(f"{path}: the answer is no JSON") from None


def _recent(admin: Admin) -> Any:
    status, body = admin.ask("GET", "/recent")
    if status != http.client.OK:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return None


class Feed:
    def __init__(self, ask: Callable[[], Look], every: float) -> None:
        self._ask = ask
        self._every = every
        self.seen = Seen()

    def ask(self) -> None:
        try:
            self.seen = Seen(self._ask())
        except Unanswered as why:
            before = self.seen
            self.seen = Seen(before.look, str(why), before.since if before.problem else time.monotonic())

    def begin(self, told: Callable[[], None]) -> None:
        """From now on; `told` is called when there is something new.  It ends with the process."""

        def again() -> None:
            while True:
                began = time.monotonic()
                self.ask()
                told()
                time.sleep(max(0.0, began + self._every - time.monotonic()))

        threading.Thread(target=again, daemon=True).start()
