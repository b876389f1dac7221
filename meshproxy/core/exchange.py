"""One request and its response: what a route, its filters and the access log see, and nothing else."""

from __future__ import annotations

from typing import Any

from meshproxy.errors import Failure
from meshproxy.wire.h1 import RequestHead, ResponseHead


class Exchange:
    __slots__ = (
        "attempts",
        "cluster",
        "failure",
        "handling",
        "opening",
        "request",
        "response",
        "sent",
        "started",
        "stats",
        "streamed",
        "tried",
        "upstream",
    )

    def __init__(self, request: RequestHead, handling: Any, opening: bytes, started: float) -> None:
        self.request = request
        self.handling = handling
        """What the route that was found does with it."""
        self.opening = opening
        """The beginning of the head that goes to the upstream."""
        self.started = started
        self.cluster: Any = None
        """Where it goes; of a split, the cluster that was drawn."""
        self.upstream: Any = None
        """Who carries it now: a connection, or the attempt to make one."""
        self.stats: Any = None
        """The counters of its route, once it is known who answers."""
        self.sent = True
        """Whether all of the request has come, and is sent or will be at once."""
        self.streamed = False
        """Whether a part of the body has gone to the upstream and is not kept."""
        self.attempts = 0
        self.tried: tuple[Any, ...] = ()
        """Endpoints that could not be reached."""
        self.response: ResponseHead | None = None
        """Once it has begun."""
        self.failure: Failure | None = None
