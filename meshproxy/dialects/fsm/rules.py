"""Rules of hosts as rules of a table: what they match, who is let in, and where it goes.

    rules = Rules(draft, clusters, [{"claim": {"header": "serviceidentity"}}], [])
    said = rules.of(["books.shop"], service, "books.shop", path, PLAIN, {})
    put_table(draft, "inbound/80", [*said, refused(path)], path)

The first rule as written decides, and what none is for is answered 403.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

from meshproxy.dialects.fsm import limits, patterns
from meshproxy.dialects.fsm.clusters import Clusters, Hop, scaled
from meshproxy.dialects.fsm.draft import Data, Draft
from meshproxy.dialects.fsm.kinds import Weights
from meshproxy.dialects.fsm.retry import retry_of
from meshproxy.dialects.fsm.said import HttpService, Rule
from meshproxy.model.matching import MOST_OF_ANYTHING
from meshproxy.model.regex import LONGEST
from meshproxy.model.routes import MOST_RULES
from meshproxy.schema.kinds import shown
from meshproxy.schema.shapes import Path

IDENTITY = "serviceidentity"
ANYBODY = ANY_METHOD = "*"
SEVEN = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
MOST_OPTIONAL = 4
"""Headers of a rule that may be missing: each doubles the rules."""

NOT_FOUND: Data = {"reply": {"status": 404, "body": "Not found"}}
DENIED: Data = {"reply": {"status": 403, "body": "Access denied"}}

_service = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?").fullmatch

Placed = tuple[Data, Path]
"""A rule, and where it was said."""


@dataclass(slots=True)
class Rules:
    """Of one direction."""

    draft: Draft
    clusters: Clusters
    first: list[Data]
    """Filters before the limits of a rule."""
    last: list[Data]
    trust_domain: str | None = None
    """Of the clients; None: whoever they are, the rules are for them."""
    _retries: dict[str, Data | None] = field(default_factory=dict)

    def of(
        self,
        hosts: Sequence[str],
        service: HttpService,
        name: str,
        path: Path,
        hop: Hop,
        more: Data,
        *,
        again: bool = False,
    ) -> Iterator[Placed]:
        """The rules of some hosts; no hosts: of any. `more` stands in each. `again`: they are not the only ones."""
        if service.header_limits:
            self.draft.note(
                "not-in-force", (*path, "HeaderRateLimits"), "limits by header are of a later version: there are none"
            )
        several: list[Data] = [
            {"hosts": list(hosts[start : start + MOST_OF_ANYTHING])} for start in range(0, len(hosts), MOST_OF_ANYTHING)
        ] or [{}]
        of_all = [*self.first, *limits.of_requests(service.limits, name)]
        outcomes: dict[Weights, Data] = {}
        for place, rule in enumerate(service.rules):
            at = (*path, "RouteRules", place)
            if self.trust_domain is not None and rule.services is not None and not rule.services:
                continue
            basis, choices = self._basis(rule, at), self._choices(rule, at)
            if rule.targets not in outcomes:
                outcome = self._outcome(rule, at, hop)
                outcomes[rule.targets] = outcome if "reply" in outcome else {**outcome, **more}
            said = outcomes[rule.targets]
            copies = len(several) * prod(map(len, choices))
            filters = [*of_all, *limits.of_requests(rule.limits, f"{name}/{place}" if copies > 1 or again else None)]
            if "reply" not in said:
                filters += self.last
            if filters:
                said = {**said, "filters": filters}
            for part, together in product(several, product(*choices)):
                match = {**part, **basis}
                if together:
                    match["headers"] = {name: value for each in together for name, value in each.items()}
                yield ({"match": match, **said} if match else said), at

    def _basis(self, rule: Rule, path: Path) -> Data:
        """What must hold in any case."""
        compat = self.draft.compat
        match: Data = {}
        if (found := patterns.of_path(rule.path, rule.type, search=compat.regex == "search")) is not None:
            match["path"] = found
        if rule.methods and ANY_METHOD not in rule.methods:
            match["methods"] = list(rule.methods)
        elif compat.methods == "seven":
            match["methods"] = SEVEN
        if self._is_for_some(rule) and compat.identity == "certificate":
            match["identities"] = [f"{each}.{self.trust_domain}" for each in rule.services or ()]
        for index, each in enumerate(rule.services or ()):
            if each != ANYBODY and not _service(each):
                message = f"must be `<service account>.<namespace>`, not {shown(each)}"
                self.draft.problem((*path, "AllowedServices", index), message)
        return match

    def _is_for_some(self, rule: Rule) -> bool:
        """And not for anybody."""
        return self.trust_domain is not None and bool(rule.services) and ANYBODY not in (rule.services or ())

    def _choices(self, rule: Rule, path: Path) -> list[list[Data]]:
        """Conditions for headers, of each list one: a header that is missing is looked at as if it were empty."""
        found = []
        optional = 0
        for name, text in rule.headers:
            condition = patterns.condition(text, search=self.draft.compat.regex == "search")
            if condition is None:
                continue
            choice: list[Data] = [{name: condition}]
            if "regex" in condition and patterns.takes_nothing(condition["regex"]):
                optional += 1
                if optional <= MOST_OPTIONAL:
                    choice.append({name: {"present": False}})
            found.append(choice)
        if optional > MOST_OPTIONAL:
            self.draft.problem((*path, "Headers"), f"{optional} headers may be missing, more than {MOST_OPTIONAL}")
        if rule.services and self._is_for_some(rule) and self.draft.compat.identity == "header":
            if any(name.lower() == IDENTITY for name, _ in rule.headers):
                self.draft.problem((*path, "Headers"), f"`{IDENTITY}` is looked at for `AllowedServices` already")
            found.append([{IDENTITY: value} for value in _any_of(rule.services)])
        return found

    def _outcome(self, rule: Rule, path: Path, hop: Hop) -> Data:
        known = {theirs: weight for theirs, weight in rule.targets if theirs in self.clusters}
        if len(known) < len(rule.targets):
            lost = next(theirs for theirs, _ in rule.targets if theirs not in known)
            self.draft.note("ignored", (*path, "TargetClusters", lost), "no such cluster in `ClustersConfigs`")
        if not known:
            return NOT_FOUND
        if not any(known.values()):
            # As in FSM 1.7. Before, nobody was asked.
            known = dict.fromkeys(known, 1)
        names = {theirs: self.clusters.use(theirs, hop, http=True) for theirs in known}
        asked = {names[theirs]: weight for theirs, weight in scaled(known).items() if weight}
        said: Data = {"cluster": next(iter(asked))} if len(asked) == 1 else _split(asked)
        if "split" in said and self.draft.compat.balance == "connection":
            said["split_by"] = {"connection": True}
        spare = [theirs for theirs, weight in known.items() if not weight]
        if spare:
            said["fallback"] = {"cluster": names[spare[0]]}
        for other in spare[1:]:
            self.draft.note("ignored", (*path, "TargetClusters", other), "only the first cluster of weight 0 is asked")
        retry = self._retry([theirs for theirs, weight in known.items() if weight], path)
        if retry is not None:
            said["retry"] = retry
        return said

    def _retry(self, asked: Sequence[str], path: Path) -> Data | None:
        """A rule asks again in one way: that of its first cluster that has any."""
        found = []
        for theirs in asked:
            if theirs not in self._retries:
                at = (*self.clusters.path, theirs, "RetryPolicy")
                self._retries[theirs] = retry_of(self.draft, self.clusters.said[theirs].retry, at)
            found.append(self._retries[theirs])
        told = [each for each in found if each is not None]
        if any(each != told[0] for each in told[1:]):
            self.draft.note(
                "ignored", (*path, "TargetClusters"), "clusters that share requests differ in `RetryPolicy`: the first "
                "one counts"
            )
        return told[0] if told else None


def _split(asked: Mapping[str, int]) -> Data:
    return {"split": [{"cluster": name, "weight": weight} for name, weight in asked.items()]}


def _any_of(values: Sequence[str]) -> Iterator[Data]:
    """Conditions of which one holds if a header has any of these values; none of them longer than we take."""
    if len(values) == 1:
        yield {"exact": values[0]}
        return
    part: list[str] = []
    for value in map(re.escape, values):
        if part and sum(map(len, part)) + len(part) + len(value) > LONGEST // 2:
            yield {"regex": "|".join(part)}
            part = []
        part.append(value)
    yield {"regex": "|".join(part)}


def refused(path: Path, hosts: Sequence[str] = (), reply: Data = DENIED) -> Placed:
    """For what no rule before it is for; no hosts: of any."""
    return ({"match": {"hosts": [*hosts]}, **reply} if hosts else reply), path


def put_table(draft: Draft, name: str, rules: Iterable[Placed], path: Path) -> str:
    said: list[Data] = []
    for rule, at in rules:
        if len(said) == MOST_RULES:
            draft.problem(path, f"more than {MOST_RULES} rules come of it")
            break
        draft.make(1 + len(rule.get("match", {}).get("hosts", ())), path)
        draft.meant(("routes", name, "rules", len(said)), at)
        said.append(rule)
    table: Data = {"rules": said} if draft.compat.order == "specific" else {"order": "written", "rules": said}
    draft.put("routes", name, table, path)
    return name
