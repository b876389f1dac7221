"""Why a request goes where it goes: said of a configuration, and what the data path then does."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.core.clientele import Routers
from meshproxy.model import Config, decode
from meshproxy.plan import explain as module
from meshproxy.plan.explain import Explainer, Question, Unclear
from tests.relay.conversation import config as conversation_config

Run = Callable[[Coroutine[Any, Any, None]], None]

RULES: list[dict[str, Any]] = [
    {"name": "beta", "match": {"path": {"prefix": "/v1"}, "headers": {"x-beta": {"exact": "1"}}}, "cluster": "up"},
    {"name": "v1", "match": {"hosts": ["shop.local"], "path": {"prefix": "/v1"}, "methods": ["GET"]}, "redirect": "/"},
    {"match": {"path": {"regex": "/v[0-9]+"}, "query": {"page": {"present": True}}}, "reply": {"status": 410}},
    {"name": "rest", "match": {"hosts": ["*.local", "shop.local:81"]}, "split": [{"cluster": "up", "weight": 3}]},
]


def config(rules: Any = None, **listener: Any) -> Config:
    return decode(Config, conversation_config(rules=rules or RULES, listener=listener))


def ask(
    said: Config, path: str = "/", host: str = "shop.local", *headers: str, method: str = "GET", **where: Any
) -> dict[str, Any]:
    return Explainer()(said, Question(method, host, path, headers, **where))


def verdicts(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(row["name"], row["verdict"]) for row in answer["rules"]]


def test_which_rule_wins_and_why_each_other_one_lost() -> None:
    answer = ask(config(), "/v1/./%62ooks?a=b", "Shop.Local:81", "x-beta: 2")
    rules = answer.pop("rules")
    assert answer == {
        "method": "GET", "host": "shop.local:81", "path": "/v1/books", "listeners": ["in"], "table": "web",
        "identity": None, "rule": "rest", "answer": "up 3", "authorize": None,
    }  # fmt: skip
    assert verdicts({"rules": rules}) == [
        ("rest", "won"),
        ("v1", "less specific than the winner"),
        ("web/2", "path"),
        ("beta", "header x-beta"),
    ]
    assert rules[2] == {
        "name": "web/2", "verdict": "path", "hosts": (), "path": "regex /v[0-9]+", "methods": (), "headers": (),
        "query": ("page present",), "identities": (), "to": "reply 410",
    }  # fmt: skip


def test_in_the_order_as_written() -> None:
    answer = ask(config({"order": "written", "rules": RULES}), "/v1", "shop.local", "x-beta:1")
    assert verdicts(answer) == [
        ("beta", "won"),
        ("v1", "written after the winner"),
        ("web/2", "query page"),
        ("rest", "written after the winner"),
    ]


GUARDED: list[dict[str, Any]] = [
    {"name": "books", "match": {"path": {"prefix": "/v1"}}, "cluster": "up", "authorize": [
        {"identities": ["shop/web", "audit/*"], "methods": ["GET"]},
        {"identities": ["shop/*"], "methods": ["GET", "PUT"], "paths": [{"prefix": "/v1/own"}, {"exact": "/v1"}]},
        {"identities": ["*"], "headers": {"x-open": {"exact": "1"}}, "sources": ["10.0.0.0/8", "fd00::/8"]},
    ]},
    {"name": "shut", "match": {"path": {"prefix": "/shut"}}, "cluster": "up", "authorize": []},
    {"name": "open", "cluster": "up"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "method", "identity", "verdicts", "answer"),
    [
        ("/v1", "GET", "shop/web", ["admits", "admits", "header x-open"], "up"),
        ("/v1/x", "GET", "spiffe://cluster.local/ns/audit/sa/a", ["admits", "path", "header x-open"], "up"),
        ("/v1/x", "PUT", "shop/web", ["method", "path", "header x-open"], "403 not_authorized"),
        ("/v1/x", "POST", "shop/web", ["method", "path", "header x-open"], "403 not_authorized"),
        ("/v1/own", "PUT", "shop/any", ["method", "admits", "header x-open"], "up"),
        ("/v1/own", "GET", "web.shop", ["identity", "identity", "header x-open"], "403 not_authorized"),
        ("/v1/own", "GET", None, ["identity", "identity", "header x-open"], "403 not_authorized"),
        ("/shut", "GET", "shop/web", [], "403 not_authorized"),
        ("/", "GET", None, None, "up"),
    ],
)  # fmt: skip
def test_who_would_be_let_in_and_by_which_entry(
    path: str, method: str, identity: str | None, verdicts: list[str] | None, answer: str
) -> None:
    found = Explainer()(config(GUARDED), Question(method, "a", path, identity=identity))
    assert found["answer"] == answer
    entries: Any = found["authorize"]
    assert (None if entries is None else [entry["verdict"] for entry in entries]) == verdicts
    if verdicts:
        assert entries[0]["identities"] == ("shop/web", "audit/*")


def test_an_entry_that_asks_where_one_is_says_where() -> None:
    found = Explainer()(config(GUARDED), Question("PUT", "a", "/v1/x", ("x-open: 1",), identity="web.shop\x1b"))
    entries: Any = found["authorize"]
    assert entries[2]["verdict"] == "admits from 10.0.0.0/8, fd00::/8"
    assert (found["identity"], found["answer"]) == ("web.shop\\x1b", "up")


CALLS: list[Any] = [
    {"match": {"grpc": {"service": "a.B", "method": "C"}}, "reply": {"status": 501}},
    {"match": {"grpc": "a.B"}, "reply": {"status": 502}},
    {"reply": {"status": 503}},
]


@pytest.mark.parametrize(
    ("path", "kind", "found"),
    [
        ("/a.B/C", "application/grpc", ["won", "less specific than the winner", "less specific than the winner"]),
        ("/a.B/C", "application/grpc-web+proto", ["won"] + ["less specific than the winner"] * 2),
        ("/a.B/D", "application/grpc", ["path", "won", "less specific than the winner"]),
        ("/a.B/C", "text/plain", ["grpc", "grpc", "won"]),
        ("/a.BC/C", "application/grpc", ["path", "path", "won"]),
    ],
)
def test_rules_for_calls(path: str, kind: str, found: list[str]) -> None:
    answer = Explainer()(config(CALLS), Question("POST", "a", path, (f"content-type: {kind}",)))
    rows: Any = answer["rules"]
    assert [row["verdict"] for row in rows] == found
    assert [row["path"] for row in rows] == ["grpc a.B/C", "grpc a.B/*", None]


def test_no_rule_is_for_it() -> None:
    answer = ask(config(), "/", "example.org", method="PUT")
    assert (answer["rule"], answer["answer"]) == (None, "404 no_route")
    assert {verdict for _, verdict in verdicts(answer)} == {"host", "path"}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (Question("GET", "a", "/a%2fb"), "400 escaped_slash"),
        (Question("GET", "a", "/../a"), "400 dot_segment"),
        (Question("GET", "a", "/%c0%ae"), "400 overlong_utf8"),
        (Question("GET", "a", "/a b"), "400 bad_request_line"),
        (Question("GET", "a", "/\x1b[2J"), "400 control_byte"),
        (Question("GET", "a", "/\udcff"), "400 bad_target"),
        (Question("GET", "a", "/" + "a" * 9000), "414 line_too_long"),
        (Question("GET", "http://a", "/"), "400 bad_host"),
        (Question("GET", "a", "/", ("host: b",)), "400 repeated_host"),
        (Question("GET", "a", "/", ("x-beta",)), "400 no_colon"),
        (Question("GET", "a", "http://b/"), "400 host_mismatch"),
        (Question("CONNECT", "a:80", "a:80"), "405 connect_refused"),
    ],
)
def test_a_refused_request_says_so(question: Question, answer: str) -> None:
    found = Explainer()(config(), question)
    assert (found["rule"], found["answer"], found["rules"]) == (None, answer, [])
    assert str(found["path"]).isprintable()


def test_it_is_read_as_the_listener_reads() -> None:
    lenient = config(http={"admit": ["raw_target"], "path": {"escaped_slashes": "keep", "slashes": "keep"}})
    assert ask(lenient, "/a%2fb//é")["path"] == "/a%2Fb//\\xc3\\xa9"


def test_it_is_read_by_the_codec_of_the_listener() -> None:
    assert ask(config(), "/v1", "shop.local", "x : 1")["answer"] == "400 space_before_colon"
    assert ask(config(codec="h11"), "/v1", "shop.local", "x : 1")["answer"] == "400 refused_by_h11"


def test_listeners_that_decide_alike_are_one_place() -> None:
    said = conversation_config(rules=RULES)
    said["listeners"].append({"name": "other", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"})
    assert ask(decode(Config, said))["listeners"] == ["in", "other"]


def several() -> Config:
    said = conversation_config(rules=RULES)
    said["routes"] |= {"api": [{"cluster": "up"}], "spare": [{"cluster": "up"}]}
    said["listeners"] += [
        {"name": "lenient", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web",
         "http": {"path": {"slashes": "keep"}}},
        {"name": "both", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web",
         "chains": [{"match": {"ports": [81]}, "routes": "api"}]},
        {"name": "db", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up"},
    ]  # fmt: skip
    return decode(Config, said)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({}, "listener, table, port: say which of them; there are: api of both; web of in, both; web of lenient"),
        ({"listener": "both"}, "listener, table, port: say which of them; there are: api of both; web of both"),
        ({"table": "web"}, "listener, table, port: say which of them; there are: web of in, both; web of lenient"),
        ({"table": "wep"}, "table: there is no 'wep'; there are: api; spare; web"),
        ({"listener": "db"}, "listener: no 'db' speaks http; these do: both; in; lenient"),
        ({"listener": "in", "table": "api"}, "table: listener 'in' does not use 'api'"),
    ],
)
def test_where_it_is_decided_must_be_clear(where: dict[str, str], words: str) -> None:
    with pytest.raises(Unclear) as raised:
        ask(several(), **where)
    assert str(raised.value) == words


def test_a_listener_a_table_or_both_say_where() -> None:
    said = several()
    assert ask(said, "//a", listener="lenient")["path"] == "//a"
    assert ask(said, "//a", listener="in")["path"] == "/a"
    assert ask(said, table="api")["listeners"] == ["both"]
    assert ask(said, table="spare")["listeners"] == []
    assert ask(said, table="web", listener="both")["table"] == "web"
    with pytest.raises(Unclear, match="no listener speaks http"):
        ask(Config())


def test_a_port_says_which_chain() -> None:
    said = several()
    assert ask(said, listener="both", port=81)["table"] == "api"
    assert ask(said, listener="both", port=80)["table"] == "web"
    mixed = conversation_config(rules=RULES)
    mixed["routes"]["api"] = [{"cluster": "up"}]
    mixed["listeners"] = [
        {"name": "all", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up",
         "chains": [{"match": {"ports": [80]}, "protocol": "http", "routes": "web"},
                    {"match": {"ports": [81], "sources": ["10.0.0.0/8"]}, "protocol": "http", "routes": "web"},
                    {"match": {"ports": [81, 82]}, "protocol": "http", "routes": "api"}]},
    ]  # fmt: skip
    config = decode(Config, mixed)
    assert (ask(config, port=80)["table"], ask(config, port=82)["table"]) == ("web", "api")
    with pytest.raises(Unclear, match="listener, table: say which of them; there are: api of all; web of all"):
        ask(config, port=81)
    with pytest.raises(Unclear, match="listener: no listener speaks http on port 83"):
        ask(config, port=83)


def test_a_port_is_that_of_a_listener_unless_others_tell() -> None:
    said = conversation_config(rules=RULES)
    said["listeners"] = [
        {"name": "in", "listen": "127.0.0.1:15003", "protocol": "tcp", "cluster": "up", "transparent": True,
         "chains": [{"match": {"ports": [80]}, "protocol": "http", "routes": "web"}]},
        {"name": "probes", "listen": "127.0.0.1:15901", "protocol": "http", "routes": "probes"},
    ]  # fmt: skip
    said["routes"]["probes"] = [{"cluster": "up"}]
    config = decode(Config, said)
    assert (ask(config, port=80)["table"], ask(config, port=15901)["table"]) == ("web", "probes")


FOR_SOME: list[dict[str, Any]] = [
    {"name": "web", "match": {"path": {"prefix": "/v1"}, "identities": ["shop/web"]}, "reply": {"status": 201}},
    {"name": "put", "match": {"methods": ["PUT"], "identities": ["*"]}, "reply": {"status": 202}},
    {"name": "all", "match": {"path": {"prefix": "/v1"}}, "reply": {"status": 203}},
]


@pytest.mark.parametrize("order", ["specific", "written"])
@pytest.mark.parametrize(
    ("identity", "method", "rule", "others"),
    [
        ("shop/web", "GET", "web", {"put": "method"}),
        ("shop/buyer", "GET", "all", {"web": "identity", "put": "method"}),
        (None, "GET", "all", {"web": "identity", "put": "method"}),
        (None, "PUT", "all", {"web": "identity", "put": "identity"}),
    ],
)
def test_a_rule_for_others_is_lost_by_identity(
    order: str, identity: str | None, method: str, rule: str, others: dict[str, str]
) -> None:
    said = config({"order": order, "rules": FOR_SOME})
    answer: dict[str, Any] = Explainer()(said, Question(method, "a", "/v1/x", identity=identity))
    found = {row["name"]: row["verdict"] for row in answer["rules"]}
    assert answer["rule"] == rule
    assert {name: found[name] for name in others} == others
    assert next(row["identities"] for row in answer["rules"] if row["name"] == "web") == ("shop/web",)


@pytest.mark.parametrize("place", ["method", "host", "path", "headers"])
def test_a_question_is_one_request(place: str) -> None:
    parts: dict[str, Any] = {"method": "GET", "host": "a", "path": "/"}
    parts[place] = ("x: 1\r\ny: 2",) if place == "headers" else "a\r\n\r\n"
    with pytest.raises(Unclear, match="has a line end in it"):
        Explainer()(config(), Question(**parts))


def test_a_table_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def counted(rules: Any, domain: str, **how: Any) -> Any:
        compiled.append(rules)
        return Routers(rules, domain, **how)

    monkeypatch.setattr(module, "Routers", counted)
    said, explain = config(), Explainer()
    for _ in range(3):
        explain(said, Question("GET", "a", "/"))
    assert len(compiled) == 1
    explain(config(), Question("GET", "a", "/"))
    assert len(compiled) == 2, "another generation has other tables"


ASKED = [
    (method, host, path, field)
    for method in ("GET", "PUT")
    for host in ("shop.local", "x.local:80", "shop.local:81", "nowhere")
    for path in ("/v1", "/v1/../v1/a?page=1", "/v2?page", "//v1", "/a%2Fb", "/%zz", "*", "http://shop.local/v1")
    for field in ("x-beta: 1", "x-other: 1", "x_beta: 1")
]


@pytest.mark.parametrize("order", ["specific", "written"])
def test_the_data_path_does_what_is_said(run: Run, world: Callable[[], Any], order: str) -> None:
    """Every rule replies with its name, and what nobody is for with the reason."""
    rules = [
        {"name": rule.get("name", f"web/{place}"), "match": rule["match"],
         "reply": {"status": 200, "body": rule.get("name", f"web/{place}")}}
        for place, rule in enumerate(RULES)
    ]  # fmt: skip
    plain = conversation_config(rules={"order": order, "rules": rules})  # type: ignore[arg-type]
    said, explain = decode(Config, plain), Explainer()

    async def scenario() -> None:
        w = world()
        await w.apply(plain)
        for method, host, path, field in ASKED:
            answer = explain(said, Question(method, host, path, (field,)))
            client = await w.connect()
            await client.send(
                f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{field}\r\nConnection: close\r\n\r\n".encode()
            )
            head, _, body = (await client.recv_all()).partition(b"\r\n\r\n")
            status, reason = head.split()[1].decode(), body.decode().strip().replace(" ", "_")
            if answer["rule"] is None:
                assert f"{status} {reason}" == answer["answer"], (method, host, path, field)
            else:
                assert (status, body.decode()) == ("200", answer["rule"]), (method, host, path, field)

    run(scenario())


def test_a_chain_of_http_is_asked_where_its_listener_speaks_something_else() -> None:
    said = conversation_config(rules=RULES)
    chains = [{"protocol": "http", "routes": "web"}, {"protocol": "tls", "cluster": "up"}]
    listener = {"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up", "chains": chains}
    answer = ask(decode(Config, said | {"listeners": [listener]}), "/v1", "shop.local")
    assert (answer["listeners"], answer["table"], answer["rule"]) == (["in"], "web", "v1")
    plain = {**listener, "chains": chains[1:]}
    with pytest.raises(Unclear, match="no 'in' speaks http"):
        ask(decode(Config, said | {"listeners": [plain]}), listener="in")
