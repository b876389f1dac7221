"""The log: one line for each event, to standard error, as text or JSON.

An event is a word; what belongs to it stands in fields.  Values may come from a peer, so what cannot be
printed is escaped, long values are cut, and what a peer can repeat at will goes through `limited`.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]

LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")
LONGEST_VALUE = 512
MOST_KEYS = 1024

_BARE = re.compile(r"[!#-<>-\[\]-~]+")  # printable ASCII without space, quote, equals sign and backslash


class Log:
    def __init__(
        self,
        write: Callable[[str], object] | None = None,
        *,
        level: Level = "info",
        format: Format = "text",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._write = write or sys.stderr.write
        self._render = _json_line if format == "json" else _text_line
        self._clock = clock
        self._limits: dict[str, _Limit] = {}
        self.level: Level = level

    @property
    def level(self) -> Level:
        return LEVELS[self._threshold]

    @level.setter
    def level(self, level: str) -> None:
        """Takes effect with the next event; ValueError for an unknown word."""
        if level not in LEVELS:
            raise ValueError(f"level: {level!r} is not one of {', '.join(LEVELS)}")
        self._threshold = LEVELS.index(level)

    def debug(self, event: str, /, **fields: object) -> None:
        self._emit("debug", event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        self._emit("info", event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        self._emit("warning", event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        self._emit("error", event, fields)

    def limited(self, key: str, per_seconds: float, level: Level, event: str, /, **fields: object) -> None:
        """At most one line for `key` in `per_seconds`; the next one says how many were suppressed."""
        if LEVELS.index(level) < self._threshold:
            return
        now = self._clock()
        limit = self._limits.get(key)
        # A wall clock may be set back, and must not silence a key for as long as it was wrong.
        if limit is not None and 0 <= now - limit.since < per_seconds:
            limit.suppressed += 1
            return
        if limit is None and len(self._limits) >= MOST_KEYS:
            del self._limits[next(iter(self._limits))]
        if limit is not None and limit.suppressed:
            fields["suppressed"] = limit.suppressed
        self._limits[key] = _Limit(now)
        self._emit(level, event, fields)

    def _emit(self, level: Level, event: str, fields: dict[str, object]) -> None:
        if LEVELS.index(level) < self._threshold:
            return
        # Nobody to read the log is no reason to stop serving.
        with suppress(OSError, ValueError):
            self._write(self._render(_timestamp(self._clock()), level, event, fields) + "\n")


class _Limit:
    __slots__ = ("since", "suppressed")

    def __init__(self, since: float) -> None:
        self.since = since
        self.suppressed = 0


def _timestamp(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    return f"{whole}.{milliseconds % 1000:03d}Z"


def _text_line(timestamp: str, level: str, event: str, fields: dict[str, object]) -> str:
    said = (f"{name}={_text(held)}" for name, held in fields.items())
    return " ".join((timestamp, level.upper(), event, *said))


def _text(value: object) -> str:
    plain = _bounded(value)
    return plain if isinstance(plain, str) and _BARE.fullmatch(plain) else json.dumps(plain)


def _json_line(timestamp: str, level: str, event: str, fields: dict[str, object]) -> str:
    line: dict[str, object] = {"time": timestamp, "level": level, "event": event}
    # A field may be called as the frame's own are; the frame keeps its name.
    line.update((name if name not in line else f"{name}_", _bounded(held)) for name, held in fields.items())
    return json.dumps(line)


def _bounded(value: object) -> str | int | float | None:
    if value is None or isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else str(value)
    excess = len(text) - LONGEST_VALUE
    return text if excess <= 0 else f"{text[:LONGEST_VALUE]}...({excess} more)"
