"""One who watches requests as they end: which of them, and what of them waits to be told.

    tap = Tap(read_filter({"status": ["5xx"], "share": ["0.1"]}), wake)
    if tap.wants(record):
        tap.add(record, seen(record, offset))
    lines, lost = tap.take()

A tap never holds up the traffic: what is more than it can hold until it is asked is counted, and gone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import random

from meshproxy.observe.record import Record
from meshproxy.observe.seen import Row, heads
from meshproxy.schema.kinds import cut, read_duration

MOST_LINES = 100
"""That wait to be taken; also a bound on what a tap costs, since they are taken ten times a second."""
MOST_BYTES = 256 * 1024
MOST_VALUES = 16
"""Of one key."""
LONGEST_VALUE = 1024
MOST_TO_SHOW = 1_000_000

Query = Mapping[str, Sequence[str]]

_STATUS = re.compile("([1-5])xx|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is said must hold; of several values of one key, one."""

    listener: tuple[str, ...] = ()
    route: tuple[str, ...] = ()
    cluster: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    """How it may begin."""
    status: tuple[tuple[int, int], ...] = ()
    """The lowest and the highest."""
    identity: tuple[str, ...] = ()
    slower: float = 0.0
    share: float = 1.0
    limit: int | None = None
    """How many are shown before it ends."""
    headers: bool = False

    def admits(self, record: Record) -> bool:
        status, handling = record.status, record.handling
        return (
            record.seconds >= self.slower
            and (not self.status or any(low <= status <= high for low, high in self.status))
            and (not self.listener or handling.listener in self.listener)
            and (not self.route or handling.route in self.route)
            and (not self.cluster or record.endpoint.cluster in self.cluster)
            and (not self.method or record.request.method.decode("latin-1") in self.method)
            and (not self.path or self._path(record).startswith(self.path))
            and (not self.identity or self._identity(record) in self.identity)
        )

    @staticmethod
    def _path(record: Record) -> str:
        """Without the query: what is not shown cannot be found by guessing either."""
        return record.request.target.partition(b"?")[0].decode("latin-1")

    @staticmethod
    def _identity(record: Record) -> str:
        peer = record.origin.peer
        return str(peer.identity) if peer is not None else ""


def read_filter(query: Query) -> Filter:
    """Raises ValueError, in words that name the key and the value."""
    for key, values in query.items():
        if key not in _KEYS:
            raise ValueError(f"{cut(key)!r} is nothing to choose by; there are {', '.join(_KEYS)}")
        if len(values) > MOST_VALUES:
            raise ValueError(f"{key}: {len(values)} values are more than {MOST_VALUES}")
        if key in _ONCE and len(values) > 1:
            raise ValueError(f"{key}: given {len(values)} times")
        for value in values:
            if len(value) > LONGEST_VALUE or not value.isprintable():
                raise ValueError(f"{key}: {cut(value)!r} is not at most {LONGEST_VALUE} characters that can be printed")
    chosen = query.get
    status = [part for value in chosen("status", ()) for part in value.split(",")]
    if len(status) > MOST_VALUES:
        raise ValueError(f"status: {len(status)} values are more than {MOST_VALUES}")
    return Filter(
        listener=(*chosen("listener", ()),),
        route=(*chosen("route", ()),),
        cluster=(*chosen("cluster", ()),),
        method=tuple(map(str.upper, chosen("method", ()))),
        path=(*chosen("path", ()),),
        status=tuple(map(_status, status)),
        identity=(*chosen("identity", ()),),
        slower=next(map(_slower, chosen("slower", ())), 0.0),
        share=next(map(_share, chosen("share", ())), 1.0),
        limit=next(map(_limit, chosen("limit", ())), None),
        headers=next(map(_flag, chosen("headers", ())), False),
    )


_ONCE = ("slower", "share", "limit", "headers")
_KEYS = ("listener", "route", "cluster", "method", "path", "status", "identity", *_ONCE)


def _status(text: str) -> tuple[int, int]:
    found = _STATUS.fullmatch(text)
    if found is None:
        raise ValueError(f"status: {cut(text)!r} is neither a status such as 503, a class such as 5xx, nor 400-499")
    if found[1]:
        return int(found[1]) * 100, int(found[1]) * 100 + 99
    low, high = int(found[2]), int(found[3] or found[2])
    if low > high:
        raise ValueError(f"status: {text!r} begins above its end")
    return low, high


def _slower(text: str) -> float:
    try:
        return read_duration(text)
    except ValueError as why:
        raise ValueError(f"slower: {why}") from None


def _share(text: str) -> float:
    if re.fullmatch(r"[01]?(?:\.[0-9]{1,9})?", text) and text not in ("", ".") and 0 < (share := float(text)) <= 1:
        return share
    raise ValueError(f"share: {cut(text)!r} is not a share above 0 and up to 1, such as 0.1")


def _limit(text: str) -> int:
    if re.fullmatch("[0-9]{1,7}", text) and 1 <= int(text) <= MOST_TO_SHOW:
        return int(text)
    raise ValueError(f"limit: {cut(text)!r} is not a number from 1 to {MOST_TO_SHOW}")


def _flag(text: str) -> bool:
    if text not in ("0", "1", "false", "true"):
        raise ValueError(f"headers: {cut(text)!r} is neither 1 nor 0")
    return text in ("1", "true")


class Tap:
    """On one worker."""

    __slots__ = ("_bytes", "_filter", "_lines", "_lost", "_random", "_wake")

    def __init__(self, chosen: Filter, wake: Callable[[], None], draw: Callable[[], float] = random) -> None:
        """`wake` is called when there is something to take, and not again before it has been taken."""
        self._filter = chosen
        self._wake = wake
        self._random = draw
        self._lines: list[bytes] = []
        self._bytes = 0
        self._lost = 0

    def wants(self, record: Record) -> bool:
        chosen = self._filter
        if not chosen.admits(record) or (chosen.share < 1 and self._random() >= chosen.share):
            return False
        if len(self._lines) < MOST_LINES and self._bytes < MOST_BYTES:
            return True
        self._lost += 1
        return False

    def add(self, record: Record, event: Row) -> None:
        if self._filter.headers:
            event = {**event, **heads(record)}
        line = json.dumps(event, separators=(",", ":")).encode()
        self._bytes += len(line)
        self._lines.append(line)
        if len(self._lines) == 1:
            self._wake()

    def lose(self, count: int) -> None:
        """What was taken did not arrive."""
        self._lost += count

    def take(self) -> tuple[list[bytes], int]:
        """What has come since, and how many more there were."""
        taken = self._lines, self._lost
        self._lines, self._bytes, self._lost = [], 0, 0
        return taken
