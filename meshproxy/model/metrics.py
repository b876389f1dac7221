"""What an operator can say about metrics, and about what is kept of requests for whoever looks.

    said = decode(Metrics, {"presets": ["istio"], "series": 20000})
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from meshproxy.schema.kinds import Bool, PositiveDuration, choice, whole

LEAST_SERIES, MOST_SERIES = 1000, 1_000_000
MOST_KEPT = 10_000

Preset = Annotated[Literal["fsm", "istio", "linkerd"], choice("fsm", "istio", "linkerd")]
Kept = Annotated[int, whole(0, MOST_KEPT)]
Series = Annotated[int, whole(LEAST_SERIES, MOST_SERIES)]


@dataclass(frozen=True, slots=True)
class Metrics:
    """What is counted, told and kept."""

    presets: Annotated[tuple[Preset, ...], "meshes under whose names the figures stand too, beside our own"] = ()
    requests: Annotated[Bool, "whether it is counted who talks to whom, and kept what failed or was slow"] = True
    slow: Annotated[PositiveDuration, "a request that takes longer is a slow one"] = 1.0
    keep: Annotated[Kept, "how many of the last that failed, and of the last slow ones, are kept"] = 100
    series: Annotated[Series, "how many a scrape may have; what is more is told together, as `other`"] = 10_000
    peers: Annotated[Bool, "whether proxies that prove who they are tell each other their `node`"] = True


PLAIN_METRICS = Metrics()
