"""Clusters: who answers, how much is asked of them, and how TLS is spoken to them.

    clusters = Clusters(draft, ("Outbound", "ClustersConfigs"), dict(draft.said.outbound.clusters))
    clusters.use("shop/books|80", Hop(papers, mesh=True), http=True)    # its name in our words
    clusters.put()                              # all that are used

One that is asked in several ways (by services of the mesh with mTLS, by an egress policy without) is as many clusters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from meshproxy.dialects.fsm.draft import Data, Draft
from meshproxy.dialects.fsm.papers import Papers, egress_names, mesh_names
from meshproxy.dialects.fsm.said import CircuitBreaking, Cluster, HttpSettings
from meshproxy.model.limits import MOST
from meshproxy.schema.kinds import show_duration
from meshproxy.schema.shapes import Path

HEAVIEST = 65535
LOOPBACK = "127.0.0.1:"
LOCAL_SOURCE = "127.0.0.6"
"""From where the application sees its clients come; what it sends itself comes from elsewhere."""
NOBODY = "nobody@"
ORIGINAL = "original@"

_usual = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/|-]*").fullmatch
_unusual = re.compile(r"[^A-Za-z0-9_.:/|-]")


def name_of(theirs: str) -> str:
    """Theirs, if it can be one of ours; else one that is like it and no other's. `@` is in names that we make."""
    if _usual(theirs) and len(theirs) <= 200:
        return theirs
    return f"x@{_unusual.sub('_', theirs[:150])}@{sha256(theirs.encode()).hexdigest()[:16]}"


def scaled(weights: Mapping[str, float]) -> dict[str, int]:
    """As whole numbers that we take, none of which becomes 0 that was none."""
    most = max(weights.values(), default=0)
    if most <= HEAVIEST and all(weight == int(weight) for weight in weights.values()):
        return {name: int(weight) for name, weight in weights.items()}
    return {name: max(round(weight * HEAVIEST / most), 1) if weight else 0 for name, weight in weights.items()}


@dataclass(frozen=True, slots=True)
class Hop:
    """How a cluster is asked."""

    papers: Papers | None = None
    mesh: bool = False
    """Whether it is a service of the mesh."""
    grpc: bool = False
    """Whether it is asked by calls, which are HTTP/2."""
    via: str | None = None
    """The tunnel through which it is asked, if there is to be one."""


PLAIN = Hop()
PLAIN_GRPC = Hop(grpc=True)


@dataclass(slots=True)
class Clusters:
    """Of one direction."""

    draft: Draft
    path: Path
    said: Mapping[str, Cluster]
    taken: frozenset[str] = frozenset()
    """Names that are another's already."""
    local: bool = False
    """Whether they are the application."""
    own: Papers | None = None
    trust_domain: str = ""
    of_mesh: frozenset[str] = frozenset()
    """Those that are services of the mesh somewhere: asked in another way, they have another name."""
    _used: dict[str, tuple[str, Hop]] = field(default_factory=dict)
    _by_http: set[str] = field(default_factory=set)
    _by_grpc: set[str] = field(default_factory=set)
    """What answers calls somewhere speaks HTTP/2 at its port, whoever asks."""
    _joined: set[str] = field(default_factory=set)
    _sources: dict[str, Papers | None] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.said

    def use(self, theirs: str, hop: Hop, *, http: bool) -> str:
        """Its name in our words."""
        name = name_of(theirs)
        if name in self.taken:
            name += f"@{self.path[0]}".lower()
        if self.said[theirs].certificate is None and not hop.mesh:
            if hop.papers is not None:
                name += f"@{hop.papers.digest}"
            elif theirs in self.of_mesh:
                name += "@egress"
        _, before = self._used.get(name, (theirs, hop))
        if before.via != hop.via:
            name += f"@{hop.via or 'direct'}"
        self._used.setdefault(name, (theirs, hop))
        if http:
            self._by_http.add(name)
        if hop.grpc:
            self._by_grpc.add(name)
        return name

    def put(self) -> None:
        """All that are used."""
        for name, (theirs, hop) in self._used.items():
            self.draft.put("clusters", name, self._cluster(name, theirs, hop), (*self.path, theirs))
        used = self._joined.union(theirs for theirs, _ in self._used.values())
        for theirs in self.said:
            if theirs not in used:
                self.draft.note("ignored", (*self.path, theirs), "nothing leads to this cluster")

    def put_joined(self, name: str, targets: Mapping[str, int], hop: Hop, path: Path) -> str:
        """One cluster of the endpoints of several, by their weights; those of weight 0 are for when all others fail."""
        self._joined.update(targets)
        parts = {theirs: self._cluster(name, theirs, hop) for theirs in targets}
        settings = [_without_names(part) for part in parts.values()]
        if any(each.get("tls") != settings[0].get("tls") for each in settings[1:]):
            self.draft.problem(path, "clusters that share connections differ in how TLS is spoken")
        elif any(each != settings[0] for each in settings[1:]):
            message = "clusters that share connections differ in more than endpoints: the settings of the first count"
            self.draft.note("ignored", path, message)
        weights: dict[str, float] = {}
        priorities: dict[str, int] = {}
        for theirs, weight in targets.items():
            said = [each if isinstance(each, dict) else {"address": each} for each in parts[theirs]["endpoints"]]
            whole = sum(each.get("weight", 1) for each in said if not each.get("priority")) or 1
            for each in said:
                address, spare = each["address"], int(not weight)
                weights[address] = weights.get(address, 0.0) + each.get("weight", 1) / whole * (weight or 1)
                priorities.setdefault(address, each.get("priority", 0) + spare)
        found = dict(settings[0])
        found["endpoints"] = [
            {"address": address, "weight": weight, **({"priority": priorities[address]} if priorities[address] else {})}
            for address, weight in scaled(_finely(weights)).items()
        ]
        names = [each for part in parts.values() for each in part.get("tls", {}).get("names", ())]
        if names and "tls" in found:
            found["tls"] = {**found["tls"], "names": list(dict.fromkeys(names))}
        self.draft.put("clusters", name, found, path)
        return name

    def _cluster(self, name: str, theirs: str, hop: Hop) -> Data:
        said, path = self.said[theirs], (*self.path, theirs)
        self.draft.make(len(said.endpoints), path)
        papers = self._papers(theirs, hop)
        found: Data = {"endpoints": self._endpoints(said, path)}
        if self.local and said.endpoints and all(address.startswith(LOOPBACK) for address, _ in said.endpoints):
            found["source"] = LOCAL_SOURCE
        wait = said.settings.tcp.connect_timeout or self.draft.said.spec.sidecar_timeout
        if wait:
            found["connect_timeout"] = show_duration(wait)
        breaker = _limits(said.settings.tcp.max_connections, said.settings.http)
        breaker |= _breaking(said.settings.http.breaking, self.draft.compat.breaker == "half_open")
        if breaker:
            found["breaker"] = breaker
        if said.settings.http.per_connection:
            found["pool"] = {"requests": said.settings.http.per_connection}
        if hop.via is not None:
            found["via"] = hop.via
        if hop.mesh and self.draft.said.spec.flags.active_health_checks:
            found["health"] = {}
        if papers is not None:
            found["tls"] = self._tls(theirs, hop, papers, path)
        if name in self._by_grpc:
            # Their sidecar chooses nothing by ALPN, and looks how a connection begins.
            found["http"] = {"version": "h2" if papers is None else "prior"}
        if self.draft.compat.balance == "connection" and name in self._by_http:
            found["stay"] = True
        return found

    def _papers(self, theirs: str, hop: Hop) -> Papers | None:
        """What is shown to it: its own `SourceCert`, if it has one."""
        given = self.said[theirs].certificate
        if given is None:
            return hop.papers
        if theirs not in self._sources:
            at = (*self.path, theirs, "SourceCert")
            self._sources[theirs] = Papers.of_source(self.draft, given, self.own, at)
        return self._sources[theirs]

    def _tls(self, theirs: str, hop: Hop, papers: Papers, path: Path) -> Data:
        names = mesh_names(theirs, self.trust_domain) or egress_names(theirs) or (None if hop.mesh else [])
        if names is None and self.draft.compat.server_name == "verified":
            self.draft.note(
                "ignored", path, "the name of the cluster does not tell of which service it is, so that only the "
                "authority of its certificate is verified; names are told where FSM is not to shorten them"
            )
        return papers.client(names, verified=self.draft.compat.server_name == "verified")

    def _endpoints(self, said: Cluster, path: Path) -> list[Data | str]:
        weights: dict[str, float] = {}
        for address, each in said.endpoints:
            at = (*path, "Endpoints", address)
            if each.path or each.gateway:
                key = "Path" if each.path else "ViaGateway"
                self.draft.note("not-in-force", (*at, key), f"`{key}` is of a later version: the endpoint is left away")
            else:
                weights[address] = each.weight
                if each.key:
                    self.draft.note("ignored", (*at, "Key"), "`Key` names another cluster, and nothing depends on it")
        if not any(weights.values()):
            return [*weights]
        equal = len(set(weights.values()) - {0}) == 1
        return [
            {"address": address, "priority": 1} if not weight
            else address if equal else {"address": address, "weight": weight}
            for address, weight in scaled(weights).items()
        ]


def _without_names(said: Data) -> Data:
    """All that several clusters should agree on."""
    tls = {key: what for key, what in said.get("tls", {}).items() if key != "names"}
    return {key: tls if key == "tls" else what for key, what in said.items() if key != "endpoints"}


def _finely(weights: Mapping[str, float]) -> dict[str, float]:
    """So that none of them is lost when they become whole numbers."""
    most = max(weights.values(), default=1)
    return {name: weight * HEAVIEST / most for name, weight in weights.items()}


def _limits(max_connections: int, said: HttpSettings) -> Data:
    """Of Go a zero is nothing said, and all that is more than we can count is no limit."""
    limits = {
        "max_connections": max_connections,
        "max_requests": said.max_requests,
        "max_pending": said.max_pending,
        "max_retries": said.max_retries,
    }
    return {key: min(limit, MOST) for key, limit in limits.items() if limit}


def _breaking(said: CircuitBreaking, half_open: bool) -> Data:
    opens: Data = {
        "error_amount": said.error_amount,
        "error_ratio": said.error_ratio,
        "slow_amount": said.slow_amount,
        "slow_ratio": said.slow_ratio,
    }
    opens = {key: threshold for key, threshold in opens.items() if threshold}
    if not opens:
        return {}
    found = {
        "window": show_duration(said.window or 30.0),
        "min_requests": said.min_requests or 100,
        "open": show_duration(said.open or 30.0),
        **opens,
        "reply": {
            "status": said.status or 409,
            "body": "Coming soon ..." if said.content is None else said.content,
        },
    }
    if "slow_amount" in opens or "slow_ratio" in opens:
        found["slow"] = show_duration(said.slow or 5.0)
    return found if half_open else {**found, "probes": 0}
