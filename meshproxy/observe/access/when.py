"""Which records leave a line: what an operator said, compiled into one question.

    wanted = compile_when(When(status=((500, 599),), share=0.1))
    wanted is None or wanted(record)

Of several logs, and of several proxies that a request passes, all draw the same share of the requests: those whose ids
end with a small number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from random import random

from meshproxy.model.access_log import When
from meshproxy.model.matching import ValueMatch, fitting
from meshproxy.observe.record import Record

Wanted = Callable[[Record], bool]

_END = re.compile(rb"[0-9A-Fa-f]{8}").fullmatch
_ENDS = 1 << 32


def compile_when(when: When) -> Wanted | None:
    """None: all of them."""
    tests = tuple(_tests(when))
    if len(tests) < 2:
        return tests[0] if tests else None

    def wanted(record: Record) -> bool:
        for test in tests:  # noqa: SIM110 - all() over a generator takes twice as long
            if not test(record):
                return False
        return True

    return wanted


def _tests(when: When) -> Iterator[Wanted]:
    """The cheap ones first, and chance last: it is for what all the others want."""
    if when.status:
        statuses = frozenset(status for first, last in when.status for status in range(first, last + 1))
        yield lambda record: record.status in statuses
    if when.flags is not None:
        flagged = when.flags
        yield lambda record: bool(record.flags) is flagged
    if when.slower is not None:
        slower = when.slower
        yield lambda record: record.seconds >= slower
    for name, match in when.headers:
        yield _header(name, match)
    if when.share < 1:
        yield _share(when.share)


def _header(name: str, match: ValueMatch) -> Wanted:
    key, fits = name.lower().encode("ascii"), fitting(match)
    return lambda record: fits(record.request.get(key))


def _share(share: float) -> Wanted:
    least = share * _ENDS

    def drawn(record: Record) -> bool:
        end = record.id[-8:]
        if _END(end):
            return int(end, 16) < least
        return random() < share  # noqa: S311 - a share, not a secret

    return drawn
