"""Policies with a part cut out, doubled, exchanged or made another kind of value: put in our words, or refused.

`python -m tests.dialects.smi.test_smi_mutations 10000` tries more of them.
"""

from __future__ import annotations

import copy
import json
import random
import sys
from typing import Any

from meshproxy.dialects import read, translated, yaml12
from meshproxy.dialects.translation import Setting
from meshproxy.errors import Invalid
from meshproxy.model import combine
from tests.dialects.smi.policies import PAPERS, native
from tests.dialects.smi.test_smi_golden import GOLDEN, POLICIES

ODD: list[Any] = [
    None, True, 0, -1, 80, 65536, 1.5, "", "*", "books", "shop", "(a+)+", "10.1.0.7", "::", "a" * 300, [], {}, [{}],
    {"a": {"b": []}}, "v1alpha1", "ServiceAccount", "IdentityBinding", "HTTPRouteGroup", "List", "None", "http",
]  # fmt: skip


def corpus() -> list[tuple[str, list[Any]]]:
    """The golden policies, each with whose proxy it is for."""
    found = []
    for path in POLICIES:
        text = path.read_text()
        beside, _, who = text.splitlines()[1].removeprefix("# ").partition(" as ")
        several = (*yaml12.parse_all((GOLDEN / f"{beside}.yaml").read_text(), "f"), *yaml12.parse_all(text, "f"))
        found.append((who, [value for value in several if value is not None]))
    return found


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each container with each of its keys."""
    found = []
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found.append((value, key))
        found += places(value[key])
    return found


def mutated(chance: random.Random, policy: list[Any]) -> list[Any]:
    policy = copy.deepcopy(policy)
    for _ in range(chance.randint(1, 2)):
        container, key = chance.choice(places(policy))
        match chance.randrange(4):
            case 0:
                del container[key]
            case 1:
                container[key] = chance.choice(ODD)
            case 2:
                other, there = chance.choice(places(policy))
                container[key] = copy.deepcopy(other[there])
            case _ if isinstance(container, list):
                container.append(copy.deepcopy(container[key]))
            case _:
                container[f"{key}s"] = container.pop(key)
    return policy


def taken(policy: list[Any], who: str) -> bool:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": policy})
    documents = [native(who, PAPERS, ""), read(text.encode(), "policy")]
    try:
        config = combine(translated(documents, Setting.of(documents)).documents)
    except Invalid:
        return False
    # Whatever a policy says: nobody gets in unasked, and no chain takes what is meant for others.
    for listener in config.listeners:
        for chain in listener.chains:
            if listener.name == "outbound":
                assert chain.match.destinations
            elif chain.protocol == "tcp":
                assert chain.authorize is not None
    for table in config.routes:
        assert table.name.startswith("outbound") or all(rule.authorize is not None for rule in table.rules)
    return True


def tried(times: int, seed: int) -> int:
    """How many of so many were taken."""
    chance, policies = random.Random(seed), corpus()
    found = 0
    for _ in range(times):
        who, policy = chance.choice(policies)
        found += taken(mutated(chance, policy), who)
    return found


def test_mutations_are_taken_or_refused_and_never_anything_else() -> None:
    assert 30 < tried(300, seed=7) < 270


if __name__ == "__main__":
    print(tried(int(sys.argv[1]), seed=random.randrange(1 << 30)))
