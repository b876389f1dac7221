"""What an operator can say about who is let in, and what fits nothing else that was said."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, combine, decode, encode
from meshproxy.model.authorize import MOST_ENTRIES
from meshproxy.model.whom import MOST_IDENTITIES
from meshproxy.schema import json_schema

SCHEMA = jsonschema.Draft202012Validator(json_schema(Config))
TLS = {"certificate": "a.pem", "key": "a.key", "client_ca": "ca.pem"}
WEB = [{"identities": ["shop/web"]}]


def said(rule: Any = None, **listener: Any) -> dict[str, Any]:
    """A rule of HTTP, and a listener of TCP."""
    return {
        "listeners": [
            {"name": "db", "listen": "127.0.0.1:5432", "protocol": "tcp", "cluster": "up", **listener},
            {"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"},
        ],
        "routes": {"web": [{"cluster": "up", **(rule or {})}]},
        "clusters": {"up": {"endpoints": ["127.0.0.1:1"]}},
    }


def problems(plain: Any) -> dict[str, str]:
    try:
        document = Document("a", decode(Config, plain), frozenset(plain), lambda _: None)
        combine([document])
    except Invalid as invalid:
        return {problem.path: problem.message for problem in invalid.problems}
    return {}


WHOM = [
    "*", "shop/web", "shop/*", "mesh.shop/web-1.x", "spiffe://cluster.local/ns/shop/sa/web", "spiffe://td",
    "spiffe://td/*", "spiffe://td/a/*", "web.shop", "Web", "*.shop", "spiffe://td/a.b/..c",
]  # fmt: skip
NOBODY = [
    "", "/web", "shop/", "shop/w*", "*/web", "*/*", "shop/web/x", "shop/web/*", "Shop/web", "shop/web\t", "http://a/b",
    "spiffe://TD/a", "SPIFFE://td/a", "spiffe://td/", "spiffe://td/a/", "spiffe://td//a", "spiffe://td/../a",
    "spiffe://td/./*", "spiffe://td/a*", "spiffe://*", "spiffe://td/*/a", "spiffe://td/a%2fb", "**", "*.", "*.*", "a.*",
    "a b", 1, None, ["a"],
]  # fmt: skip


@pytest.mark.parametrize("whom", WHOM)
def test_who_may_be_named(whom: str) -> None:
    plain = said({"authorize": [{"identities": [whom]}]}, tls=TLS, authorize=[{"identities": [whom]}])
    config = decode(Config, plain)
    assert config.routes[0].rules[0].authorize is not None
    assert config.routes[0].rules[0].authorize[0].identities == (whom,)
    assert problems(plain) == {}
    SCHEMA.validate(encode(config))
    assert decode(Config, encode(config)) == config


@pytest.mark.parametrize("whom", NOBODY)
def test_who_may_not(whom: Any) -> None:
    plain = said({"authorize": [{"identities": [whom]}]})
    assert list(problems(plain)) == ["routes.web.rules[0].authorize[0].identities[0]"]
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(plain)


def test_absent_is_everybody_and_an_empty_list_is_nobody() -> None:
    assert decode(Config, said()).routes[0].rules[0].authorize is None
    config = decode(Config, said({"authorize": []}, authorize=[]))
    assert (config.routes[0].rules[0].authorize, config.listeners[0].authorize) == ((), ())
    assert encode(config.routes[0].rules[0]) == {"cluster": "up", "authorize": []}
    assert problems(said({"authorize": []}, authorize=[])) == {}


def test_a_chain_has_its_own_or_that_of_its_listener() -> None:
    chains = [{}, {"authorize": []}, {"authorize": [{"identities": ["*"]}]}]
    config = decode(Config, said(tls=TLS, authorize=WEB, chains=chains))
    first, second, third, last = (chain.authorize for chain in config.listeners[0].outcomes)
    assert first == last == config.listeners[0].authorize
    assert second == ()
    assert third is not None
    assert third[0].identities == ("*",)


RULE, LISTENER = "routes.web.rules[0].authorize", "listeners[0].authorize"
IN_HTTP = {"protocol": "http", "cluster": None, "routes": "web"}


def rule(*entries: Any, **entry: Any) -> dict[str, Any]:
    return said({"authorize": [*entries, {**WEB[0], **entry}]})


def listener(**entry: Any) -> dict[str, Any]:
    return said(tls=TLS, authorize=[WEB[0] | entry])


@pytest.mark.parametrize(
    ("plain", "path", "words"),
    [
        (rule(identities=[]), f"{RULE}[0].identities", "not be an empty list"),
        (rule({}), f"{RULE}[0].identities", "is missing"),
        (rule("shop/web"), f"{RULE}[0]", "mapping"),
        (rule(*WEB * MOST_ENTRIES), RULE, f"more than {MOST_ENTRIES}"),
        (rule(identities=["a"] * (MOST_IDENTITIES + 1)), f"{RULE}[0].identities", f"more than {MOST_IDENTITIES}"),
        (rule(paths=[{"prefix": "/"}] * 65), f"{RULE}[0].paths", "more than 64"),
        (rule(headers={"a/b": {"present": True}}), f'{RULE}[0].headers["a/b"]', "not the name"),
        (rule(paths=[{"regex": "(a+)+"}]), f"{RULE}[0].paths[0].regex", "linear"),
        (listener(methods=["GET"]), f"{LISTENER}[0].methods", "unknown key `methods`"),
        (listener(paths=[]), f"{LISTENER}[0].paths", "unknown key `paths`"),
        (listener(headers={}), f"{LISTENER}[0].headers", "unknown key `headers`"),
        (said(tls=TLS, authorize=WEB * (MOST_ENTRIES + 1)), LISTENER, f"more than {MOST_ENTRIES}"),
        (said(authorize=WEB), LISTENER, "`authorize` needs `tls` with `client_ca`: nobody could prove who they are"),
        (said(tls={"certificate": "a", "key": "b"}, authorize=WEB), LISTENER, "needs `tls` with `client_ca`"),
        (said(tls=TLS, chains=[{"tls": [], "authorize": WEB}]), "listeners[0].chains[0].authorize", "needs `tls`"),
        (said(protocol="udp", authorize=[]), LISTENER, "tcp or tls, or http on rules, not udp"),
        (said(authorize=[], **IN_HTTP), LISTENER, "on rules of `routes`"),
        (said(chains=[{"authorize": []}], **IN_HTTP), "listeners[0].chains[0].authorize", "on rules of `routes`"),
        (
            said({"cluster": None, "split": [{"cluster": "up"}] * 2, "split_by": {"identity": False}}),
            "routes.web.rules[0].split_by.identity", "can only be true",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit(plain: Any, path: str, words: str) -> None:
    found = problems(plain)
    assert path in found, found
    assert words in found[path]


def test_a_chain_may_prove_what_its_listener_does_not() -> None:
    assert problems(said(authorize=WEB, chains=[{"tls": [TLS]}])) == {}
