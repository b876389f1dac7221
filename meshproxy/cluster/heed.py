"""Who heeds how attempts at endpoints go: several the same ones, and calls of gRPC as if they were of HTTP."""

from __future__ import annotations

from meshproxy.cluster.cluster import Heed
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.errors import Failure
from meshproxy.wire import grpc
from meshproxy.wire.grpc import Status
from meshproxy.wire.h1 import ResponseHead

_AS_HTTP = {
    Status.UNKNOWN: 500,
    Status.DEADLINE_EXCEEDED: 504,
    Status.INTERNAL: 500,
    Status.UNAVAILABLE: 503,
    Status.DATA_LOSS: 500,
}
"""What an endpoint says of itself; all other statuses are about what it was asked."""


def heard(head: ResponseHead) -> int:
    """The status by which an endpoint is judged: of a call of gRPC that has failed at once, what that stands for."""
    if b"grpc-status" not in head.shape.positions:
        return head.status
    return _AS_HTTP.get(grpc.status(head.get(b"grpc-status")), head.status)


def together(*heeds: Heed | None) -> Heed | None:
    """All of these that there are, as one; None if there is none."""
    present = tuple(heed for heed in heeds if heed is not None)
    if len(present) < 2:
        return present[0] if present else None

    def heed(endpoint: Endpoint, failure: Failure | None, status: int, seconds: float) -> None:
        for each in present:
            each(endpoint, failure, status, seconds)

    return heed
