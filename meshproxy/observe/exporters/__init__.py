"""What collectors are told: spans as the documents that they take.

    exporter = exporter_of("otlp", Who("shop", "shop-1", "1.0"))
    waiting = [exporter.render(trace, x, offset), ...]      # one for each request, where it ends
    pieces = exporter.join(waiting)                         # of what is posted, as `exporter.content_type`

Where to read on: `parts.py` (what is written once for many), then each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from meshproxy.observe.exporters.otlp import Otlp
from meshproxy.observe.exporters.skywalking import SkyWalking
from meshproxy.observe.exporters.who import Who as Who
from meshproxy.observe.exporters.zipkin import Zipkin
from meshproxy.observe.record import Record
from meshproxy.observe.trace import Trace


class Exporter(Protocol):
    @property
    def content_type(self) -> str: ...

    def render(self, trace: Trace, x: Record, offset: float) -> bytes:
        """All spans of a request that is over, that of the request itself first, each with a comma before it.

        `offset`: what is added to the clock of the record to have Unix time.
        """

    def join(self, rendered: Sequence[bytes]) -> Sequence[bytes]:
        """What a document of several of these is made of."""


_MADE: Mapping[str, Callable[[Who], Exporter]] = {"otlp": Otlp, "zipkin": Zipkin, "skywalking": SkyWalking}


def exporter_of(kind: str, who: Who) -> Exporter:
    """`kind` as in the model: `Export.kind`."""
    return _MADE[kind](who)
