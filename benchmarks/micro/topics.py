"""What it costs to match a topic with 10, 1,000 and 100,000 filters: as people write them, and made to multiply.

Everything happens in this process.  A figure is the best of many passes over some topics, since whatever else the
machine does can only add to it.  The hostile filters are those that a tree of levels must try one by one: any mixture
of `a` and `+` takes the topic `a/a/a/...` as far as it goes, and only one level, another one in each, does not.  How
long that takes beside the levels of the topic stands at the end, for 100,000 of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random

from benchmarks.harness import Plan, Result, interleave, note
from meshproxy.core.mqtt.topic import Filters

SIZES = (10, 1_000, 100_000)
LEVELS = (16, 32, 64, 128)
TOPICS = 100

Written = tuple[bytes, bytes]
"""A filter, and a topic that it matches."""
Subject = tuple[Filters[int], Sequence[bytes]]


def exact(number: int) -> Written:
    return b"plant/press-%d/state" % number, b"plant/press-%d/state" % number


def below(number: int) -> Written:
    return b"tenant-%d/#" % number, b"tenant-%d/plant/press/state" % number


def between(number: int) -> Written:
    return b"plant/press-%d/+/state" % number, b"plant/press-%d/7/state" % number


def both(number: int) -> Written:
    """The place of the wildcard is another one in each second."""
    filter, topic = (b"plant/%d/+/state", b"plant/%d/x/state") if number % 2 else (b"plant/+/%d/#", b"plant/x/%d/a")
    return filter % number, topic % number


KINDS: dict[str, Callable[[int], Written]] = {
    "exact": exact,
    "# after a name": below,
    "+ between names": between,
    "+ at two places": both,
}


def run(plan: Plan) -> list[Result]:
    note(f"micro topics: {plan.rounds} rounds of {plan.seconds / 10:g} s on {len(KINDS) + 1} kinds of filters")
    subjects = {name: {f"{size} filters": ordinary(kind, size) for size in SIZES} for name, kind in KINDS.items()}
    subjects["hostile"] = {f"{size} filters": hostile(17, size) for size in SIZES}
    subjects[f"hostile, {SIZES[-1]} filters"] = {f"{levels} levels": hostile(levels, SIZES[-1]) for levels in LEVELS}
    return [
        Result(
            f"micro topics: {name}",
            "µs",
            interleave(sizes, plan.rounds, lambda each: best(*each, plan.seconds / 10)),
        )
        for name, sizes in subjects.items()
    ]


def ordinary(kind: Callable[[int], Written], size: int) -> Subject:
    """So many filters, and topics spread over all of them, each of which has one."""
    filters: Filters[int] = Filters()
    for number in range(size):
        filters.add(kind(number)[0], number)
    wanted = [number * 7919 % size for number in range(TOPICS)]
    topics = [kind(number)[1] for number in wanted]
    for number, topic in zip(wanted, topics, strict=True):
        if (found := filters.match(topic)) != [number]:
            raise RuntimeError(f"{topic!r} is for {number}, not for {found}")
    return filters, topics


def hostile(levels: int, size: int) -> Subject:
    """So many different filters of so many levels, none of which matches."""
    random = Random(9)
    made: set[bytes] = set()
    while len(made) < size:
        parts = random.choices((b"a", b"+"), k=levels)
        parts[random.randrange(levels)] = b"b"
        made.add(b"/".join(parts))
    filters: Filters[int] = Filters()
    for number, each in enumerate(sorted(made)):
        filters.add(each, number)
    topic = b"/".join([b"a"] * levels)
    if found := filters.match(topic):
        raise RuntimeError(f"{topic!r} is for none, not for {found}")
    return filters, [topic]


def best(filters: Filters[int], topics: Sequence[bytes], seconds: float) -> float:
    """Microseconds for one topic, of the best pass."""
    least, end, match = float("inf"), time.perf_counter() + seconds, filters.match
    while True:
        began = time.perf_counter()
        for topic in topics:
            match(topic)
        now = time.perf_counter()
        least = min(least, now - began)
        if now > end:
            return least / len(topics) * 1e6
