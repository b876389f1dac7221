"""A configuration as `config.json` of osm-edge 1.3, which FSM reads as well: what one sidecar has to know.

    document = write(config, said)[0]   # {"Spec": ..., "Inbound": ..., "Outbound": ...}
    said.lost, said.left()              # what was lost: with a reason, and for want of words

It has two listeners, whose addresses are those of `sidecar.inbound` and `sidecar.outbound`: others are lost.
"""

from __future__ import annotations

from typing import Any

from meshproxy.dialects.writing.fsm.clusters import Clusters
from meshproxy.dialects.writing.fsm.observability import observability
from meshproxy.dialects.writing.fsm.papers import Papers
from meshproxy.dialects.writing.fsm.sides import Inbound, Outbound
from meshproxy.dialects.writing.fsm.units import seconds
from meshproxy.dialects.writing.said import Said
from meshproxy.model import Config, version

Data = dict[str, Any]


def write(config: Config, said: Said) -> list[Data]:
    papers = Papers.own(config, said)
    clusters = Clusters(config, said["clusters"], papers)
    inbound, outbound = Inbound(config, said, clusters, papers), Outbound(config, said, clusters, papers)
    timeout = _timeout(inbound.listener, outbound.listener)
    clusters.wait = timeout
    matches = inbound.matches(), outbound.matches()
    said["node"].take()
    sides = {side.listener["name"].value: side.name for side in (inbound, outbound) if side.listener}
    told = observability(config, said, sides)
    for section in set(said.value) - {"node", "listeners", "routes", "clusters", "sidecar"}:
        if said[section].is_taken:
            continue
        said[section].lose("it is no policy: keep it in a document of ours beside the resources")
    for side in ("inbound", "outbound"):
        said["sidecar"][side].take()
    spec: Data = {"SidecarLogLevel": "error", "Traffic": {"EnableEgress": outbound.egress}}
    if told:
        spec["Observability"] = told
    document: Data = {
        "Version": str(int(version(config), 16) % 2**64),
        "Spec": spec if timeout is None else {**spec, "SidecarTimeout": timeout},
        "Certificate": None if papers is None else papers.certificate(config.node),
        "Inbound": {"TrafficMatches": matches[0], "ClustersConfigs": clusters.local()} if matches[0] else None,
        "Outbound": {"TrafficMatches": matches[1], "ClustersConfigs": clusters.remote()},
        "AllowedEndpoints": dict.fromkeys(inbound.allowed, ""),
    }
    return [document]


def _timeout(*listeners: Said) -> float | None:
    """How long connections may be silent, if both listeners say the same."""
    said = [listener["timeouts"]["idle"] for listener in listeners if listener]
    if not said or any(not each or each.value != said[0].value for each in said):
        return None
    for each in said:
        each.take()
    return seconds(said[0].value)
