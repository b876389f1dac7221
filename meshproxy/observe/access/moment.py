"""When something began, as text: made once a second, since most of it is the same for all who began in that second.

    turn = began("%H:%M:%S.%3f", offset)(pen)
    second = turn(started)                      # to be used from `since` until `until`
    second[int((started - second.since) * second.scale)]        # b"22:13:20.250"
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from math import floor, inf

from meshproxy.observe.access.pen import Pen

DEFAULT = "%Y-%m-%dT%H:%M:%S.%3fZ"
NANOSECONDS = 9
MOST_FRACTIONS = 1000
"""That a second remembers: all milliseconds."""

_SPECIAL = re.compile(r"%(?:%|s|([1-9])?f)")
_HERE = "\x01"
"""In the place of a fraction."""


class Second(dict[int, bytes]):
    """One second: the texts for its fractions."""

    def __init__(self, since: float, until: float, template: bytes, digits: int) -> None:
        self.since = since
        self.until = until
        """By the clock of the loop."""
        self.scale = 10**digits if digits else 0
        self._template = template
        """With a place for a number, if there are digits."""

    def __missing__(self, fraction: int) -> bytes:
        text = self._template % fraction if self.scale else self._template
        if len(self) < MOST_FRACTIONS:
            self[fraction] = text
        return text


NO_SECOND = Second(0.0, 0.0, b"", 0)
ETERNITY = Second(0.0, inf, b"", 0)
"""Of a line that does not say when."""

Turn = Callable[[float], Second]
"""The second in which this was."""


def began(directives: str, offset: Callable[[], float]) -> Callable[[Pen], Turn]:
    """By the directives of `strftime`, in UTC, and `%3f` for milliseconds.

    `offset` tells what is to be added to the clock of the loop to get the seconds since the epoch.
    """
    spoken = directives or DEFAULT
    fraction = next((found for found in _SPECIAL.finditer(spoken) if found[0][-1] == "f"), None)
    digits = int(fraction[1] or NANOSECONDS) if fraction else 0

    def by(pen: Pen) -> Turn:
        def turn(started: float) -> Second:
            now = started + offset()
            second = floor(now)
            since = started - (now - second)
            text = pen.frame % _of_second(spoken, second).encode("ascii", "replace")
            if digits:
                text = text.replace(b"%", b"%%").replace(_HERE.encode(), b"%%0%dd" % digits)
            return Second(since, since + 1.0, text, digits)

        return turn

    return by


def _of_second(directives: str, second: int) -> str:
    """With a mark where the fraction stands, if there is one."""

    def written(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return found[0]
        return str(second) if found[0] == "%s" else _HERE

    return time.strftime(_SPECIAL.sub(written, directives), time.gmtime(second))
