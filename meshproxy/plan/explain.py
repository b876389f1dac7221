"""Why a request goes where it goes: which rule of a configuration decides about it, and why no other does.

    explain = Explainer()
    explain(config, Question("GET", "shop.local", "/v1/books"))     # a row, with a row for each rule in it
    explain(config, Question("GET", "shop.local", "/v1/books", identity="shop/web"))    # and whether that is let in

The answer is made of the configuration alone, so whoever has that can ask: the process, a supervisor that carries no
traffic, or the command line.  The request is written as a client would write it, and read as the listener would read
it.  That takes as long as a table is large: ask in a thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from threading import Lock
from typing import Literal, NamedTuple

from meshproxy.core.by_identity import ByIdentity
from meshproxy.core.clientele import Routers
from meshproxy.core.condition import conditions
from meshproxy.core.path import leads_to
from meshproxy.core.target import Irregular, normaliser
from meshproxy.filters.authorize import NOT_AUTHORIZED
from meshproxy.model import Chain, Config, Http, Listener, Match, RouteTable, Rule
from meshproxy.model.authorize import Admission
from meshproxy.model.http import PLAIN_HTTP
from meshproxy.model.matching import RouteMatch
from meshproxy.model.outline import destination, outline
from meshproxy.model.tls import full_identity
from meshproxy.plan.codec import request_codec
from meshproxy.relay.http.failures import NO_CONNECT, NO_ROUTE
from meshproxy.wire.h1 import Malformed, RequestHead

ADMITS = "admits"
MOST_NAMES = 20
"""That are told to someone who has to choose one."""

_line_end = re.compile("[\r\n]").search
_unprintable = re.compile(rb"[^ -~]").sub

Row = dict[str, object]
Named = tuple[str, Rule]


class Unclear(ValueError):
    """The question does not say enough, or names what is not there."""


@dataclass(frozen=True, slots=True)
class Question:
    method: str
    host: str
    path: str
    """With the query."""
    headers: tuple[str, ...] = ()
    """Each `name: value`."""
    listener: str | None = None
    table: str | None = None
    identity: str | None = None
    """Who the client has proved to be, in full or short; absent: nobody."""
    port: int | None = None
    """That was connected to, where chains ask for it."""


class Reading(NamedTuple):
    """How a listener reads requests."""

    http: Http = PLAIN_HTTP
    codec: Literal["own", "h11", "h2"] = "own"


class Place(NamedTuple):
    """A table, and how the listeners that use it read requests."""

    table: RouteTable
    reading: Reading


class Explainer:
    """Keeps the table that was asked about last as it was compiled, for as long as it is in the configuration."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._table: RouteTable | None = None
        self._domain = ""
        self._connects = False
        """Whether of its rules those for CONNECT were compiled, or all others."""
        self._routers: Routers[Named]

    def __call__(self, config: Config, question: Question) -> Row:
        data = _written(question)
        place, listeners = _place(config, question)
        domain = config.node.trust_domain
        identity = full_identity(question.identity or "", domain)
        found: Row = {
            "method": _shown(question.method),
            "host": _shown(question.host),
            "path": _shown(question.path),
            "listeners": listeners,
            "table": place.table.name,
            "identity": _shown(identity) or None,
            "rule": None,
            "authorize": None,
        }
        try:
            head = request_codec(*place.reading).reader().feed(data)
            assert head is not None, "it ends where a head ends"
            connects = head.method == b"CONNECT"
            path = b"/" if connects else normaliser(place.reading.http.path)(head.target.partition(b"?")[0])
        except Malformed as fault:
            return {**found, "answer": f"{fault.status} {fault.reason}", "rules": []}
        except Irregular as why:
            return {**found, "answer": f"400 {why.reason}", "rules": []}
        found["host"], found["path"] = _shown(head.authority.text), _shown(path)
        return {**found, **self._decision(place.table, path, head, identity, domain)}

    def _decision(self, table: RouteTable, path: bytes, head: RequestHead, identity: str, domain: str) -> Row:
        with self._turn:
            connects = head.method == b"CONNECT"
            if self._table is not table or (self._domain, self._connects) != (domain, connects):
                named = [(name, rule) for name, rule in table.named() if (rule.connect is not None) is connects]
                rules = ((rule.match, (name, rule)) for name, rule in named)
                self._routers = Routers(rules, domain, written=table.order == "written")
                self._table, self._domain, self._connects = table, domain, connects
            verdicts = self._routers[identity].explain(head.authority.text, path, head.method, head)
        nothing = NO_CONNECT if connects else NO_ROUTE
        winner, answer, entries = None, f"{nothing.status} {nothing.reason}", None
        rows = []
        for verdict in verdicts:
            name, rule = verdict.route.outcome
            rows.append({"name": name, "verdict": verdict.reason, **outline(rule)})
            if verdict.won:
                winner, answer = name, destination(rule)
                if rule.authorize is not None:
                    entries = [_entry(entry, path, head, identity, domain) for entry in rule.authorize]
                    if not any(str(row["verdict"]).startswith(ADMITS) for row in entries):
                        answer = f"{NOT_AUTHORIZED.status} {NOT_AUTHORIZED.reason}"
        return {"rule": winner, "answer": answer, "authorize": entries, "rules": rows}


def _entry(entry: Admission, path: bytes, head: RequestHead, identity: str, domain: str) -> Row:
    """Whether it admits the request, or the first thing that does not hold; if that is `identity`, others may ask."""
    verdict = ADMITS
    if entry.sources:
        verdict += f" from {', '.join(map(str, entry.sources))}"
    if not ByIdentity([(entry.identities, None)], domain)[identity]:
        verdict = "identity"
    asked = conditions(RouteMatch(methods=entry.methods, headers=entry.headers))
    failed = [each.name for each in asked if not each.holds(head.method, head)]
    if entry.paths and not any(leads_to(path, each) for each in entry.paths):
        failed.insert(0, "path")
    return {"identities": entry.identities, "verdict": failed[0] if failed else verdict}


def _written(question: Question) -> bytes:
    """The request as it would arrive."""
    lines = (
        f"{question.method} {question.path} HTTP/1.1",
        f"Host: {question.host}",
        *question.headers,
    )
    for line in lines:
        if _line_end(line):
            raise Unclear(f"{line!r} has a line end in it")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("utf-8", "surrogateescape")


def _place(config: Config, question: Question) -> tuple[Place, list[str]]:
    """Where it is decided, and the listeners that decide there: all of them in the same way."""
    tables = {table.name: table for table in config.routes}
    if question.table is not None and question.table not in tables:
        raise Unclear(f"table: there is no {question.table!r}; there are: {_names(tables)}")
    places: dict[tuple[str, Reading], list[str]] = {}
    speaking = [listener for listener in config.listeners if listener.speaks_http]
    for listener in speaking:
        reading = Reading(listener.http, listener.codec)
        if question.listener in (None, listener.name):
            # Of several chains, any may lead to the same table.
            for name in dict.fromkeys(chain.routes for chain in chains_at(listener, question.port)):
                if name is not None and question.table in (None, name):
                    places.setdefault((name, reading), []).append(listener.name)
    if len(places) == 1:
        ((name, reading), listeners), = places.items()
        return Place(tables[name], reading), listeners
    if places:
        choices = (f"{name} of {', '.join(listeners[:3])}" for (name, _), listeners in places.items())
        ports = "" if question.port is not None else ", port"
        raise Unclear(f"listener, table{ports}: say which of them; there are: {_names(choices)}")
    if question.listener is None and question.table is not None:
        # No listener uses it, yet.
        return Place(tables[question.table], Reading()), []
    if question.table is not None and question.listener in {listener.name for listener in speaking}:
        raise Unclear(f"table: listener {question.listener!r} does not use {question.table!r}")
    wrong = "no listener speaks http" if question.listener is None else f"no {question.listener!r} speaks http"
    wrong += f" on port {question.port}" if question.port is not None else ""
    raise Unclear(f"listener: {wrong}; these do: {_names(listener.name for listener in speaking)}")


def chains_at(listener: Listener, port: int | None) -> Iterator[Chain]:
    """Those that a connection to the port may meet, in full; without a port, to any."""
    if port is not None and not _may_hear_of(listener, port):
        return
    for chain in listener.outcomes:
        if port is None or not chain.match.ports or port in chain.match.ports:
            yield chain
            if replace(chain.match, ports=()) == Match() and (port is not None or not chain.match.ports):
                return


def _may_hear_of(listener: Listener, port: int) -> bool:
    """Who is told by others where connections were made to may hear of any port."""
    told = listener.transparent or listener.proxy_protocol is not None
    return told or any(address.port in (port, 0) for address in listener.listen if address.kind != "unix")


def _names(names: Iterable[str]) -> str:
    known = sorted(names)
    more = [f"and {len(known) - MOST_NAMES} more"] if len(known) > MOST_NAMES else []
    return "; ".join([*known[:MOST_NAMES], *more]) or "none"


def _shown(text: str | bytes) -> str:
    """So that it cannot do anything to a terminal."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return _unprintable(lambda byte: b"\\x%02x" % ord(byte[0]), data).decode("ascii")
