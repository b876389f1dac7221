"""All that one scrape is told: our families, those of the presets, and never more series than are allowed.

    found, left = scraped(snapshot, identity, said)     # `left`: how many series of which metric are in `other`

The largest families give way first.  How many series each may have is the whole allowance, halved until all fit: it
changes seldom, and so it seldom happens that a series goes into `other` which was told of before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshproxy.model.metrics import Metrics
from meshproxy.observe.exposition import Family, families, labelled, merged
from meshproxy.observe.metrics.counters import OTHERS
from meshproxy.observe.presets import PRESETS, Identity

Left = dict[str, int]


def scraped(snapshot: Mapping[str, Any], identity: Identity, said: Metrics) -> tuple[list[Family], Left]:
    found = families(snapshot)
    for name in dict.fromkeys(said.presets):
        found += PRESETS[name](snapshot, identity)
    return bounded(found, said.series)


def bounded(found: Sequence[Family], most: int) -> tuple[list[Family], Left]:
    sizes = [_lines(family) * len(family.samples) for family in found]
    each = most
    while each > 1 and sum(min(size, each) for size in sizes) > most:
        each //= 2
    kept, left = [], {}
    for family, size in zip(found, sizes, strict=True):
        if size > each and family.labels:
            places = max(0, each // _lines(family) - 1)
            left[family.name] = (len(family.samples) - places) * _lines(family)
            family = _with_others(family, places)
        kept.append(family)
    return kept, left


def _lines(family: Family) -> int:
    """For each of its samples."""
    return len(family.samples[0][1]["counts"]) + 2 if family.type == "histogram" else 1


def _with_others(family: Family, places: int) -> Family:
    """The first ones, and the sum of the others.  There is no sum of gauges that says anything."""
    first, others = family.samples[:places], [value for _, value in family.samples[places:]]
    if family.type == "gauge":
        return family._replace(samples=first)
    total = merged(others) if family.type == "histogram" else sum(others)
    return family._replace(samples=[*first, (labelled(family.labels, [OTHERS] * len(family.labels)), total)])
