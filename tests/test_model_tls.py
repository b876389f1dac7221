"""What can be said about TLS, and what does not fit together."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, Secret, combine, decode, encode, restore
from meshproxy.model.relaxed import relaxed
from meshproxy.model.tls import ClientTls, ServerTls, full_identity

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n"
PAIR = {"certificate": "web.pem", "key": "web.key"}


def config(tls: Any = None, *, protocol: str = "http", listener: Any = None, **cluster: Any) -> dict[str, Any]:
    target = {"routes": "web"} if protocol == "http" else {"cluster": "up"}
    said = {"name": "in", "listen": "127.0.0.1:1", "protocol": protocol, **target, **(listener or {})}
    if tls is not None:
        said["tls"] = tls
    routes = {"routes": {"web": [{"cluster": "up"}]}} if protocol == "http" else {}
    return {"listeners": [said], **routes, "clusters": {"up": {"endpoints": ["127.0.0.1:2"], **cluster}}}


def taken(said: dict[str, Any]) -> Config:
    return combine([Document("test", decode(Config, said), frozenset(said), lambda _: None)])


def refusals(said: dict[str, Any]) -> list[str]:
    with pytest.raises(Invalid) as caught:
        taken(said)
    return [str(problem).removeprefix("test: ") for problem in caught.value.problems]


def test_what_is_not_said() -> None:
    (listener,), (cluster,) = taken(config(PAIR)).listeners, taken(config()).clusters
    assert listener.tls == (ServerTls("web.pem", "web.key"),)
    assert (listener.permissive, listener.max_handshakes) == (False, 256)
    assert cluster.tls is None
    assert taken(config(tls=None) | {"clusters": {"up": {"endpoints": [], "tls": {}}}}).clusters[0].tls == ClientTls()


def test_a_chain_has_the_tls_of_its_listener_or_its_own_or_none() -> None:
    own = {**PAIR, "client_ca": "ca.pem"}
    chains = [{}, {"tls": own}, {"tls": []}, {"permissive": True}]
    (listener,) = taken(config(PAIR, listener={"chains": chains})).listeners
    found = [(outcome.tls, outcome.permissive) for outcome in listener.outcomes]
    plain, strict = (ServerTls("web.pem", "web.key"),), (ServerTls("web.pem", "web.key", client_ca="ca.pem"),)
    assert found == [(plain, False), (strict, False), ((), False), (plain, True), (plain, False)]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"certificate": "a"}, "`key` is missing"),
        ({**PAIR, "certificate": "a\nb"}, "`certificate` must be the path of a file, or PEM text"),
        ({**PAIR, "certificate": PEM + "A" * (1 << 18)}, "`certificate` must be the path of a file, or PEM text"),
        ({**PAIR, "sni": ["a b"]}, "must be a host name such as shop.local or *.shop.local"),
        ({**PAIR, "sni": ["*"]}, "must be a host name such as shop.local or *.shop.local"),
        ({**PAIR, "min_version": "1.1"}, "`min_version` must be 1.2 or 1.3"),
        ({**PAIR, "ciphers": "a b"}, "`ciphers` must be a cipher list of OpenSSL"),
        ({**PAIR, "alpn": ["h2", "h2"]}, "`alpn` names a protocol twice"),
        ({**PAIR, "alpn": [f"p{n}" for n in range(65)]}, "`alpn` has 65 entries, more than 64"),
        ({**PAIR, "client": "optional"}, "`client` needs `client_ca`"),
        ({**PAIR, "crl": "a"}, "`crl` needs `client_ca`"),
        ({**PAIR, "identity": "cn"}, "`identity` needs `client_ca`"),
        ({**PAIR, "client_ca": "ca", "identity": "uri"}, "`identity` must be san or cn"),
        ([{**PAIR, "client_ca": "ca"}, {**PAIR, "client_ca": "ca", "identity": "cn"}], "`identity` must be as in"),
        ({**PAIR, "without_certificate": "400"}, "`without_certificate` needs `client_ca`"),
        (
            {**PAIR, "client_ca": "ca", "client": "optional", "without_certificate": "403"},
            "`without_certificate` needs `client: required`",
        ),
        ([{**PAIR, "sni": ["a"]}, {**PAIR, "sni": ["A"]}], "`sni` a is there twice: first in `tls[0]`"),
        ([PAIR] * 65, "`tls` has 65 entries, more than 64"),
    ],
)
def test_what_a_listener_cannot_say(said: Any, words: str) -> None:
    assert words in refusals(config(said))[0]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"certificate": "a"}, "`certificate` needs `key`"),
        ({"key": "a"}, "`key` needs `certificate`"),
        ({"verify": "no"}, "`verify` must be name or chain or off"),
        ({"verify": "chain", "names": ["a"]}, "`names` need `verify: name`, not chain"),
        ({"verify": "off", "ca": "a"}, "`ca` is of no use with `verify: off`"),
        ({"crl": "a"}, "`crl` needs `ca`"),
        ({"sni": "10.0.0.1:80"}, "`sni` must be a host name such as shop.local"),
        ({"names": ["spiffe://x"]}, "must be `namespace/service-account`"),
        ({"names": ["a/b/c"]}, "must be `namespace/service-account`"),
    ],
)
def test_what_a_cluster_cannot_say(said: Any, words: str) -> None:
    assert words in refusals(config(tls=None) | {"clusters": {"up": {"endpoints": [], "tls": said}}})[0]


def test_what_needs_tls_and_has_none() -> None:
    assert "`permissive` needs `tls`" in refusals(config(listener={"permissive": True}))[0]
    chains = [{"permissive": True, "tls": []}]
    assert "`permissive` needs `tls`" in refusals(config(PAIR, listener={"chains": chains}))[0]
    endpoints = [{"address": "127.0.0.1:2", "identity": "shop/books"}]
    assert "`identity` needs `tls` on the cluster" in refusals(config(endpoints=endpoints))[0]


def test_a_socket_without_a_name_needs_one_to_verify() -> None:
    clusters = {"up": {"endpoints": ["unix:/run/a"], "tls": {}}}
    assert "endpoint unix:/run/a has no name to verify" in refusals(config() | {"clusters": clusters})[0]
    for said in ({"sni": "a"}, {"names": ["shop/books"]}, {"verify": "chain"}):
        taken(config() | {"clusters": {"up": {"endpoints": ["unix:/run/a"], "tls": said}}})


def test_datagrams_have_no_tls() -> None:
    assert "`tls` needs a connection" in refusals(config(PAIR, protocol="udp"))[0]
    clusters: Any = {"up": {"endpoints": [], "tls": {}}}
    assert "speaks TLS, which needs `protocol`" in refusals(config(protocol="udp") | {"clusters": clusters})[0]


def test_a_key_in_the_text_is_a_secret_and_comes_back() -> None:
    said = config({"certificate": PEM, "key": KEY})
    known = taken(said)
    assert known.listeners[0].tls[0].key == Secret.of(KEY)
    shown: Any = encode(known, redact=True)
    assert "QUJD" not in str(shown)
    assert "QUJD" not in repr(known)
    assert restore(decode(Config, shown), known) == known
    with pytest.raises(Invalid, match="`key` is redacted, and is not the one in force"):
        restore(decode(Config, shown), Config())
    other = config({"certificate": PEM.replace("AAAA", "BBBB"), "key": shown["listeners"][0]["tls"]["key"]})
    with pytest.raises(Invalid, match="`key` is redacted"):
        restore(decode(Config, other), known)


@pytest.mark.parametrize(
    ("identity", "full"),
    [
        ("shop/books", "spiffe://mesh.local/ns/shop/sa/books"),
        ("spiffe://other/ns/a/sa/b", "spiffe://other/ns/a/sa/b"),
        ("books.shop", "books.shop"),
    ],
)
def test_an_identity_may_be_short(identity: str, full: str) -> None:
    assert full_identity(identity, "mesh.local") == full


def test_who_is_permissive_is_told_so() -> None:
    assert relaxed(taken(config(PAIR, listener={"permissive": True}))) == {"in": {"permissive": 1}}


def test_what_a_client_is_asked_for_does_not_hang_on_the_name_that_it_chooses() -> None:
    strict = {**PAIR, "client_ca": "ca.pem"}
    chains = [{"match": {"sni": ["toys.shop"]}, "tls": strict}]
    said = config(PAIR, listener={"chains": chains})
    assert "`routes` web serve chains that ask other things of clients" in refusals(said)[0]
    said["listeners"][0]["chains"][0]["routes"] = "toys"
    taken(said | {"routes": {**said["routes"], "toys": [{"cluster": "up"}]}})
    by_source = [{"match": {"sources": ["10.0.0.0/8"]}, "tls": strict}]
    taken(config(PAIR, listener={"chains": by_source}))
    several = [PAIR, {**strict, "sni": ["toys.shop"]}]
    assert "`client_ca` must be as in `tls[0]`" in refusals(config(several))[0]
