"""What both directions have: hosts and their rules, connections without HTTP, and a listener of chains.

    offer = Offer.of(draft, [(match, path)])
    for virtual in offer.virtual_hosts(any_host=True):
        virtual.hosts, virtual.placed       # ("books.shop",), (service, its name, its path)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meshproxy.dialects.fsm.clusters import NOBODY, Clusters, Hop
from meshproxy.dialects.fsm.draft import Data, Draft
from meshproxy.dialects.fsm.rules import Placed
from meshproxy.dialects.fsm.said import HttpService, Match, TcpService
from meshproxy.model.address import Address
from meshproxy.schema.kinds import show_duration
from meshproxy.schema.shapes import Names, Path

ANY_HOST = "*"
UNTOUCHED: Data = {"forwarded": {"trusted": ["0.0.0.0/0", "::/0"], "headers": []}}
"""A sidecar adds nothing to what says who asked, and takes nothing away."""

Service = tuple[HttpService, str, Path]
"""With its name and its place."""


@dataclass(frozen=True, slots=True)
class Virtual:
    """Hosts that have the same rules."""

    hosts: tuple[str, ...]
    placed: Service
    alone: bool
    """Whether what none of its rules is for must not come to those of another one."""


@dataclass(slots=True)
class Offer:
    hosts: dict[str, str]
    services: dict[str, Service]
    known: dict[str, str]
    """Of each host, the name by which its service is sure to know itself."""

    @classmethod
    def of(cls, draft: Draft, matches: Sequence[tuple[Match, Path]]) -> Offer:
        """What several matches offer as one: of two that say the same host or rules, the last counts."""
        services = {
            name: (service, name, (*path, "HttpServiceRouteRules", name))
            for match, path in matches
            for name, service in match.services
        }
        hosts = {}
        known = {}
        names = Names(services)
        for match, path in matches:
            for host, said in match.hosts:
                if said.name in services:
                    hosts[host] = said.name
                    known[host] = said.service or said.name
                else:
                    hint = names.nearest(said.name)
                    draft.problem((*path, "HttpHostPort2Service", host), f"no rules `{said.name}`{hint}")
        return cls(hosts, services, known)

    @property
    def of_any(self) -> Service | None:
        """The rules of `*`."""
        return self.services[self.hosts[ANY_HOST]] if ANY_HOST in self.hosts else None

    @property
    def first(self) -> tuple[Service, str] | None:
        """The rules of the host that is written first, and its service's name."""
        return next(((self.services[name], self.known[host]) for host, name in self.hosts.items()), None)

    def virtual_hosts(self, *, any_host: bool) -> Iterator[Virtual]:
        """By the name of their rules, and the rules of `*`, if they are asked for, last.

        A host without a port is one with any port here: so one that has a port and the same rules says nothing, and
        one with other rules comes first.
        """
        found: dict[tuple[bool, str], list[str]] = {}
        for host, name in self.hosts.items():
            other = self.hosts.get(host.rpartition(":")[0])
            if other != name and host != ANY_HOST:
                found.setdefault((other is None, name), []).append(host)
        for (usual, name), hosts in sorted(found.items(), key=lambda each: each[0][0]):
            yield Virtual(tuple(hosts), self.services[name], not usual)
        if any_host and self.of_any is not None:
            yield Virtual((), self.of_any, alone=False)


def of_connections(clusters: Clusters, said: TcpService, name: str, hop: Hop, path: Path) -> str | None:
    """The cluster that gets them, if there is any: a connection goes to one, so that several become one by `name`."""
    known = {theirs: weight for theirs, weight in said.targets if theirs in clusters}
    if len(known) < len(said.targets):
        lost = next(theirs for theirs, _ in said.targets if theirs not in known)
        clusters.draft.note("ignored", (*path, "TargetClusters", lost), "no such cluster in `ClustersConfigs`")
    if not any(known.values()):
        known = dict.fromkeys(known, 1)
    if len(known) > 1:
        return clusters.put_joined(name, known, hop, path)
    return next((clusters.use(theirs, hop, http=False) for theirs in known), None)


def put_nobody(draft: Draft, path: Path) -> str:
    """A cluster for what is refused."""
    draft.put("clusters", NOBODY, {"endpoints": []}, path)
    return NOBODY


def put_listener(
    draft: Draft, name: str, listen: Sequence[Address], chains: Sequence[Placed], more: Data, path: Path
) -> None:
    """Of connections that are redirected to it; none, if nobody may connect."""
    if not chains and "cluster" not in more:
        return
    said: Data = {"listen": [str(address) for address in listen], "protocol": "tcp", "transparent": True}
    idle = draft.said.spec.sidecar_timeout
    if idle is not None:
        said["timeouts"] = {"idle": show_duration(idle)}
    if any(chain.get("protocol") == "http" for chain, _ in chains):
        said["http"] = UNTOUCHED
    if chains:
        said["chains"] = [chain for chain, _ in chains]
    place = len(draft.words.value.get("listeners", ()))
    draft.put("listeners", name, {**said, **more}, path)
    for index, (_, at) in enumerate(chains):
        draft.meant(("listeners", place, "chains", index), at)
