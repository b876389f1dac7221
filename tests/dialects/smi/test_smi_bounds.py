"""A small policy of which much could come: it is refused before that is made, and nothing is looked at pair by pair."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from meshproxy.dialects.smi import outbound
from meshproxy.dialects.smi.selector import Selector
from tests.dialects.smi.policies import put, refused
from tests.dialects.smi.test_smi_corners import BOOKS, HTTP, group, pod, policy, service, target

BINDING = """
apiVersion: access.smi-spec.io/v1alpha4
kind: IdentityBinding
metadata: {{name: b{number}, namespace: shop}}
spec: {{schemes: {{podLabelSelector: {{matchLabels: {{version: v{number}}}}}}}}}
"""


def test_targets_times_matches_are_bounded() -> None:
    matches = group(f"[{', '.join(f'{{name: m{n}, pathRegex: /{n}}}' for n in range(1100))}]")
    targets = [target(HTTP).replace("name: target", f"name: target{n}", 1) for n in range(4)]
    assert refused("shop/books", policy(BOOKS, matches, *targets)) == [
        "1.yaml:44: metadata.name: more than 4096 matches and TCPRoutes admit clients on port 8080"
    ]


def test_services_times_pods_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "MOST_ENDPOINTS", 8)
    pods = [pod(f"v{n}", f"10.1.0.{n}") for n in range(1, 4)]
    services = [service(f"books{n}", f"10.96.0.{n}") for n in range(1, 4)]
    put("shop/books", policy(*pods, *services[:2]))
    (problem,) = refused("shop/books", policy(*pods, *services))
    assert "services have more than 8 endpoints" in problem


def test_bindings_are_not_looked_for_in_all_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[object] = []
    takes = Selector.takes

    def counted(selector: Selector, labels: Mapping[str, str]) -> bool:
        looks.append(labels)
        return takes(selector, labels)

    monkeypatch.setattr(Selector, "takes", counted)
    many = range(100)
    pods = [pod(f"v{n}", f"10.1.{n >> 8}.{n & 255}", f"a{n}") for n in many]
    bindings = [BINDING.format(number=n) for n in many]
    sources = ", ".join(f"{{kind: IdentityBinding, name: b{n}, namespace: shop}}" for n in many)
    before, _, _ = target(HTTP, version="v1alpha4", account="a0").partition("sources:")
    admission = f"{before}sources: [{sources}]\n"
    config, _ = put("shop/a0", policy(*pods, *bindings, service("books", "10.96.0.1"), group("[{name: m}]"), admission))
    admitted = next(table for table in config.routes if table.name == "inbound|8080").rules[0].authorize
    assert admitted is not None
    assert set(admitted[0].identities) == {f"shop/a{n}" for n in many}
    assert len(looks) == len(many)
