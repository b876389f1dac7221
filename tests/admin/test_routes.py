"""Tables of routes as rows."""

from __future__ import annotations

from meshproxy.admin.routes import route_rows
from meshproxy.model import Config, decode
from meshproxy.observe.metrics.answers import AnswerStats
from meshproxy.observe.metrics.listeners import ListenerStats


def test_each_rule_with_what_all_listeners_have_counted_of_it() -> None:
    config = decode(
        Config,
        {
            "listeners": [
                {"name": name, "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"} for name in ("in", "new")
            ]
            + [
                {"name": "other", "listen": "127.0.0.1:0", "protocol": "http", "routes": "api",
                 "chains": [{"match": {"ports": [81]}, "routes": "web"}, {"match": {"ports": [82]}, "routes": "web"}]},
            ],
            "routes": {
                "web": [{"cluster": "up"}, {"name": "old", "match": {"path": {"exact": "/old"}}, "redirect": "/"}],
                "api": {"order": "written", "rules": [{"cluster": "up"}, {"match": {"hosts": ["a"]}, "cluster": "up"}]},
                "spare": [{"cluster": "up"}],
            },
            "clusters": {"up": {"endpoints": []}},
        },
    )  # fmt: skip
    stats = {"in": ListenerStats(), "other": ListenerStats()}
    for listener, route, cluster in (("in", "web/0", "up"), ("in", "old", ""), ("other", "web/0", "up")):
        answers = stats[listener].answers.setdefault(route, {}).setdefault(cluster, AnswerStats())
        answers.count(200, "", 0.1)
        answers.count(503, "UF", 0.1)
    rows = route_rows(config, {name: held.snapshot() for name, held in stats.items()})
    told = {row["name"]: (row["order"], row["listeners"]) for row in rows}
    assert told == {
        "web": ("specific", ["in", "new", "other"]), "api": ("written", ["other"]), "spare": ("specific", []),
    }  # fmt: skip
    rules = {row["name"]: row["rules"] for row in rows}
    assert rules["web"] == [
        {"name": "old", "hosts": (), "path": "exact /old", "methods": (), "headers": (), "query": (), "identities": (),
         "to": "redirect 302 path /", "requests": 2},
        {"name": "web/0", "hosts": (), "path": None, "methods": (), "headers": (), "query": (), "identities": (),
         "to": "up", "requests": 4},
    ]  # fmt: skip
    assert isinstance(rules["api"], list)
    assert [rule["name"] for rule in rules["api"]] == ["api/0", "api/1"]
