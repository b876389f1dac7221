"""Clusters: who answers, and how much is asked of them.

    clusters = Clusters(config, said["clusters"], papers)
    clusters.use("shop/books|80", inbound=False, mesh=True)
    clusters.remote()       # {"shop/books|80": {"Endpoints": {"10.1.0.7:80": {"Weight": 100}}}}
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from meshproxy.dialects.writing.fsm.papers import PATHS, Papers
from meshproxy.dialects.writing.fsm.units import seconds
from meshproxy.dialects.writing.names import service_of_cluster
from meshproxy.dialects.writing.said import Said
from meshproxy.model import Config

Data = dict[str, Any]

FULL = 100
"""The weight of who is like all others."""
CAUSES = {"5xx": "5xx", "gateway": "gateway-error", "connect": "connect-failure", "reset": "reset"}
LIMITS = {"max_requests": "MaxRequests", "max_pending": "MaxPendingRequests", "max_retries": "MaxRetries"}
TIMES = {"window": "StatTimeWindow", "open": "DegradedTimeWindow", "slow": "SlowTimeThreshold"}
THRESHOLDS = {
    "min_requests": "MinRequestAmount",
    "slow_amount": "SlowAmountThreshold",
    "slow_ratio": "SlowRatioThreshold",
    "error_amount": "ErrorAmountThreshold",
    "error_ratio": "ErrorRatioThreshold",
}
H2 = ("h2", "prior")
OPENS = ("slow_amount", "slow_ratio", "error_amount", "error_ratio")


class Clusters:
    def __init__(self, config: Config, said: Said, papers: Papers | None) -> None:
        self.wait: float | None = None
        """How long a connection is waited for, where a cluster does not say so."""
        self._domain = config.node.trust_domain
        self._namespace = config.node.namespace or "default"
        self._said = said
        self._papers = papers
        self._inbound: dict[str, None] = {}
        self._outbound: dict[str, bool] = {}
        """Whether each is a service of the mesh."""
        self._retries: dict[str, Any] = {}

    def is_original(self, name: str) -> bool:
        return bool(self._said[name]["original"].value)

    def is_nobody(self, name: str) -> bool:
        return not self._said[name]["endpoints"].value and not self.is_original(name)

    def use(self, name: str, *, inbound: bool, mesh: bool) -> None:
        if inbound:
            self._inbound[name] = None
        else:
            self._outbound[name] = self._outbound.get(name, False) or mesh

    def named(self, name: str, *, inbound: bool) -> str:
        """Both directions have names of their own; `@` is in none that is read as it stands."""
        return (name.removesuffix("@inbound") if inbound else name).replace("@", "_")

    def port(self, name: str) -> int | None:
        """That of its only endpoint."""
        found = [_address(each) for each in self._said[name]["endpoints"]]
        return int(found[0].rpartition(":")[2]) if len(found) == 1 and ":" in found[0] else None

    def speak_h2(self, names: Iterable[str]) -> bool:
        """Whether all of them are asked in HTTP/2, which FSM says of a port, as grpc."""
        versions = [self._said[name]["http"]["version"] for name in names]
        if not versions or any(version.value not in H2 for version in versions):
            return False
        for version in versions:
            version.take()
        return True

    def retry(self, names: list[str], said: Said) -> None:
        """FSM says of a cluster how it is asked again; we say it of rules."""
        if any(self._retries.setdefault(name, said.value) != said.value for name in names):
            said.tell("FSM says it of a cluster, and the first rule that leads there says it differently")
        if said:
            self._policy(said)

    # What they are --------------------------------------------------------------------------------

    def local(self) -> Data:
        return {self.named(name, inbound=True): self._local(self._said[name]) for name in self._inbound}

    def remote(self) -> Data:
        return {
            self.named(name, inbound=False): self._remote(self._said[name], mesh)
            for name, mesh in self._outbound.items()
            if not self.is_original(name)
        }

    def _local(self, said: Said) -> Data:
        if said["source"].value == "127.0.0.6":
            said["source"].take()
        elif said["endpoints"].value:
            said.tell("FSM connects to the application from 127.0.0.6")
        if self.wait is not None and said["connect_timeout"] and seconds(said["connect_timeout"].value) == self.wait:
            said["connect_timeout"].take()
        return dict(self._endpoints(said["endpoints"]))

    def _remote(self, said: Said, mesh: bool) -> Data:
        found: Data = {"Endpoints": {at: {"Weight": weight} for at, weight in self._endpoints(said["endpoints"])}}
        tcp: Data = {}
        timeout = seconds(said["connect_timeout"].take("1s"))
        if timeout != self.wait:
            tcp["ConnectTimeout"] = timeout
        breaker = said["breaker"]
        if breaker["max_connections"]:
            tcp["MaxConnections"] = breaker["max_connections"].take()
        http: Data = {theirs: breaker[ours].take() for ours, theirs in LIMITS.items() if breaker[ours]}
        if said["pool"]["requests"]:
            http["MaxRequestsPerConnection"] = said["pool"]["requests"].take()
        if any(breaker[key] for key in OPENS):
            http["CircuitBreaking"] = self._breaking(breaker)
        settings = {key: value for key, value in (("tcp", tcp), ("http", http)) if value}
        if settings:
            found["ConnectionSettings"] = settings
        if self._retries.get(said.key):
            found["RetryPolicy"] = self._policy(Said(self._retries[said.key]))
        given = self._source_cert(said, mesh)
        return {**found, "SourceCert": given} if given else found

    def _endpoints(self, said: Said) -> list[tuple[str, int]]:
        weights = {1 if isinstance(each.value, str) or not each["weight"] else each["weight"].value for each in said}
        equal = len(weights) < 2
        found = []
        for each in said:
            plain = isinstance(each.value, str)
            address = _address(each)
            if address.startswith("unix:"):
                each.lose("FSM has no unix sockets")
            elif not plain and each["weight"].value == 0:
                each.lose("FSM asks those of weight 0 when all others fail, so that it is left away")
            elif plain:
                each.take()
                found.append((address, FULL if equal else 1))
            else:
                each["address"].take()
                weight = each["weight"].take(1)
                if each["priority"].value == 1:
                    each["priority"].take()
                    weight = 0
                found.append((address, (FULL if equal else weight) if weight else 0))
        if not said.value:
            said.take()
        return found

    def _breaking(self, breaker: Said) -> Data:
        found: Data = {theirs: breaker[ours].take() for ours, theirs in THRESHOLDS.items() if breaker[ours]}
        found |= {theirs: seconds(breaker[ours].take()) for ours, theirs in TIMES.items() if breaker[ours]}
        found["DegradedStatusCode"] = breaker["reply"]["status"].take(200 if breaker["reply"] else 503)
        found["DegradedResponseContent"] = breaker["reply"]["body"].take("")
        return found

    def _policy(self, said: Said) -> Data:
        on = [*said["on"]] or [Said(cause) for cause in ("connect", "refused", "reset")]
        causes = []
        for each in on:
            word = str(each.value)
            if word == "refused" and any(other.value == "connect" for other in on):
                each.take()
            elif word in CAUSES or word.isdigit():
                each.take()
                causes.append(CAUSES.get(word, word))
        found: Data = {"RetryOn": ",".join(causes), "NumRetries": said["attempts"].take(2) - 1}
        found["PerTryTimeout"] = seconds(said["per_try_timeout"].take(0))
        pause = seconds(said["backoff"].take("25ms"))
        found["RetryBackoffBaseInterval"] = pause
        if seconds(said["max_backoff"].value or "250ms") == round(pause * 10, 6):
            said["max_backoff"].take()
        else:
            said["max_backoff"].tell("FSM waits ten times `backoff` at most")
        return found

    def _source_cert(self, said: Said, mesh: bool) -> Data | None:
        tls = said["tls"]
        if not tls:
            if mesh and self._papers is not None and not self.is_nobody(said.key):
                said.tell("FSM speaks TLS to services of the mesh")
            return None
        found = Papers.of(tls, "ca")
        if found is None:
            tls.lose(PATHS)
            return None
        for key in ("certificate", "key", "ca"):
            tls[key].take()
        name = self.named(said.key, inbound=False)
        names = self._names(name) if mesh else [name.rpartition(":")[0]]
        if tls["names"] and tls["names"].several() != names:
            tls["names"].tell(f"FSM verifies {' or '.join(names) if names else 'no name'}")
        if tls["verify"].value == "chain" and names is None:
            tls["verify"].take()
        if found == self._papers:
            return None if mesh else {"OsmIssued": True}
        return {"OsmIssued": False, **found.text}

    def _names(self, cluster: str) -> list[str] | None:
        """What a service of the mesh is verified to be, if its cluster tells which one it is."""
        told = re.fullmatch("[^/|]+/[^/|]+[|][0-9]+", cluster)
        service = service_of_cluster(cluster, self._namespace) if told else None
        if service is None:
            return None
        name = f"{service.name}.{service.namespace}"
        return [f"{name}.svc.{self._domain}", f"{name}.svc", name]


def _address(endpoint: Said) -> str:
    return str(endpoint.value if isinstance(endpoint.value, str) else endpoint["address"].value)
