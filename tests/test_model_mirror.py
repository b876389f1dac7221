"""What an operator can say about mirrors, and what fits nothing else that was said."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, Mirror, Rule, combine, decode, encode


def combined(rule: dict[str, Any], **clusters: Any) -> Config:
    said = {
        "listeners": [{"name": "in", "listen": "127.0.0.1:80", "protocol": "http", "routes": "web"}],
        "routes": {"web": [rule]},
        "clusters": {name: {"endpoints": [], **cluster} for name, cluster in {"a": {}, "b": {}, **clusters}.items()},
    }
    return combine([Document("t", decode(Config, said), frozenset(said), lambda _: None)])


def test_a_name_is_short_for_all_requests() -> None:
    rule = decode(Rule, {"cluster": "a", "mirror": "b"})
    assert rule.mirror == Mirror("b", 1.0)
    assert encode(rule) == {"cluster": "a", "mirror": "b"}
    said = {"cluster": "a", "mirror": {"cluster": "b", "share": 0.1}}
    assert encode(decode(Rule, said)) == said
    assert combined({"cluster": "a", "mirror": "b"}).routes[0].rules[0].mirror == Mirror("b")


@pytest.mark.parametrize(
    ("rule", "path", "message"),
    [
        ({"cluster": "a", "mirror": "c"}, "mirror.cluster", "no cluster `c`"),
        ({"cluster": "a", "mirror": "a"}, "mirror.cluster", "`cluster` a gets the requests themselves"),
        (
            {"split": [{"cluster": "a"}, {"cluster": "b", "weight": 0}], "mirror": {"cluster": "b", "share": 0.5}},
            "mirror.cluster",
            "`cluster` b gets the requests themselves",
        ),
        ({"reply": {}, "mirror": "b"}, "mirror", "`mirror` needs a `cluster` or a `split`"),
        ({"cluster": "a", "mirror": "header"}, "mirror.cluster", "sends a PROXY protocol header"),
        ({"cluster": "a", "mirror": {"cluster": "b", "share": 1.1}}, "mirror.share", "such as 0.5, not 1.1"),
        ({"cluster": "a", "mirror": {"cluster": "b", "share": -1}}, "mirror.share", "such as 0.5, not -1"),
        ({"cluster": "a", "mirror": {"cluster": "b", "share": True}}, "mirror.share", "such as 0.5, not true"),
        ({"cluster": "a", "mirror": {"cluster": "b", "timeout": 0}}, "mirror.timeout", "longer than 0"),
        ({"cluster": "a", "mirror": {"cluster": "b", "max_requests": 0}}, "mirror.max_requests", "from 1 to 65535"),
        ({"cluster": "a", "mirror": {"share": 0.5}}, "mirror", "cluster"),
    ],
)
def test_a_mirror_that_does_not_fit(rule: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        combined(rule, header={"proxy_protocol": "v1"})
    (problem,) = caught.value.problems
    assert problem.path.startswith(f"routes.web{'.rules' if '.rules' in problem.path else ''}[0].{path}")
    assert message in problem.message


def test_a_mirror_that_leads_back_to_its_listener_is_a_loop() -> None:
    with pytest.raises(Invalid, match="leads back to cluster `b`"):
        combined({"cluster": "a", "mirror": "b"}, b={"endpoints": ["127.0.0.1:80"]})
