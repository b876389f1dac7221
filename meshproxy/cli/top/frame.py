"""What stands on the screen: from what was seen of a proxy, and what its user wants of it, to lines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from meshproxy.cli.top.feed import WINDOW, Look, Seen
from meshproxy.cli.top.table import SECTIONS, SORTED_BY, failed, rows, table
from meshproxy.cli.top.text import Line, Style, duration, milliseconds, per_second, placed, share, size, spark

LABEL, FIGURES = 9, 36
"""Columns of the golden signals."""
ALL_SIGNALS_FROM, ONE_LINE_FROM, FOOT_FROM, RECENT_FROM = 18, 8, 7, 28
"""Lines from which on there is room for these."""
MOST_RECENT = 5
KEYS = {"r": "routes", "c": "clusters", "l": "listeners"}
HELP = (
    ("r c l", "routes, clusters, listeners"),
    ("s", "sort by the next key"),
    ("j k, arrows", "a line down, up"),
    ("page up, down", "many lines"),
    ("g G, home, end", "to the first, to the last"),
    ("?", "this, and back"),
    ("q", "quit"),
)
FOOT = "q quit  s sort  r routes  c clusters  l listeners  ? help"
PAGE = 10


class View:
    """What the user has chosen."""

    def __init__(self) -> None:
        self.chosen: str | None = None
        self.routed = True
        """There are routes, so that these are shown first."""
        self.top = 0
        """How many rows are above those that are shown."""
        self.help = False
        self.over = False
        self._sorts = dict.fromkeys(SECTIONS, 0)

    @property
    def section(self) -> str:
        return self.chosen or ("routes" if self.routed else "listeners")

    @property
    def sort(self) -> str:
        return SORTED_BY[self.section][self._sorts[self.section]]

    def press(self, key: str) -> None:
        if key in KEYS:
            self.chosen, self.top, self.help = KEYS[key], 0, False
        elif key == "s":
            self._sorts[self.section] = (self._sorts[self.section] + 1) % len(SORTED_BY[self.section])
            self.top = 0
        elif key == "?":
            self.help = not self.help
        elif key == "escape":
            self.help = False
        elif key == "q":
            self.over = True
        else:
            self._scroll(key)

    def _scroll(self, key: str) -> None:
        """`frame` keeps it within what there is."""
        by = {"j": 1, "down": 1, "k": -1, "up": -1, "page down": PAGE, "page up": -PAGE}
        if key in ("g", "home"):
            self.top = 0
        elif key in ("G", "end"):
            self.top = 1 << 30
        else:
            self.top = max(0, self.top + by.get(key, 0))


def frame(seen: Seen, view: View, address: str, width: int, height: int | None, style: Style) -> list[Line]:
    """As many lines as there is room for; all of them where `height` is None."""
    tall = height if height is not None else 1 << 30
    lines: list[Line] = [_title(seen, address)]
    if view.help:
        lines += [[(placed(keys, 16, style), "bold"), (what, "")] for keys, what in HELP]
        return lines[:tall]
    look = seen.look
    if look is None:
        return lines[:tall]
    if tall >= ALL_SIGNALS_FROM:
        lines += [[], *_signals(look, width, style), []]
    elif tall >= ONE_LINE_FROM:
        lines.append(_signals_in_short(look))
    view.routed = bool(look.stats["routes"])
    lines.append(_tabs(view))
    foot = _foot(look, height)
    found = rows(look, view.section, view.sort)
    room = max(0, tall - len(lines) - len(foot) - 1)
    view.top = min(view.top, max(0, len(found) - room))
    lines += table(found[view.top : view.top + room], view.section, width, style)
    if not found and room:
        lines.append([("nothing in the last minute" if view.section == "routes" else "there are none", "dim")])
    if height is not None and foot:
        lines += [[] for _ in range(height - len(foot) - len(lines))]
    return [*lines, *foot][:tall]


def _title(seen: Seen, address: str) -> Line:
    if seen.problem:
        ago = duration(time.monotonic() - seen.since)
        return [("no answer", "red"), (f" for {ago}, trying again: {seen.problem}", "")]
    if seen.look is None:
        return [(f"asking {address} ...", "dim")]
    server, stats = seen.look.server, seen.look.stats
    state = server["state"]
    workers = f", {stats['workers']} workers" if stats["workers"] > 1 else ""
    told = f"  generation {server['generation']}, up {duration(server['uptime_seconds'])}{workers}  {address}"
    return [
        ("meshproxy ", "bold"),
        (state, "green" if state == "LIVE" else "red"),
        (told, ""),
        (f"  {server['version']}", "dim"),
    ]


def _signals(look: Look, width: int, style: Style) -> list[Line]:
    total, seconds = look.stats["total"], look.stats["known_seconds"] or 1
    whole = total["summary"]
    share_failed = failed(whole)
    latency = " ".join(f"{name} {milliseconds(whole[name])}" for name in ("p50", "p95", "p99"))
    received, sent = total["received_bytes"], total["sent_bytes"]
    both = [*map(sum, zip(received, sent, strict=True))]
    traffic = f"{size(sum(received) / seconds)}/s in, {size(sum(sent) / seconds)}/s out"
    said: list[tuple[str, str, Sequence[float | None]]] = [
        ("requests", f"{per_second(whole['rate'])} /s", total["requests"]),
        ("errors", share(share_failed), total["errors"]),
        ("latency", f"{latency} ms", total["p99"]),
        ("traffic", traffic, both),
        ("open", str(total["connections_active"][-1]), total["connections_active"]),
    ]
    lines: list[Line] = []
    for label, figures, shape in said:
        bad = label == "errors" and bool(share_failed)
        lines.append([
            (placed(label, LABEL, style), "dim"),
            (placed(figures, FIGURES, style), "red" if bad else ""),
            (spark(shape, min(width - LABEL - FIGURES, WINDOW), style), "red" if bad else "green"),
        ])
    return lines


def _signals_in_short(look: Look) -> Line:
    total = look.stats["total"]
    whole = total["summary"]
    share_failed = failed(whole)
    return [
        (f"{per_second(whole['rate'])} /s  ", "bold"),
        (f"{share(share_failed)} errors", "red" if share_failed else ""),
        (f"  p99 {milliseconds(whole['p99'])} ms  {total['connections_active'][-1]} open", ""),
    ]


def _tabs(view: View) -> Line:
    tabs: list[tuple[str, Any]] = []
    for section in SECTIONS:
        here = section == view.section
        tabs += [(f"[{section}]" if here else section, "bold" if here else "dim"), (" ", "")]
    return [*tabs, (f" by {view.sort}, last {WINDOW} s", "dim")]


def _foot(look: Look, height: int | None) -> list[Line]:
    recent = _recent(look)
    if height is None:
        return recent
    if height < FOOT_FROM:
        return []
    return [*(recent if height >= RECENT_FROM else []), [(FOOT, "dim")]]


def _recent(look: Look) -> list[Line]:
    """The last requests that went wrong, where the proxy tells of them."""
    errors = look.recent.get("errors") if isinstance(look.recent, dict) else None
    lines: list[Line] = [[]] if errors else []
    for each in (errors or ())[:MOST_RECENT]:
        said = {name: each.get(name) for name in ("time", "status", "method", "authority", "path", "route", "reason")}
        flags = ",".join(map(str, each.get("flags") or ()))
        words = " ".join(str(said[name]) for name in ("method", "authority", "path", "route", "reason") if said[name])
        lines.append([
            (str(said["time"])[11:19] + " ", "dim"),
            (f"{said['status']} {flags} ", "red"),
            (words, ""),
        ])
    return lines
