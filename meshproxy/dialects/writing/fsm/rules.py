"""Tables of routes as lists of rules for hosts, of which the first that matches decides.

    rules = Rules(config, clusters, inbound=True)
    rules.services(table, said["routes"]["web"], mesh=True)     # {"books.shop": Service(hosts, rules, limit)}

A rule of which not all can be said is left out, which is told: a later one may then decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from meshproxy.core.route import considered
from meshproxy.dialects.writing import expressions
from meshproxy.dialects.writing.fsm.clusters import Clusters
from meshproxy.dialects.writing.fsm.units import seconds
from meshproxy.dialects.writing.names import accounts
from meshproxy.dialects.writing.overlap import wider
from meshproxy.dialects.writing.said import Said
from meshproxy.model import Config, RouteTable, Rule

Data = dict[str, Any]

ANY_HOST = "*"
MISSING = "^$"
IDENTITY = "serviceidentity"
DENIED, NOT_FOUND = "Access denied", "Not found"
PARTLY = "FSM cannot say all of what is asked of a request here, so that the rule is left out and a later one decides"
OF_MESH = "FSM lets in what is for a host that it knows, and nothing for any other"
OF_OTHERS = "FSM looks at no host of those who come from outside the mesh"
EVERYTHING = {"Path": ".*", "Headers": None, "Methods": None, "AllowedServices": None}
LIMIT = frozenset(("requests", "per", "burst", "status", "headers", "shared"))
FULL = 100


@dataclass(slots=True)
class Service:
    """Hosts that have the same rules."""

    hosts: tuple[str, ...]
    rules: list[Data] = field(default_factory=list)
    limit: Data | None = None
    """What all of its rules share."""
    identity: str | None = None
    """Who asks."""
    closed: bool = False
    """Whether no later rule is for any request that gets so far."""

    @property
    def name(self) -> str:
        """The longest host, if it may be one without a port."""
        return max(self.hosts, key=lambda host: (":" not in host, len(host)), default=ANY_HOST)

    @property
    def said(self) -> Data:
        found: Data = {"RouteRules": self.rules, "RateLimit": self.limit}
        return found if self.identity is None else {**found, "ServiceIdentity": self.identity}

    def add(self, rule: Data) -> bool:
        """But for one that says the same again: a header that is missing is as good as an empty one there."""
        new = not self.closed and not any(_covers(other, rule) for other in self.rules)
        if new:
            self.rules.append(rule)
            self.closed = all(rule[key] == nothing for key, nothing in EVERYTHING.items())
        return new


class Rules:
    def __init__(self, config: Config, clusters: Clusters, *, inbound: bool) -> None:
        self._config = config
        self._clusters = clusters
        self._inbound = inbound

    def services(self, table: RouteTable, said: Said, *, mesh: bool) -> list[Service]:
        there = said["rules"] if isinstance(said.value, dict) else said
        if isinstance(said.value, dict):
            said["order"].take()
        at = {id(rule): place for place, rule in enumerate(table.rules)}
        named = ((rule.match, rule) for rule in table.rules)
        order = [rule for _, rule in considered(named, written=table.order == "written")]
        found: dict[tuple[str, ...], Service] = {
            rule.match.hosts: Service(rule.match.hosts) for rule in order if rule.match.hosts
        }
        if not (self._inbound and mesh):
            found[()] = Service(())
        sharing: set[str] = set()
        for hosts, service in found.items():
            service.limit = self._shared([there[at[id(rule)]] for rule in order if rule.match.hosts == hosts])
        for rule in order:
            place = there[at[id(rule)]]
            place["name"].take()
            place["match"]["hosts"].take()
            written = self._rule(rule, place, mesh)
            # What is for any host comes after what is for one, and is for that as well.
            everyone = not (rule.match.hosts and (mesh or not self._inbound))
            meant = [service for hosts, service in found.items() if everyone or hosts == rule.match.hosts]
            if written is None:
                for service in meant if _is_denial(rule) else ():
                    service.closed = True
                continue
            if self._inbound and bool(rule.match.hosts) != mesh:
                place.tell(OF_MESH if mesh else OF_OTHERS)
            new = [service.add(written) for service in meant]
            for service in meant:
                service.identity = self._identity(place) or service.identity
            self._take_shared(place, sharing, new=any(new))
        if self._inbound:
            for here, other in wider(order, with_open=True):
                also = table.rules[at[id(other)]].name or f"{table.name}/{at[id(other)]}"
                there[at[id(here)]].tell(f"FSM goes on to a later rule: whom `{also}` lets in may ask this too")
        return [service for service in found.values() if service.rules]

    def _rule(self, rule: Rule, said: Said, mesh: bool) -> Data | None:
        if _is_denial(rule):
            said["reply"].take()
            self._claims(said)
            if not said["match"].value:
                said["match"].take()
            return None
        if any(host.startswith("*.") for host in rule.match.hosts):
            said.lose("FSM knows hosts by their whole name: the rule is left out")
            return None
        match = self._match(said["match"])
        targets = self._targets(rule, said)
        if match is None or targets is None:
            said.lose(PARTLY if match is None else "FSM has no words for what becomes of it: the rule is left out")
            return None
        for name in targets:
            self._clusters.use(name, inbound=self._inbound, mesh=mesh)
        named = {self._clusters.named(name, inbound=self._inbound): weight for name, weight in targets.items()}
        self._claims(said)
        if not self._inbound:
            self._clusters.retry([*targets], said["retry"])
        return {
            **match,
            "TargetClusters": named,
            "AllowedServices": self._allowed(rule, said) if self._inbound and mesh else None,
            "RateLimit": self._limit(said),
        }

    def _claims(self, said: Said) -> None:
        for each in said["filters"]:
            if each["claim"].value == {"header": IDENTITY}:
                each.take()

    # What it is for -------------------------------------------------------------------------------

    @staticmethod
    def _match(said: Said) -> Data | None:
        if said["query"] or said["grpc"]:
            return None
        headers = {}
        for name, value in said["headers"].items():
            expression = expressions.of_value(value.take())
            # To FSM a header that is missing is an empty one.
            headers[name.lower()] = {None: MISSING, expressions.ANYTHING: ".+"}.get(expression, expression)
        path = said["path"].take({"prefix": "/"})
        exact = path.get("exact")
        return {
            "Path": exact or expressions.of_path(path) or expressions.ANYTHING,
            "Type": "Exact" if exact else "Regex",
            "Headers": headers or None,
            "Methods": said["methods"].take([]) or None,
        }

    # What becomes of it ---------------------------------------------------------------------------

    @staticmethod
    def _targets(rule: Rule, said: Said) -> dict[str, int] | None:
        if rule.reply is not None and (rule.reply.status, rule.reply.body) == (404, NOT_FOUND):
            said["reply"].take()
            return {}
        if not rule.shares:
            return None
        found = {}
        if rule.cluster:
            found[said["cluster"].take()] = FULL
        for share in said["split"]:
            if share["headers"] or share["cookies"]:
                share.lose("FSM has no share that asks for headers or cookies")
            elif share["weight"].value == 0:
                # There, it would be asked when all others fail.
                share.take()
            else:
                found[share["cluster"].take()] = share["weight"].take(1)
        if said["fallback"]["cluster"]:
            found.setdefault(said["fallback"]["cluster"].take(), 0)
        return found

    def _allowed(self, rule: Rule, said: Said) -> list[str] | None:
        own = self._names(said["match"]["identities"]) if rule.match.identities else None
        if rule.authorize is None:
            return own
        said["authorize"].take()
        found: dict[str, None] = {}
        for entry in said["authorize"]:
            if set(entry.value) - {"identities"}:
                entry.lose("FSM admits by identity alone: it lets in nobody")
            else:
                found |= dict.fromkeys(self._names(entry["identities"]))
        return [name for name in found if own is None or name in own]

    def _names(self, identities: Said) -> list[str]:
        found = accounts(identities, self._config.node.trust_domain, "FSM")
        return [f"{account.name}.{account.namespace}" for account in found]

    def _identity(self, said: Said) -> str | None:
        """Who asks, as the rule says to whom it asks; FSM says it of a service."""
        if self._inbound:
            return None
        if said["request_headers"]["remove"].value == [IDENTITY]:
            said["request_headers"]["remove"].take()
        identity: str | None = said["request_headers"]["set"][IDENTITY].take()
        return identity

    def _shared(self, rules: list[Said]) -> Data | None:
        """The limit that all rules of a service have together."""
        several = [[limit for limit in _limits(rule) if limit["shared"]] for rule in rules if not rule["reply"]]
        names = [{limit["shared"].value for limit in limits} for limits in several]
        common = set.intersection(*names) if names else set()
        # Of a single rule, it may as well be its own.
        if not common or (len(several) < 2 and len(several[0]) < 2):
            return None
        name = sorted(common)[0]
        found = None
        for limit in (limit for limits in several for limit in limits if limit["shared"].value == name):
            limit["shared"].take()
            found = {"Local": _local(limit)}
        return found

    @staticmethod
    def _take_shared(rule: Said, sharing: set[str], *, new: bool) -> None:
        """Of one rule that we had to say in several, they share its limit; others cannot."""
        for limit in _limits(rule):
            name = limit["shared"]
            if limit["requests"].is_taken and name and not name.is_taken and not (new and name.value in sharing):
                sharing.add(name.take())

    @staticmethod
    def _limit(rule: Said) -> Data | None:
        """The first limit that can be said, and is not that of the service; of more, the others are left over."""
        return next(({"Local": _local(limit)} for limit in _limits(rule) if not limit.is_taken), None)


def _is_denial(rule: Rule) -> bool:
    """What becomes of a request that no rule of its host is for, anyhow."""
    match = rule.match
    asked = match.path or match.methods or match.headers or match.query or match.identities or match.grpc
    return rule.reply is not None and (rule.reply.status, rule.reply.body) == (403, DENIED) and not asked


def _limits(rule: Said) -> Iterator[Said]:
    """Those that can be said."""
    for each in rule["filters"]:
        if each["rate_limit"] and not set(each["rate_limit"].value) - LIMIT:
            yield each["rate_limit"]


def _covers(before: Data, rule: Data) -> bool:
    """Whether an earlier rule is for all that this one is for: a missing header is looked at as if it were empty."""
    if {**before, "Headers": None} != {**rule, "Headers": None}:
        return False
    mine, theirs = rule["Headers"] or {}, before["Headers"] or {}
    return mine.keys() == theirs.keys() and all(
        expression == theirs[name] or (expression == MISSING and re.search(theirs[name], "") is not None)
        for name, expression in mine.items()
    )


def _local(limit: Said) -> Data:
    found: Data = {"Requests": limit["requests"].take(), "StatTimeWindow": seconds(limit["per"].take("1s"))}
    for ours, theirs in (("burst", "Burst"), ("status", "ResponseStatusCode")):
        if limit[ours]:
            found[theirs] = limit[ours].take()
    if limit["headers"]:
        headers = limit["headers"].take()
        found["ResponseHeadersToAdd"] = [{"Name": name, "Value": value} for name, value in headers.items()]
    return found
