"""Several documents become one configuration, or every reason why they cannot.

A document says only a part: what it names must exist in the union, and what two of them say must agree. Each problem
is reported at its place in the document that it came from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from meshproxy.errors import Invalid, Problem
from meshproxy.model import naming
from meshproxy.model.access_log import access_log_problems
from meshproxy.model.config import PROCESS, Config
from meshproxy.model.document import Document
from meshproxy.model.fitting import Known, listener_problems
from meshproxy.model.fronts import front_problems
from meshproxy.model.item import Item
from meshproxy.model.places import clashes
from meshproxy.model.probes import probes_problems
from meshproxy.model.references import (
    balance_problems,
    bridge_references,
    cluster_problems,
    health_problems,
    limit_problems,
    loop_problems,
    policy_problems,
    priority_problems,
    route_problems,
    tunnel_problems,
)
from meshproxy.model.shared import gathered
from meshproxy.model.sidecar import sidecar_problems
from meshproxy.model.source import source_problems
from meshproxy.model.tracing import tracing_problems
from meshproxy.model.workloads import MOST_WORKLOADS, workload_problems
from meshproxy.schema.shapes import MOST_PROBLEMS, Names, Path

SECTIONS = (
    "node", *PROCESS, "probes", "drain", "overload", "dns", "metrics", "access_log", "tracing", "sidecar", "compat"
)


def combine(documents: Sequence[Document], running: Config | None = None) -> Config:
    """The union of the documents, or `Invalid`. What belongs to the process stays as it is in `running`, if given."""
    documents = gathered(documents)
    listeners = [
        Item(document, ("listeners", index), listener)
        for document in documents
        for index, listener in enumerate(document.config.listeners)
    ]
    clusters = [
        Item(document, ("clusters", cluster.name), cluster)
        for document in documents
        for cluster in document.config.clusters
    ]
    tables = [
        Item(document, ("routes", table.name), table) for document in documents for table in document.config.routes
    ]
    policies = [
        Item(document, ("mqtt", policy.name), policy) for document in documents for policy in document.config.mqtt
    ]
    bridges = [
        Item(document, ("bridges", index), bridge)
        for document in documents
        for index, bridge in enumerate(document.config.bridges)
    ]
    tunnels = [
        Item(document, ("tunnels", tunnel.name), tunnel) for document in documents for tunnel in document.config.tunnels
    ]
    workloads = [
        Item(document, ("workloads", index), workload)
        for document in documents
        for index, workload in enumerate(document.config.workloads)
    ]
    config = Config(
        workloads=_by_name(workloads),
        listeners=_by_name(listeners),
        routes=_by_name(tables),
        mqtt=_by_name(policies),
        bridges=_by_name(bridges),
        clusters=_by_name(clusters),
        tunnels=_by_name(tunnels),
    )
    if running:
        config = replace(config, **{name: getattr(running, name) for name in PROCESS})
    for document in documents:
        config = replace(config, **{name: getattr(document.config, name) for name in SECTIONS if name in document.said})
    known = Known(
        (item.value for item in clusters),
        [item.value for item in tables],
        {item.value.name: item.value for item in policies},
    )
    problems = [
        *_disagreements(documents),
        *(_restarts(documents, running) if running else ()),
        *_token(documents, config),
        *_section_problems(documents, [item.value.name for item in listeners]),
        *_duplicates("workload", workloads),
        *_workload_problems(workloads, documents),
        *_duplicates("listener", listeners),
        *_duplicates("cluster", clusters),
        *_duplicates("table of routes", tables),
        *_duplicates("MQTT policy", policies),
        *_duplicates("bridge", bridges),
        *_duplicates("tunnel", tunnels),
        *tunnel_problems(tunnels, listeners, clusters),
        *clashes(documents, config, listeners),
        *_dns_problems(documents, config, listeners),
        *listener_problems(listeners, known),
        *route_problems(tables, known),
        *priority_problems(tables, config),
        *policy_problems(policies, known),
        *cluster_problems(clusters),
        *bridge_references(bridges, known),
        *balance_problems(clusters),
        *health_problems(clusters),
        *limit_problems(tables),
        *loop_problems(listeners, tables, policies, clusters),
    ]
    if problems:
        raise Invalid(bounded(problems))
    return config


def _by_name(items: Iterable[Item]) -> tuple[Any, ...]:
    return tuple(sorted((item.value for item in items), key=lambda value: str(value.name)))


def bounded(problems: list[Problem]) -> Iterable[Problem]:
    more = len(problems) - MOST_PROBLEMS
    return problems if more <= 0 else [*problems[:MOST_PROBLEMS], Problem("", f"and {more} more problems")]


def _disagreements(documents: Sequence[Document]) -> Iterator[Problem]:
    for name in SECTIONS:
        saying = [document for document in documents if name in document.said]
        for document in saying[1:]:
            if getattr(document.config, name) != getattr(saying[0].config, name):
                yield document.problem((name,), f"`{name}` is said differently in {saying[0].source}")


def _restarts(documents: Sequence[Document], running: Config) -> Iterator[Problem]:
    for document in documents:
        for name in PROCESS:
            if name in document.said and getattr(document.config, name) != getattr(running, name):
                yield document.problem(
                    (name,), f"`{name}` belongs to the process and cannot change while it runs: restart meshproxy"
                )


def _token(documents: Sequence[Document], config: Config) -> Iterator[Problem]:
    if config.admin.token is None and not config.admin.listen.is_local:
        for document in documents:
            if "admin" in document.said:
                yield document.problem(
                    ("admin", "listen"), f"`listen` {config.admin.listen} is not on loopback: `admin.token` is required"
                )


def _section_problems(documents: Sequence[Document], listeners: Collection[str]) -> Iterator[Problem]:
    for document in documents:
        for path, message in sidecar_problems(document.config.sidecar):
            yield document.problem(("sidecar", *path), message)
        for path, message in front_problems(document.config.fronts):
            yield document.problem(("fronts", *path), message)
        for path, message in source_problems(document.config.sources):
            yield document.problem(("sources", *path), message)
        for path, message in access_log_problems(document.config.access_log, listeners):
            yield document.problem(("access_log", *path), message)
        if document.config.probes is not None:
            for path, message in probes_problems(document.config.probes):
                yield document.problem(("probes", *path), message)
        if document.config.tracing is not None:
            for path, message in tracing_problems(document.config.tracing):
                yield document.problem(("tracing", *path), message)


def _duplicates(what: str, items: Iterable[Item]) -> Iterator[Problem]:
    first: dict[str, Item] = {}
    for item in items:
        name = item.value.name
        before = first.setdefault(name, item)
        if before is not item:
            where = before.problem((), "")
            place = f"{where.source}:{where.line}" if where.line else where.source
            below: Path = ("name",) if what in ("listener", "bridge", "workload") else ()
            yield item.problem(below, f"{what} `{name}` is defined twice: first in {place}, {where.path}")


def _workload_problems(workloads: Sequence[Item], documents: Sequence[Document]) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    for item in workloads:
        for path, message in workload_problems(item.value):
            yield item.problem(path, message)
        for index, address in enumerate(item.value.addresses):
            if address in owners:
                message = f"{address} is an address of workload `{owners[address]}`: nobody could tell the two apart"
                yield item.problem(("addresses", index), message)
            owners.setdefault(address, item.value.name)
    if len(workloads) > MOST_WORKLOADS:
        yield workloads[MOST_WORKLOADS].problem((), f"more than {MOST_WORKLOADS} workloads behind one proxy")
    for document in documents if workloads else ():
        if document.config.sidecar.certificate is not None:
            message = "`certificate` is that of one workload, and there are `workloads`: say it there, of each"
            yield document.problem(("sidecar", "certificate"), message)


def _dns_problems(documents: Sequence[Document], config: Config, listeners: Sequence[Item]) -> Iterator[Problem]:
    everybody = [item.value for item in listeners]
    for document in documents:
        if "dns" in document.said:
            for path, message in naming.problems(document.config.dns, everybody):
                yield document.problem(("dns", *path), message)
    virtual = frozenset(config.dns.virtual_names)
    hints = Names(virtual)
    for item in listeners:
        for path, message in naming.listener_problems(item.value, virtual, hints):
            yield item.problem(path, message)
