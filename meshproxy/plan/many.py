"""HTTP/2 to endpoints, compiled.

    many(said, dial)        None: the cluster speaks HTTP/1.1, one exchange at a time on a connection
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from meshproxy import model
from meshproxy.cluster.cluster import DialTo, Many
from meshproxy.plan.codec import carried_limits
from meshproxy.plan.dialling import Offer
from meshproxy.plan.tls import ALPN
from meshproxy.wire.h2 import Responses


def many(said: model.Cluster, dial: Callable[..., DialTo]) -> Many | None:
    """`dial(offered=...)` is how endpoints are reached that are offered this."""
    version = said.http.version
    if version == "h1":
        return None
    return Many(
        dial=dial(offered=OFFERED[version]),
        always=version != "auto",
        scheme=b"https" if said.tls is not None else b"http",
        limits=carried_limits(said.http.http2),
        ping=said.http.http2.ping or inf,
        responses=Responses(),
    )


_H2 = ALPN["h2"]
OFFERED = {
    "h1": Offer(),
    "h2": Offer((_H2,), only=_H2),
    "prior": Offer((_H2,)),
    "auto": Offer(tuple(ALPN.values())),
}
"""By ALPN."""
