"""What is told of a connection or of a session at its end: a `Record`, as an exchange is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from meshproxy.cluster.cluster import CONNECT_FAILED
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.core.exchange import NOBODY, Nobody
from meshproxy.errors import Failure
from meshproxy.observe.record import Session
from meshproxy.relay.origin import Origin, Whence
from meshproxy.wire.h1 import UNREAD

CLIENT_LOST = Failure("client_gone", flag="DC")
UPSTREAM_LOST = Failure("upstream_lost", flag="UC")
ENDED: Mapping[str, Failure] = {
    "connect": CONNECT_FAILED,
    "idle": Failure("idle_timeout", flag="SI"),
    "lifetime": Failure("lifetime", flag="DT"),
    "drain": Failure("drained", flag="DR"),
}
"""By the reason for which a connection has ended."""


class Spot(NamedTuple):
    """What was decided for it."""

    listener: str
    route: str = ""


class Shared(NamedTuple):
    """In the place of an endpoint: a cluster with which many have a connection together."""

    cluster: str
    name: str = ""


@dataclass(slots=True)
class Passed:
    origin: Origin | Whence
    handling: Spot
    started: float
    seconds: float
    received: int
    sent: int
    failure: Failure | None = None
    endpoint: Endpoint | Nobody | Shared = NOBODY
    tried: tuple[Endpoint, ...] = ()
    asked: float = 0.0
    answered: float = 0.0
    """When the endpoint was there."""
    flags: str = ""
    protocol: str = "TCP"
    status: int = 0
    session: Session | None = None

    # What it has not got

    request = UNREAD
    response = None
    trace = None
    id = drawn = b""

    def end(self, status: int, flags: str, seconds: float) -> None:
        """It has ended before it was told of."""

    @property
    def attempts(self) -> int:
        """Whoever was asked last may have been asked in vain too."""
        return len(self.tried) - (self.endpoint in self.tried)
