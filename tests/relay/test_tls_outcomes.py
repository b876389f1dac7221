"""Versions and certificates: who is let in, who is trusted, and by which word a refusal is counted.

One table for both sides: the client's certificate as a listener sees it, and the server's as a cluster does.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FakeClock, Upstream, World
from tests.pki import Ca, Pair, Pki
from tests.relay.tls_peers import client, server, showing, trusting

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
GET = b"GET / HTTP/1.1\r\nHost: books.shop\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Papers:
    """Certificates of every kind, each made when it is asked for."""

    def __init__(self, directory: Path) -> None:
        self._pki = Pki(directory)

    @cached_property
    def ca(self) -> Ca:
        return self._pki.ca()

    @cached_property
    def other(self) -> Ca:
        return self._pki.ca()

    def pair(self, kind: str) -> Pair | None:
        names: dict[str, Any] = {"identity": "shop/books", "dns": ["books.shop"]}
        made: dict[str, Callable[[], Pair | None]] = {
            "none": lambda: None,
            "good": lambda: self.ca.issue(**names),
            "below": lambda: self.ca.below().issue(**names),
            "rsa": lambda: self.ca.issue(**names, key="rsa"),
            "expired": lambda: self.ca.issue(**names, start=-2, days=1),
            "early": lambda: self.ca.issue(**names, start=1, days=1),
            "foreign": lambda: self.other.issue(**names),
            "of an expired CA": lambda: self.old.issue(**names, start=-9, days=1),
            "other name": lambda: self.ca.issue("shop/toys", dns=["toys.shop"]),
            "wildcard": lambda: self.ca.issue(dns=["*.north.shop"]),
            "for servers": lambda: self.ca.issue(**names, roles=["server"]),
            "for clients": lambda: self.ca.issue(**names, roles=["client"]),
            "address": lambda: self.ca.issue(ips=["127.0.0.1"]),
            "only a common name": lambda: self.ca.issue(name="books.shop"),
        }
        return made[kind]()

    @cached_property
    def old(self) -> Ca:
        return self._pki.ca(start=-10, days=5)


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path)


def inline(pair: Pair) -> dict[str, str]:
    return {"certificate": pair.certificate.read_text(), "key": pair.key.read_text()}


@dataclass(frozen=True)
class Case:
    shown: str
    word: str
    """How it is counted."""
    said: dict[str, Any] = field(default_factory=dict)
    """More that the configuration says."""
    revoked: str = ""
    """Where there is a list: `yes`, the certificate is on it; `no`; `old`, out of date; `other`, another CA's."""
    version: ssl.TLSVersion | None = None
    """The only one that the peer speaks."""
    also: dict[str, Any] = field(default_factory=dict)
    """How the peer's context differs."""
    identity: str | None = None

    def __str__(self) -> str:
        more = [f"{key}: {value}" for key, value in self.said.items()]
        if self.revoked:
            more.append(f"revoked: {self.revoked}")
        return " ".join([self.shown, *more, "->", self.word])

    def crl(self, papers: Papers, pair: Pair | None) -> dict[str, str]:
        if not self.revoked:
            return {}
        assert pair is not None
        lists = {
            "yes": lambda: papers.ca.crl([pair]),
            "no": lambda: papers.ca.crl([]),
            "old": lambda: papers.ca.crl([], start=-3, days=1),
            "other": lambda: papers.other.crl([]),
        }
        return {"crl": lists[self.revoked]().read_text()}


BOOKS = "spiffe://cluster.local/ns/shop/sa/books"

CLIENTS = [
    Case("good", "full", identity=BOOKS),
    Case("below", "full", identity=BOOKS),
    Case("rsa", "full", identity=BOOKS),
    Case("for clients", "full", identity=BOOKS),
    Case("only a common name", "full", identity="books.shop"),
    Case("wildcard", "full", identity="*.north.shop"),
    Case("none", "no_certificate"),
    Case("none", "full", {"client": "optional"}),
    Case("good", "full", {"client": "optional"}, identity=BOOKS),
    Case("expired", "expired", {"client": "optional"}),
    Case("expired", "expired"),
    Case("early", "not_yet_valid"),
    Case("foreign", "unknown_ca"),
    Case("for servers", "invalid"),
    Case("good", "full", revoked="no", identity=BOOKS),
    Case("good", "revoked", revoked="yes"),
    Case("good", "crl", revoked="old"),
    Case("good", "crl", revoked="other"),
]
SERVERS = [
    Case("good", "full"),
    Case("below", "full"),
    Case("rsa", "full"),
    Case("wildcard", "full", {"sni": "books.north.shop"}),
    Case("wildcard", "wrong_name", {"sni": "books.deep.north.shop"}),
    Case("for servers", "full"),
    Case("other name", "wrong_name"),
    Case("only a common name", "wrong_name"),
    Case("other name", "full", {"verify": "chain"}),
    Case("foreign", "full", {"verify": "off"}),
    Case("expired", "full", {"verify": "off"}),
    Case("address", "full", {"sni": None}),
    Case("good", "wrong_name", {"sni": None}),
    Case("good", "full", {"names": ["shop/books"]}),
    Case("good", "full", {"names": ["toys.shop", "books.shop"]}),
    Case("good", "full", {"names": [BOOKS], "sni": "whatever.shop"}),
    Case("other name", "wrong_name", {"names": ["shop/books"]}),
    Case("wildcard", "wrong_name", {"names": ["books.north.shop"]}),
    Case("expired", "expired"),
    Case("early", "not_yet_valid"),
    Case("foreign", "unknown_ca"),
    Case("foreign", "unknown_ca", {"verify": "chain"}),
    Case("for clients", "invalid"),
    Case("good", "full", revoked="no"),
    Case("good", "revoked", revoked="yes"),
    Case("good", "revoked", {"verify": "chain"}, revoked="yes"),
    Case("good", "crl", revoked="old"),
]


def both(cases: list[Case]) -> list[Any]:
    return [
        pytest.param(version, case, id=f"{version.name} {case}") for version in (V12, V13) for case in cases
    ]


@pytest.mark.parametrize(("version", "case"), both(CLIENTS))
def test_certificates_of_clients(
    run: Run, clock: FakeClock, papers: Papers, version: ssl.TLSVersion, case: Case
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        pair, own = papers.pair(case.shown), papers.pair("good")
        assert own is not None
        tls = {
            **inline(own), "client_ca": papers.ca.root.read_text(), **case.said,
            **case.crl(papers, pair),
        }  # fmt: skip
        await w.apply(
            {
                "listeners": [
                    {"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web", "tls": tls}
                ],
                "routes": {"web": [{"cluster": "up"}]},
                "clusters": {"up": {"endpoints": [up.address]}},
            }
        )
        peer = client(await w.connect(), trusting(papers.ca, pair, version=version))
        counted = w.stats.listeners["in"].handshakes
        if case.word == "full":
            await peer.shake()
            await peer.send(GET)
            upstream = await up.accept()
            assert (await upstream.recv()).startswith(b"GET / HTTP/1.1\r\n")
            (connection,) = next(iter(w.worker._guests.states)).connections
            assert connection._origin.identity == case.identity  # type: ignore[attr-defined]
            await upstream.send(OK)
            assert await peer.recv() == OK
        else:
            # In TLS 1.3 a client hears of its refusal when it has done with the handshake.
            with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
                await peer.shake()
                await peer.send(GET)
                await peer.recv()
            await w.until(lambda: w.stats.listeners["in"].rejected["tls"] == 1)
            (line,) = [line for line in w.logged if "handshake-failed" in line]
            assert f'listener=in client=127.0.0.1 why="TLS: {case.word.replace("_", " ")}' in line
        assert counted == {case.word: 1}

    run(scenario())


@pytest.mark.parametrize(("version", "case"), both(SERVERS))
def test_certificates_of_servers(
    run: Run, clock: FakeClock, papers: Papers, version: ssl.TLSVersion, case: Case
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        pair = papers.pair(case.shown)
        assert pair is not None
        tls = {"ca": papers.ca.root.read_text(), "sni": "books.shop", **case.said, **case.crl(papers, pair)}
        if case.said.get("verify") == "off":
            del tls["ca"]
        await w.apply(
            {
                "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"}],
                "routes": {"web": [{"cluster": "up", "retry": {"attempts": 1, "on": ["connect"]}}]},
                "clusters": {"up": {"endpoints": [up.address], "tls": tls}},
            }
        )
        asking = await w.connect()
        await asking.send(GET)
        peer = server(await up.accept(), showing(pair, version=version))
        counted = w.stats.clusters["up"].handshakes
        if case.word == "full":
            await peer.shake()
            assert (await peer.recv()).startswith(b"GET / HTTP/1.1\r\n")
            await peer.send(OK)
            assert (await asking.recv()).startswith(b"HTTP/1.1 200 OK\r\n")
        else:
            with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
                await peer.shake()
                assert not await peer.recv(), "not a byte of a request goes to whom nobody trusts"
                raise EOFError
            assert (await asking.recv()).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            (line,) = [line for line in w.logged if "handshake-failed" in line]
            assert f'cluster=up endpoint={up.address} why="TLS: {case.word.replace("_", " ")}' in line
        assert counted == {case.word: 1}

    run(scenario())


@pytest.mark.parametrize("side", ["listener", "cluster"])
@pytest.mark.parametrize(
    ("speaks", "least", "word"),
    [(V12, "1.2", "full"), (V13, "1.2", "full"), (V13, "1.3", "full"), (V12, "1.3", "version")],
)
def test_versions(
    run: Run, clock: FakeClock, papers: Papers, side: str, speaks: ssl.TLSVersion, least: str, word: str
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        own = papers.pair("good")
        assert own is not None
        listener = {"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up"}
        cluster: dict[str, Any] = {"endpoints": [up.address]}
        if side == "listener":
            listener["tls"] = {**inline(own), "min_version": least}  # type: ignore[assignment]
        else:
            cluster["tls"] = {"ca": papers.ca.root.read_text(), "sni": "books.shop", "min_version": least}
        await w.apply({"listeners": [listener], "clusters": {"up": cluster}})
        asking = await w.connect()
        counted = w.stats.listeners["in"].handshakes if side == "listener" else w.stats.clusters["up"].handshakes
        if side == "listener":
            peer = client(asking, trusting(papers.ca, version=speaks))
        else:
            peer = server(await up.accept(), showing(own, version=speaks))
        if word == "full":
            await peer.shake()
        else:
            with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
                await peer.shake()
        await w.until(lambda: counted)
        assert next(iter(counted)) in (word, "alert")

    run(scenario())
