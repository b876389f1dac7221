"""May A ask B, and why: over a whole folder of policy, by what it means for the proxies on both sides.

    said = may(documents, Asked(("shop", "bookbuyer"), ("shop", "books"), 80, Question("GET", "", "/buy")))
    said["allowed"]         # "yes", "no", or "partly": some of those who share the requests let it in

Who asks is taken to have a certificate of the mesh, and everybody else as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from meshproxy.cli.check import in_our_words
from meshproxy.cli.workload import standing, with_papers
from meshproxy.core.by_identity import ByIdentity
from meshproxy.dialects import behind, workloads
from meshproxy.dialects.translation import Translated
from meshproxy.dialects.writing.names import Service, service_of_cluster
from meshproxy.dialects.writing.places import Places
from meshproxy.model import Chain, Config, Document, Listener, combine
from meshproxy.model.tls import full_identity
from meshproxy.plan.explain import ADMITS, Explainer, Question, Unclear, chains_at
from meshproxy.schema.shapes import Path

YES, NO, PARTLY = "yes", "no", "partly"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    account: tuple[str, str]
    service: tuple[str, str]
    port: int | None
    request: Question
    """Its method, path and headers."""


class World(NamedTuple):
    """What the policy means for one workload."""

    config: Config
    places: Places

    @classmethod
    def of(cls, documents: Sequence[Document], namespace: str, account: str) -> World:
        here = with_papers(standing(documents, namespace, account))
        ours, _ = in_our_words(here)
        config = combine(ours)
        return cls(config, Places(config, ours))

    def listener(self, side: str) -> Listener | None:
        mine = set(getattr(self.config.sidecar, side))
        return next((each for each in self.config.listeners if mine & set(each.listen)), None)

    def said(self, *path: str | int) -> str:
        """By which resource, and where."""
        found = self.places.problem(path, "")
        place = f"{found.source}:{found.line}" if found.line else found.source
        origin = self.places.origin(path)
        if origin is not None and isinstance(origin[0], Translated):
            theirs = origin[0].origin(origin[1])
            if theirs is not None and (called := _called(theirs[0].value, theirs[1])):
                return f"{called}, {place}"
        return place


def _called(resource: Any, path: Path) -> str:
    """Kind and name of the resource of Kubernetes in which something stands."""
    found = ""
    for step in (*path, None):
        if not isinstance(resource, dict | list):
            break
        if isinstance(resource, dict) and isinstance(metadata := resource.get("metadata"), dict):
            found = f"{resource.get('kind')} {metadata.get('namespace', 'default')}/{metadata.get('name')}"
        if step is None or (step not in resource if isinstance(resource, dict) else step not in range(len(resource))):
            break
        resource = resource[step]
    return found


def may(documents: Sequence[Document], asked: Asked) -> Row:
    known = workloads(documents)
    if not known:
        raise Unclear("--to asks a policy of SMI, and there is none: of one proxy, ask with --host")
    if "/".join(asked.account) not in known:
        raise Unclear(f"--from-account: there is no {'/'.join(asked.account)}; there are: {', '.join(known)}")
    if not behind(documents, *asked.service):
        raise Unclear(f"--to: nobody is known to serve {'/'.join(asked.service)}")
    return _Answer(documents, asked).row()


class _Answer:
    def __init__(self, documents: Sequence[Document], asked: Asked) -> None:
        self.documents = documents
        self.asked = asked
        self.explain = Explainer()
        self.world = World.of(documents, *asked.account)
        self.service = Service(*asked.service)
        self.listener, self.port, self.chain = self._chain()

    def row(self) -> Row:
        rule, place, shares = self._shares()
        whole = sum(weight for _, weight in shares) or 1
        backends = [
            {"cluster": cluster, "share": round(weight / whole, 4), **row}
            for cluster, weight in shares
            if weight
            for row in self._asked_of(cluster)
        ]
        verdicts = {row["allowed"] for row in backends}
        return {
            "allowed": NO if not verdicts else verdicts.pop() if len(verdicts) == 1 else PARTLY,
            "from": "/".join(self.asked.account),
            "to": "/".join(self.asked.service),
            "port": self.port,
            "speaks": self.chain.protocol,
            "rule": rule,
            "said": place,
            "backends": backends,
        }

    # Who asks -------------------------------------------------------------------------------------

    def _chain(self) -> tuple[Listener, int, Chain]:
        """That of the port for the service: of connections, the one that leads to a cluster of it."""
        listener = self.world.listener("outbound")
        found: dict[int, Chain] = {}
        for chain in listener.chains if listener else ():
            if self._is_for_it(chain):
                found |= dict.fromkeys(chain.match.ports, chain)
        if self.asked.port is None and len(found) == 1:
            ((port, chain),) = found.items()
        elif self.asked.port in found:
            port = self.asked.port
            chain = found[port]
        else:
            ports = ", ".join(map(str, sorted(found))) or "none that is served"
            raise Unclear(f"--to: say the port of {'/'.join(self.service)}; there are: {ports}")
        assert listener is not None, "it has the chain"
        return listener, port, chain

    def _is_for_it(self, chain: Chain) -> bool:
        if chain.protocol != "http":
            return service_of_cluster(chain.cluster or "", self.service.namespace) == self.service
        rules = next(each.rules for each in self.world.config.routes if each.name == chain.routes)
        return any(self._host in rule.match.hosts for rule in rules)

    @property
    def _host(self) -> str:
        return f"{self.service.name}.{self.service.namespace}"

    def _shares(self) -> tuple[str | None, str, list[tuple[str, int]]]:
        """The rule that decides, where it was said, and who shares what it takes."""
        index = self.world.config.listeners.index(self.listener)
        at: Path = ("listeners", index, "chains", self.listener.chains.index(self.chain))
        if self.chain.protocol != "http":
            assert self.chain.cluster is not None, "it leads somewhere"
            return None, self.world.said(*at), [(self.chain.cluster, 1)]
        table = next(each for each in self.world.config.routes if each.name == self.chain.routes)
        found = self.explain(self.world.config, self._question(self._host, table.name, None))
        for place, (name, rule) in enumerate(table.named()):
            if name == found["rule"]:
                shares = [(share.cluster, share.weight_after(0)) for share in rule.shares]
                return name, self.world.said("routes", table.name, "rules", place), shares
        return None, str(found["answer"]), []

    def _question(self, host: str, table: str, identity: str | None) -> Question:
        return replace(self.asked.request, host=host, table=table, identity=identity)

    # Who is asked ---------------------------------------------------------------------------------

    def _asked_of(self, cluster: str) -> Iterator[Row]:
        """What each workload behind it says, on each port on which it is asked."""
        service = service_of_cluster(cluster, self.service.namespace) or self.service
        members = next(each.members for each in self.world.config.clusters if each.name == cluster)
        ports = sorted({endpoint.address.port for endpoint in members})
        for account in sorted(behind(self.documents, *service)):
            world = World.of(self.documents, *account)
            for port in ports:
                yield {"service": "/".join(service), "account": "/".join(account), **self._verdict(world, port)}
        if not ports:
            yield {"service": "/".join(service), "account": None, "allowed": NO, "why": "nobody serves it now"}

    def _verdict(self, world: World, port: int) -> Row:
        listener = world.listener("inbound")
        chain = next(chains_at(listener, port), None) if listener else None
        if listener is None or chain is None:
            return {"port": port, "allowed": NO, "why": "it serves nothing there"}
        who = "/".join(self.asked.account)
        if chain.protocol != "http":
            at: Path = ("listeners", world.config.listeners.index(listener), "chains", listener.chains.index(chain))
            admitted = ByIdentity(
                ((entry.identities, place) for place, entry in enumerate(chain.authorize or ())),
                world.config.node.trust_domain,
            )[full_identity(who, world.config.node.trust_domain)]
            return {"port": port, **_verdict(world, admitted, at, chain.authorize is None)}
        found: Row = self.explain(world.config, self._question(self._host, chain.routes or "", who))
        table = next(each for each in world.config.routes if each.name == chain.routes)
        index = next((place for place, (name, _) in enumerate(table.named()) if name == found["rule"]), None)
        if index is None:
            return {"port": port, "allowed": NO, "why": f"answered {found['answer']}"}
        entries = found["authorize"]
        admitted = tuple(
            place for place, entry in enumerate(entries or ()) if str(entry["verdict"]).startswith(ADMITS)
        )
        row = _verdict(world, admitted, ("routes", table.name, "rules", index), entries is None)
        if row["allowed"] == NO and entries:
            at = ("routes", table.name, "rules", index, "authorize")
            near = [{"said": world.said(*at, place), "lacks": each["verdict"]} for place, each in enumerate(entries)]
            row["others"] = sorted(near, key=lambda each: each["lacks"] == "identity")
        return {"port": port, **row}


def _verdict(world: World, admitted: Sequence[int], at: Path, everybody: bool) -> Row:
    if everybody:
        return {"allowed": YES, "why": "everybody may", "by": [world.said(*at)]}
    if not admitted:
        return {"allowed": NO, "why": "no TrafficTarget lets it in"}
    entry = (*at, "authorize", admitted[0])
    asked = (world.said(*entry, key) for key in ("paths", "methods", "headers"))
    return {"allowed": YES, "by": [*dict.fromkeys((world.said(*entry), *asked))]}
