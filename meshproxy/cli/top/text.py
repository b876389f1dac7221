"""Lines for a terminal: spans of text, cut to what has room, and harmless whatever stands in them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from math import ceil
from typing import Literal, NamedTuple

from meshproxy.observe.printable import printable

Manner = Literal["", "bold", "dim", "red", "green"]
Span = tuple[str, Manner]
Line = Sequence[Span]

CODES: dict[Manner, str] = {"bold": "1", "dim": "2", "red": "31", "green": "32"}
BARS, ASCII_BARS = "▁▂▃▄▅▆▇█", "_.-=+*%#"


class Style(NamedTuple):
    colour: bool
    unicode: bool
    """What is beyond ASCII can be shown."""


def width_of(text: str) -> int:
    """In columns: some signs take two of them, and some stand above others."""
    if text.isascii():
        return len(text)
    return sum(_width(each) for each in text)


def _width(sign: str) -> int:
    if unicodedata.category(sign) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def cut(text: str, width: int, style: Style) -> str:
    """No wider than that; what is missing at the end is marked."""
    if width_of(text) <= width:
        return text
    mark = "…" if style.unicode else "~"
    kept, left = [], width - 1
    for sign in text:
        left -= _width(sign)
        if left < 0:
            break
        kept.append(sign)
    return "".join(kept) + mark if width > 0 else ""


def placed(text: str, width: int, style: Style, right: bool = False) -> str:
    """In so many columns; made harmless first, since that may make it longer."""
    found = cut(printable(text), width, style)
    room = " " * (width - width_of(found))
    return room + found if right else found + room


def painted(line: Line, width: int, style: Style) -> str:
    """As a terminal takes it."""
    parts = []
    for text, manner in line:
        found = cut(printable(text), width, style)
        width -= width_of(found)
        parts.append(f"\x1b[{CODES[manner]}m{found}\x1b[0m" if style.colour and manner and found else found)
    return "".join(parts).rstrip(" ")


def spark(values: Sequence[float | None], width: int, style: Style) -> str:
    """The last of them as bars, the greatest as a full one; a gap where there is none."""
    bars = BARS if style.unicode else ASCII_BARS
    shown = values[-width:] if width > 0 else ()
    most = max((value for value in shown if value is not None), default=0) or 1
    steps = len(bars) - 1
    return "".join(" " if value is None else bars[ceil(value * steps / most)] for value in shown)


def per_second(value: float) -> str:
    if value >= 9_999.5:
        return f"{value / 1000:.0f}k" if value >= 99_950 else f"{value / 1000:.1f}k"
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}"


def size(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1023.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def milliseconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1000:.1f} s" if value >= 9_999.5 else f"{value:.0f}" if value >= 99.95 else f"{value:.1f}"


def share(value: float | None) -> str:
    """What is not quite nothing is not shown as nothing."""
    if value is None:
        return "-"
    percent = value * 100
    if 0 < percent < 0.01:
        return "<0.01 %"
    return f"{percent:.2f} %" if 0 < percent < 10 else f"{percent:.0f} %"


def duration(seconds: float) -> str:
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{whole} s"
