"""A policy that is for one of several workloads behind a proxy: everything is called after it, and is for it alone.

    settings = Settings(documents)
    settings.of("default")          # for whom this layer is put in our words: the node, or workloads
    confined(words, workload, None) # "inbound/80" is "books/inbound/80"; its chains match what is made to 10.244.1.7

A listener is that of all workloads, so what it says is said by the chains of each. What is called 127.0.0.1 in a policy
is the workload, which is elsewhere for a proxy that is not in its pod; and so is every other address of the loopback,
where the proxy's own admin side may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from meshproxy.dialects.translation import Setting, Words
from meshproxy.model import Document, Workload
from meshproxy.schema.shapes import Path

Data = dict[str, Any]

OUTBOUND = "outbound"
NAMED = ("clusters", "routes", "tunnels")
ONCE = ("tracing", "access_log")
"""Sections that hold for the process, and in a policy are about one workload."""
FOLDED = ("tls", "permissive", "timeouts", "cluster", "routes")
"""Of a listener, in the chains where they do not say better."""


class Settings:
    """For whom a layer is put in our words: whose layer it is, or else all who have none of their own."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._node = Setting.of(documents)
        # Of two with one name, which are refused later on, the last.
        self._workloads = {each.name: each for document in documents for each in document.config.workloads}

    def of(self, layer: str) -> tuple[Setting, ...]:
        if not self._workloads:
            return (self._node,)
        own = [each for each in self._workloads.values() if each.layer == layer]
        return tuple(self._of(each) for each in own or self._workloads.values() if each.layer in (None, layer))

    def _of(self, workload: Workload) -> Setting:
        whose = {key: getattr(workload, key) for key in ("namespace", "service_account", "service", "labels")}
        papers = {key: getattr(workload, key) for key in ("certificate", "key", "ca")}
        sidecar = replace(self._node.sidecar, **papers)
        return replace(self._node, node=replace(self._node.node, **whose), sidecar=sidecar, workload=workload)


def confined(words: Words, workload: Workload, source: str | None) -> Words:
    """The same for this workload alone, which is asked from a local address of its own if there is one."""
    value: Data = {}
    for section, said in words.value.items():
        if section == "listeners":
            value[section] = [_listener(each, workload) for each in said]
        elif section == "routes":
            value[section] = {_called(name, workload): _table(table, workload) for name, table in said.items()}
        elif section == "clusters":
            for name, each in said.items():
                _refuse_sockets(words, section, name, each.get("endpoints", ()))
            value[section] = {_called(name, workload): _cluster(each, workload, source) for name, each in said.items()}
        elif section == "tunnels":
            for name, each in said.items():
                _refuse_sockets(words, section, name, [each["server"]] if "server" in each else ())
            value[section] = {_called(name, workload): _tunnel(each, workload) for name, each in said.items()}
        elif section in ONCE:
            words.note_of(section, "ignored", f"`{section}` holds for all workloads of the proxy: say it in our words")
        else:
            value[section] = said

    def moved(path: Path) -> Path:
        return (path[0], _called(str(path[1]), workload), *path[2:]) if len(path) > 1 and path[0] in NAMED else path

    return words.moved(value, moved)


def _refuse_sockets(words: Words, section: str, name: str, endpoints: Sequence[Data | str]) -> None:
    if any(_address(endpoint).startswith("unix:") for endpoint in endpoints):
        words.problem_of(section, name, "a unix socket is one of the node, and none of the workload")


def _called(name: str, workload: Workload) -> str:
    return f"{workload.name}/{name}"


# Listeners ----------------------------------------------------------------------------------------


def _listener(said: Data, workload: Workload) -> Data:
    """All of it in chains: they are the first to be asked, and its own target is for what none of them is for."""
    side = "sources" if said["name"] == OUTBOUND else "destinations"
    own = {side: [*workload.addresses]}
    folded = {key: said[key] for key in FOLDED if key in said}
    chains = [_chain(chain, own, folded, said["protocol"], workload) for chain in said.get("chains", ())]
    if "cluster" in said or "routes" in said:
        chains.append(_chain({}, own, folded, said["protocol"], workload))
    rest = {key: what for key, what in said.items() if key not in FOLDED}
    return {**rest, "transparent": True, "chains": chains}


def _chain(said: Data, own: Data, folded: Data, protocol: str, workload: Workload) -> Data:
    target = "routes" if said.get("protocol", protocol) == "http" else "cluster"
    chain: Data = {"match": {**said.get("match", {}), **own}}
    for key, what in (*folded.items(), *said.items()):
        if key == "match" or (key in ("cluster", "routes") and key != target):
            continue
        chain[key] = {**chain.get(key, {}), **what} if key == "timeouts" else what
    if not (chain.get("tls") and chain.get("permissive")):
        chain.pop("permissive", None)
    chain[target] = _called(chain[target], workload)
    return chain


# Routes, clusters and tunnels --------------------------------------------------------------------


def _table(said: Data, workload: Workload) -> Data:
    return {**said, "rules": [_leading(rule, workload) for rule in said["rules"]]}


def _leading(said: Data, workload: Workload) -> Data:
    """A rule, or a part of one, with the clusters to which it leads."""
    found = dict(said)
    if "cluster" in said:
        found["cluster"] = _called(said["cluster"], workload)
    if "split" in said:
        found["split"] = [_leading(share, workload) for share in said["split"]]
    if "fallback" in said:
        found["fallback"] = _leading(said["fallback"], workload)
    return found


def _cluster(said: Data, workload: Workload, source: str | None) -> Data:
    """Loopback is that of the workload, and so is the address from which it is asked there.

    Nobody else is asked from that one: it says that who asks has been let in.
    """
    if "via" in said:
        said = {**said, "via": _called(said["via"], workload)}
    endpoints = said.get("endpoints", ())
    there = [_there(each, workload) for each in endpoints]
    if there == [*endpoints]:
        return said
    found = {key: what for key, what in said.items() if key != "source"}
    alone = source is not None and all(map(_is_loopback, endpoints))
    return {**found, "endpoints": there, **({"source": source} if alone else {})}


def _tunnel(said: Data, workload: Workload) -> Data:
    """Through a proxy, or through several tunnels of the same workload."""
    found = dict(said)
    if "server" in said:
        found["server"] = _there(said["server"], workload)
    if "among" in said:
        found["among"] = [
            _called(each, workload) if isinstance(each, str) else {**each, "tunnel": _called(each["tunnel"], workload)}
            for each in said["among"]
        ]
    return found


def _there(endpoint: Data | str, workload: Workload) -> Data | str:
    if not _is_loopback(endpoint):
        return endpoint
    if isinstance(endpoint, dict):
        return {**endpoint, "address": _there(endpoint["address"], workload)}
    first, port = workload.addresses[0], endpoint.rpartition(":")[2]
    return f"[{first}]:{port}" if ":" in first else f"{first}:{port}"


def _is_loopback(endpoint: Data | str) -> bool:
    host = _address(endpoint).rpartition(":")[0].removesuffix(".").lower()
    try:
        ip = ip_address(host.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return (ip if ip.version == 4 else ip.ipv4_mapped or ip).is_loopback


def _address(endpoint: Data | str) -> str:
    found: str = endpoint["address"] if isinstance(endpoint, dict) else endpoint
    return found
