"""What is told of tunnels that make no sense."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from meshproxy.dialects import read
from meshproxy.errors import Invalid
from meshproxy.model import Address, combine
from meshproxy.model.tls import ClientTls
from meshproxy.model.tunnels import Among, Tunnel
from meshproxy.model.ways import way_problems
from meshproxy.schema.kinds import Secret

SERVER = Address("ipv4", "10.0.0.9", 1080)
LISTENERS = {"web": "tcp", "names": "udp"}
LOCAL = Address("unix", path="/run/x")


def told(kind: Any, **said: Any) -> list[str]:
    return [words for _, words in way_problems(Tunnel("out", through=kind, **{"server": SERVER, **said}), LISTENERS)]


@pytest.mark.parametrize("kind", ["connect", "h2", "socks5"])
def test_what_makes_sense(kind: str) -> None:
    assert told(kind) == []
    assert told(kind, user="edge", password=Secret.of("a:b"), tls=ClientTls()) == []
    assert told(kind, server=LOCAL) == []
    assert told("h2", links=4, dead=5.0) == []


@pytest.mark.parametrize(
    ("kind", "said", "words"),
    [
        ("connect", {"server": None}, "`through` needs `server`"),
        ("connect", {"dial": (SERVER,)}, "needs one of `dial`, `accept`, `through` and `among`"),
        ("connect", {"among": (Among("b"),)}, "needs one of"),
        (None, {"among": (Among("b"),)}, "`server` is of no use with `among`"),
        (None, {"among": (Among("b"),), "server": None, "links": 2}, "`links` is of no use with `among`"),
        ("socks5", {"links": 2}, "`links` is of no use with `through: socks5`"),
        ("h2", {"resume": 5.0}, "`resume` is of no use with `through: h2`"),
        ("h2", {"listener": "web"}, "`listener` is of no use"),
        ("socks5", {"datagrams": "names"}, "`datagrams` is of no use with `through: socks5`"),
        ("h2", {"compress": "zstd"}, "`compress` is of no use"),
        ("h2", {"dictionary": "words"}, "`dictionary` is of no use"),
        (None, {"accept": (("shop", "edge"),), "server": None, "dictionary": "words"}, "needs `compress: zstd`"),
        (None, {"dial": (SERVER,), "server": None}, "`tls` with `certificate` and `key` is needed"),
        (None, {"accept": (("shop", "edge"),), "server": None, "tls": ClientTls()}, "`tls` stands on the listener"),
        (None, {"accept": (("shop", "edge"),)}, "`server` is for `through`"),
        ("h2", {"user": "edge"}, "`user` needs `password`"),
        ("h2", {"password": Secret.of("x")}, "`password` needs `user`"),
        ("h2", {"user": "a:b", "password": Secret.of("x")}, "must not have a colon"),
        ("socks5", {"user": "a" * 256, "password": Secret.of("x")}, "`user` must have 1 to 255 bytes"),
        ("socks5", {"user": "a", "password": Secret.of("ü" * 128)}, "`password` must have 1 to 255 bytes"),
        ("h2", {"server": LOCAL, "tls": ClientTls()}, "needs `sni` or `names`"),
        ("h2", {"tls": ClientTls(certificate="a.pem")}, "`certificate` needs `key`"),
    ],
)
def test_what_does_not(kind: str, said: dict[str, Any], words: str) -> None:
    (problem,) = told(kind, **said)
    assert words in problem


TLS: dict[str, Any] = {"certificate": "edge.pem", "key": "edge.key", "ca": "ca.pem", "names": ["shop/centre"]}
OUT: dict[str, Any] = {"through": "h2", "server": "10.0.0.9:1080"}
EDGE: dict[str, Any] = {
    "listeners": [{"name": "in", "listen": "127.0.0.1:80", "protocol": "tcp", "cluster": "far"}],
    "clusters": {"far": {"endpoints": ["10.1.0.5:80"], "via": "centre"}},
    "tunnels": {"centre": {"dial": "10.0.0.1:8443", "tls": TLS}},
}


def test_what_proxies_do_is_no_affair_of_one_process() -> None:
    tunnels = {"centre": {"among": ["out"]}, "out": OUT}
    clusters = {"far": {**EDGE["clusters"]["far"], "tls": {"ca": "ca.pem", "sni": "far"}}}
    said = {**EDGE, "workers": 2, "clusters": clusters, "tunnels": tunnels}
    assert combine([read(json.dumps(said).encode(), "edge", {})]).tunnels


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"clusters": {"far": {"endpoints": ["10.1.0.5:80"], "via": "center"}}}, "no tunnel `center`"),
        ({"clusters": {"far": {"endpoints": ["10.1.0.5:80"], "via": "centre", "lane": "bulk"}}}, "`lane` bulk is no"),
        ({"clusters": {"far": {"endpoints": ["10.1.0.5:80"], "via": "centre", "tls": {}}}}, "cannot be spoken through"),
        ({"listeners": [{"name": "own", "listen": [], "protocol": "tcp", "cluster": "far"}]}, "no tunnel leads to"),
        ({"tunnels": {"centre": {"dial": "10.0.0.1:8443", "tls": TLS, "listener": "on"}}}, "no listener `on`"),
        (
            {"listeners": [{"name": "in", "listen": "127.0.0.1:80", "protocol": "quic"}]},
            "`protocol` quic needs `tls` with `client_ca`",
        ),
        (
            {"tunnels": {"centre": {"dial": "10.0.0.1:1", "transport": "quic", "tls": {**TLS, "names": []}}}},
            "`transport: quic` needs `tls` with `ca` and `names`",
        ),
        (
            {"tunnels": {"centre": {"dial": "unix:/run/x", "transport": "race", "tls": TLS}}},
            "cannot go to a unix socket",
        ),
        ({"tunnels": {"centre": {"accept": ["shop/edge"], "transport": "quic"}}}, "`transport` is for who dials"),
        ({"tunnels": {"centre": {"among": ["out"]}}}, "no tunnel `out`"),
        ({"tunnels": {"centre": {"among": ["edge"]}, "edge": {"accept": ["shop/edge"]}}}, "has no `through`"),
        ({"tunnels": {"centre": {"among": ["out", "out"]}, "out": OUT}}, "named twice: first as `among[0]`"),
        ({"tunnels": {"centre": {"dial": "10.0.0.1:8443"}}}, "both ends of a tunnel prove who they are"),
    ],
)
def test_what_does_not_fit_with_the_rest(said: dict[str, Any], words: str) -> None:
    assert combine([read(json.dumps(EDGE).encode(), "edge", {})]).tunnels
    with pytest.raises(Invalid, match=re.escape(words)):
        combine([read(json.dumps({**EDGE, **said}).encode(), "edge", {})])


UDP: dict[str, Any] = {"name": "names", "listen": "127.0.0.1:53", "protocol": "udp", "cluster": "far"}
FLOWS: dict[str, Any] = {"name": "flows", "listen": [], "protocol": "udp", "transparent": True, "cluster": "there"}
CHAIN: dict[str, Any] = {"match": {"ports": [53], "destinations": ["10.1.0.0/16"]}}
BOTH: dict[str, Any] = {
    "listeners": [UDP, {**FLOWS, "chains": [CHAIN]}],
    "clusters": {"far": {"endpoints": ["10.1.0.53:53"], "via": "centre"}, "there": {"original": True}},
    "tunnels": {"centre": {**EDGE["tunnels"]["centre"], "datagrams": "flows"}},
}


def flows(**said: Any) -> dict[str, Any]:
    return {"listeners": [UDP, {**FLOWS, **said}]}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"tunnels": EDGE["tunnels"]}, "`listen` is empty, and no tunnel leads to this listener"),
        ({"tunnels": {"centre": {"dial": "10.0.0.1:1", "tls": TLS, "datagrams": "on"}}}, "no listener `on`"),
        (
            {"tunnels": {"centre": {"dial": "10.0.0.1:1", "tls": TLS, "listener": "flows"}}},
            "`listener` cannot lead to `flows`, which has `protocol: udp`: that is for `datagrams`",
        ),
        (
            {"listeners": [UDP, {**FLOWS, "protocol": "tcp"}]},
            "`datagrams` cannot lead to `flows`, which has `protocol: tcp`: that is for `listener`",
        ),
        (
            {"tunnels": {**BOTH["tunnels"], "out": {"through": "socks5", "server": "10.0.0.9:1080"}},
             "clusters": {**BOTH["clusters"], "far": {"endpoints": ["10.1.0.53:53"], "via": "out"}}},
            "cluster `far` has `via: out`, which is `through: socks5` and carries no datagrams",
        ),
        (flows(listen="127.0.0.1:54"), "`transparent` with `protocol: udp` needs `listen: []`, not 127.0.0.1:54"),
        (flows(chains=[CHAIN], transparent=False), "`chains` need `transparent: true`"),
        (flows(chains=[{**CHAIN, "protocol": "tcp"}]), "`protocol` tcp needs a connection"),
        (flows(chains=[{"match": {"sni": ["a.shop"]}}]), "`sni` needs a connection"),
        (flows(chains=[{"filters": [{"rate_limit": {"connections": 1}}]}]), "`filters` needs a connection"),
        (flows(transparent=False), "cluster `there` is `original`, which needs `protocol` tcp or tls"),
    ],
)  # fmt: skip
def test_what_does_not_fit_with_datagrams(said: dict[str, Any], words: str) -> None:
    assert combine([read(json.dumps(BOTH).encode(), "edge", {})]).tunnels
    with pytest.raises(Invalid, match=re.escape(words)):
        combine([read(json.dumps({**BOTH, **said}).encode(), "edge", {})])
