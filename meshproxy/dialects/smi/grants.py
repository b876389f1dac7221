"""What the TrafficTargets of a workload admit, port by port; all that they do not admit is denied.

    grants = Grants(here, protocols, words)
    grants.at(8080)         # [Grant(("shop/bookbuyer",), match=HttpMatch("buy", "/buy", ("GET",))), ...]

Several TrafficTargets admit what any of them does. Within one, on a port of HTTP, its HTTPRouteGroups say which
requests and its TCPRoutes on which ports: both must hold. On another port there are no requests to look at: a TCPRoute
admits connections, and an HTTPRouteGroup nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from meshproxy.dialects.smi.place import Place
from meshproxy.dialects.smi.protocols import Protocol, Protocols
from meshproxy.dialects.smi.resources import HttpMatch, Party, TrafficTarget
from meshproxy.dialects.smi.workload import Workload
from meshproxy.dialects.translation import Words
from meshproxy.errors import Invalid
from meshproxy.model.authorize import MOST_ENTRIES


@dataclass(frozen=True, slots=True, eq=False)
class Grant:
    """Who is let in on a port: with requests that are like the match, or with anything."""

    place: Place
    sources: Place
    identities: tuple[str, ...]
    match: HttpMatch | None = None


class Grants:
    def __init__(self, here: Workload, protocols: Protocols, words: Words) -> None:
        self.here = here
        self.objects = here.mesh.objects
        self.protocols = protocols
        self.words = words
        self._at: dict[int, list[Grant]] = {number: [] for number in here.ports}
        self.targets = [
            target for _, target in sorted(self.objects.targets.items()) if here.is_party(target.destination)
        ]
        for target in self.targets:
            self._admit(target)

    def at(self, number: int) -> list[Grant]:
        return self._at[number]

    def protocol(self, number: int) -> Protocol:
        spoken = {self.protocols.of(each.service, each.port) for each in self.here.ports[number]}
        return "http" if "http" in spoken else "tcp"

    def _admit(self, target: TrafficTarget) -> None:
        identities = tuple(dict.fromkeys(name for party in target.sources for name in self._names(party)))
        if not identities:
            target.called.note(self.words, "ignored", f"{target} admits nobody: it has no source that is known")
            return
        admits = False
        for number in self._numbers(target):
            for grant in self._grants(target, self.protocol(number), identities):
                self._at[number].append(grant)
                admits = True
                if len(self._at[number]) > MOST_ENTRIES:
                    # Groups times targets times ports: there is no end to it, and no use in more.
                    message = f"more than {MOST_ENTRIES} matches and TCPRoutes admit clients on port {number}"
                    raise Invalid([target.called.problem(message)])
        if not admits:
            account = "/".join(self.here.account)
            message = f"{target} admits nothing to {account}: none of its rules is for a port of a service of that"
            target.called.note(self.words, "ignored", message)

    def _grants(self, target: TrafficTarget, protocol: Protocol, identities: tuple[str, ...]) -> Iterator[Grant]:
        sources = _sources(target)
        groups = [rule for rule in target.rules if rule.kind == "HTTPRouteGroup"]
        by_port = next((rule for rule in target.rules if rule.kind == "TCPRoute"), None)
        if protocol == "http" and groups:
            for rule in groups:
                for match in self.objects.groups[target.namespace, rule.name].matches:
                    if not rule.matches or match.name in rule.matches:
                        yield Grant(rule.place, sources, identities, match)
        elif by_port is not None:
            yield Grant(by_port.place, sources, identities)

    def _numbers(self, target: TrafficTarget) -> list[int]:
        """Where the workload listens, as far as the target is for it."""
        found = set(self.here.ports)
        routes = [rule for rule in target.rules if rule.kind == "TCPRoute"]
        if routes:
            meant = [
                (rule.place.below("name"), self.objects.tcp[target.namespace, rule.name].ports) for rule in routes
            ]
            found = {number for place, ports in meant for number in self._listening(place, ports)}
        if target.port is not None:
            found &= self._listening(target.destination.place.below("port"), (target.port,))
        return sorted(found)

    def _listening(self, place: Place, ports: Iterable[int]) -> set[int]:
        """By the numbers that the services have; a number that none has may be the one of the pod."""
        here = self.here.ports
        found: set[int] = set() if ports else set(here)
        for port in ports:
            served = {number for number, those in here.items() if any(port == each.port.number for each in those)}
            served = served or {port} & set(here)
            if not served:
                account = "/".join(self.here.account)
                place.note(self.words, "ignored", f"port {port} is none of a service of {account}")
            found |= served
        return found

    def _names(self, party: Party) -> Iterator[str]:
        """The identities of who asks, in our words."""
        if party.kind == "IdentityBinding":
            yield from self.objects.bindings[party.key].spiffe
        for namespace, account in sorted(self.here.mesh.accounts_of(party)):
            yield f"{namespace}/{account}"


def _sources(target: TrafficTarget) -> Place:
    return target.sources[0].place if target.sources else target.place
