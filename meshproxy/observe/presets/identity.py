"""Who this proxy stands beside, and who the others are, as far as names tell.

    party("spiffe://cluster.local/ns/shop/sa/web")      # Party("shop", "web", the whole of it)
    party("web.shop.cluster.local")                     # the same, as common names of FSM have it
    party("10.0.0.7")                                   # a Party of which nothing is known
    service("shop/books|8080")                          # Service("shop", "books")
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import NamedTuple

from meshproxy.model import Config

OUTBOUND = "outbound"
"""The listener at which the workload's own asking arrives, as dialects of meshes name it."""
UNKNOWN = "unknown"

_SPIFFE = re.compile(r"spiffe://(?P<trust_domain>[^/]+)/ns/(?P<namespace>[^/]+)/sa/(?P<account>[^/]+)")
_COMMON_NAME = re.compile(
    r"(?P<account>[a-z][a-z0-9-]*)\.(?P<namespace>[a-z][a-z0-9-]*)\.(?P<trust_domain>[a-z0-9.-]+)"
)
_CLUSTER = re.compile(r"(?P<namespace>[^/|]+)/(?P<name>[^/|]+)(?:\|.*)?")


@dataclass(frozen=True, slots=True)
class Identity:
    """Of this proxy's workload."""

    service: str = UNKNOWN
    namespace: str = UNKNOWN
    service_account: str = UNKNOWN
    trust_domain: str = "cluster.local"
    workload: str = UNKNOWN
    kind: str = UNKNOWN
    pod: str = UNKNOWN
    version: str = UNKNOWN
    cluster: str = UNKNOWN
    outbound: frozenset[str] = frozenset()
    """The listeners at which its own asking arrives; what arrives at any other is asked of it."""

    @property
    def principal(self) -> str:
        if UNKNOWN in (self.namespace, self.service_account):
            return UNKNOWN
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"


class Party(NamedTuple):
    namespace: str
    account: str
    principal: str


class Service(NamedTuple):
    namespace: str
    name: str


NOBODY = Party(UNKNOWN, UNKNOWN, UNKNOWN)


def identity_of(config: Config) -> Identity:
    """Of `node` and its labels; the pod, where nothing is said, is called as its host is."""
    node = config.node
    labels = dict(node.labels)
    asking = frozenset(
        listener.name
        for listener in config.listeners
        if listener.name == OUTBOUND or set(listener.listen) & set(config.sidecar.outbound)
    )
    return Identity(
        service=node.service or UNKNOWN,
        namespace=node.namespace or UNKNOWN,
        service_account=node.service_account or UNKNOWN,
        trust_domain=node.trust_domain,
        workload=labels.get("workload") or node.service or UNKNOWN,
        kind=labels.get("kind") or UNKNOWN,
        pod=labels.get("pod") or socket.gethostname(),
        version=labels.get("version") or UNKNOWN,
        cluster=labels.get("cluster") or UNKNOWN,
        outbound=asking,
    )


def party(source: str) -> Party:
    """Addresses, names that peers tell of themselves, and what is counted together say nothing."""
    found = _SPIFFE.fullmatch(source) or _COMMON_NAME.fullmatch(source)
    if found is None:
        return NOBODY
    trust_domain, namespace, account = found["trust_domain"], found["namespace"], found["account"]
    return Party(namespace, account, f"spiffe://{trust_domain}/ns/{namespace}/sa/{account}")


def service(cluster: str) -> Service | None:
    """As the dialects of meshes name the clusters of services."""
    found = _CLUSTER.fullmatch(cluster)
    return Service(found["namespace"], found["name"]) if found is not None else None
