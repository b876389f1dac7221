"""Who hears of the end of requests and connections beside the counters: the access logs, and the tracer.

    observers = Observers.of(config, claims, rim)       # of one generation
    observers.hears("web")                              # functions of a record; none where nobody wants to know
    observers.hears_sessions("devices")                 # the same for sessions, of which more is said
"""

from __future__ import annotations

import platform
import random
from collections.abc import Callable
from dataclasses import dataclass

from meshproxy import __version__, model
from meshproxy.core.sampling import Sampler
from meshproxy.core.table import Claims
from meshproxy.model.access_log import AccessLog, Format
from meshproxy.net.clock import Clock
from meshproxy.net.sinks import Sink
from meshproxy.observe.access import Facts, compile_format, compile_when
from meshproxy.observe.exporters import Exporter, Who, exporter_of
from meshproxy.observe.record import Record
from meshproxy.observe.telling import Hear
from meshproxy.observe.trace import Trace
from meshproxy.plan.rim import Rim
from meshproxy.plan.sinks import Sinks
from meshproxy.relay.http.traced import Deliver, Tracer
from meshproxy.relay.live import Kept
from meshproxy.wire.trace import propagation

LOG_EVERY = 60.0

@dataclass(frozen=True, slots=True)
class Logged:
    """One access log."""

    listeners: tuple[str, ...]
    """That it is of; none: of all."""
    hear: Hear
    hear_session: Hear

    def is_of(self, listener: str) -> bool:
        return not self.listeners or listener in self.listeners


@dataclass(frozen=True, slots=True)
class Observers:
    logs: tuple[Logged, ...] = ()
    tracer: Tracer | None = None
    counts: bool = True
    """Whether requests are counted at all."""

    def hears(self, listener: str) -> tuple[Hear, ...]:
        return tuple(log.hear for log in self.logs if log.is_of(listener))

    def hears_sessions(self, listener: str) -> tuple[Hear, ...]:
        return tuple(log.hear_session for log in self.logs if log.is_of(listener))

    @classmethod
    def of(cls, config: model.Config, claims: Claims, rim: Rim) -> Observers:
        sinks = Sinks(claims, rim)
        logs = tuple(
            _logged(said, sinks.of_log(said, ("access_log", place)).offer, config.node, rim)
            for place, said in enumerate(config.access_log)
        )
        tracer = None if config.tracing is None else _tracer(config.tracing, config.node, sinks)
        return cls(logs, tracer, config.metrics.requests)


def _offset(clock: Clock) -> Callable[[], float]:
    """What is added to its time to have Unix time, which somebody may set."""
    return lambda: clock.wall() - clock.now()


def _logged(said: AccessLog, offer: Callable[[bytes], None], node: model.Node, rim: Rim) -> Logged:
    hear = _log(said, said.format, offer, node, rim)
    of_session = said.format.of_session
    return Logged(
        said.listeners, hear, hear if of_session == said.format else _log(said, of_session, offer, node, rim)
    )


def _log(said: AccessLog, format: Format, offer: Callable[[bytes], None], node: model.Node, rim: Rim) -> Hear:
    """One function of all that is done for a line.  That one cannot be written is no reason to end what it tells of."""
    line = compile_format(format, Facts(node.service, platform.node(), _offset(rim.clock)))
    wanted = compile_when(said.when)

    def hear(record: Record) -> None:
        try:
            if wanted is None or wanted(record):
                offer(line(record))
        except Exception as error:
            rim.log.limited("line-lost", LOG_EVERY, "error", "line-lost", error=repr(error))

    return hear


def _delivery(exporter: Exporter, sink: Sink, rim: Rim) -> Deliver:
    """The clocks are compared once a second.  That spans cannot be written is no reason to end what they tell of."""
    render, offer, offset, until, found = exporter.render, sink.offer, _offset(rim.clock), 0.0, 0.0

    def deliver(trace: Trace, x: Record) -> None:
        nonlocal until, found
        if x.started >= until:
            until, found = x.started + 1.0, offset()
        try:
            offer(render(trace, x, found))
        except Exception as error:
            rim.log.limited("spans-lost", LOG_EVERY, "error", "spans-lost", error=repr(error))

    return deliver


def _tracer(said: model.Tracing, node: model.Node, sinks: Sinks) -> Tracer:
    """It stays while the same is said: what is drawn of requests goes on over reloads."""
    clock = sinks.rim.clock
    who = Who(
        said.service or node.service or "meshproxy", said.instance or platform.node() or "meshproxy", __version__,
        said.tags,
    )  # fmt: skip
    exporter = exporter_of(said.export.kind, who)
    sink = sinks.of_collector(said.export.kind, said, exporter.content_type, exporter.join)

    def first() -> Kept:
        carry = propagation(said.propagate, service=who.service, instance=who.instance)
        sample = said.sample
        sampler = Sampler(sample.share, sample.rate, random.random, parent=sample.parent)
        return Kept(Tracer(carry, sampler, clock.now, _delivery(exporter, sink, sinks.rim)))

    tracer: Tracer = sinks.claims.claim(("tracer", repr(model.encode(said, redact=True)), who), first).value
    return tracer
