"""What identity is used for beside HTTP's own rules: TCP, the fields that upstreams see, what is counted."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.observe.metrics.listeners import LONGEST_IDENTITY, MOST_IDENTITIES
from tests.filters.asking import ask
from tests.peers import BOOKBUYER, BOOKTHIEF, Proof, peer, shown
from tests.relay.conversation import config as http
from tests.relay.conversation import ended, heard
from tests.relay.test_tcp import config as tcp

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
HASH = "ab" * 32
ELEMENT = f'Hash={HASH};Subject="CN=a";URI={BOOKBUYER}'.encode()


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> Proof:
    return Proof(monkeypatch)


# TCP


async def passes(w: Any, up: Any) -> bool:
    """Whether a connection is relayed; if it is not, nobody is dialled for it."""
    cluster, rejected = w.stats.clusters["up"], w.stats.listeners["in"].rejected
    made, refused = cluster.connections_total, rejected["authorize"]
    try:
        client = await w.connect()
    except ConnectionError:
        # So soon that the loop has not looked at it before
        assert (cluster.connections_total, rejected["authorize"]) == (made, refused + 1)
        return False
    await w.until(lambda: cluster.connections_total > made or rejected["authorize"] > refused)
    if cluster.connections_total == made:
        assert not await ended(client), "it is a failure, and no end"
        return False
    await client.send(b"hello")
    server = await up.accept()
    await heard(server, b"hello")
    server.close()
    client.close()
    return True


@pytest.mark.parametrize(
    ("entries", "admitted"),
    [
        ([{"identities": ["shop/bookbuyer"]}], [BOOKBUYER]),
        ([{"identities": ["shop/bookbuyer", "shop/bookthief"], "sources": ["127.0.0.0/8"]}], [BOOKBUYER, BOOKTHIEF]),
        ([{"identities": ["*"], "sources": ["10.0.0.0/8", "::/0"]}], []),
        ([{"identities": ["*"], "sources": ["10.0.0.0/8"]}, {"identities": ["shop/bookthief"]}], [BOOKTHIEF]),
        ([], []),
    ],
)
def test_a_connection_that_no_entry_admits_is_refused(
    run: Run, world: World, upstream: Upstream, proof: Proof, entries: list[Any], admitted: list[str]
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(tcp(up.address, listener={"authorize": entries}))
        for identity in (BOOKBUYER, BOOKTHIEF):
            proof.peer = peer(identity)
            assert await passes(w, up) == (identity in admitted), identity
        for nobody in (None, shown(None), peer(common_name="")):
            proof.peer = nobody
            assert not await passes(w, up)
        stats = w.stats.listeners["in"]
        assert stats.rejected["authorize"] == 5 - len(admitted)
        await w.until(lambda: stats.connections_active == 0)
        assert (stats.connections_total, stats.closed["error"]) == (5, 5 - len(admitted))

    run(scenario())


def test_a_chain_says_otherwise(run: Run, world: World, upstream: Upstream, proof: Proof) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        chains = [{"match": {"sources": ["127.0.0.1/32"]}, "authorize": [{"identities": ["shop/bookthief"]}]}]
        listener = {"authorize": [{"identities": ["shop/bookbuyer"]}], "chains": chains}
        proof.peer = peer(BOOKTHIEF)
        await w.apply(tcp(up.address, listener=listener))
        assert await passes(w, up)
        chains[0]["match"] = {"sources": ["10.0.0.0/8"]}
        await w.apply(tcp(up.address, listener=listener))
        assert not await passes(w, up)
        chains[0] = {}
        await w.apply(tcp(up.address, listener=listener))
        assert not await passes(w, up)

    run(scenario())


# What upstreams see


async def seen(w: Any, up: Any, *fields: bytes) -> dict[bytes, list[bytes]]:
    """The fields of a request as they arrive, by their names in lower case."""
    client = await w.connect()
    await client.send(GET + b"".join(field + b"\r\n" for field in fields) + b"Connection: close\r\n\r\n")
    server = await up.accept()
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        got += await server.recv()
    await server.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    await client.recv_all()
    server.close()
    found: dict[bytes, list[bytes]] = {}
    for line in got[:-4].split(b"\r\n")[1:]:
        name, _, value = line.partition(b": ")
        found.setdefault(name.lower(), []).append(value)
    return found


XFCC = b"x-forwarded-client-cert"
CLAIM = b"X-Forwarded-Client-Cert: Hash=1;URI=spiffe://a/b"


@pytest.mark.parametrize(
    ("trusted", "written", "proved", "claimed", "found"),
    [
        (False, False, True, True, None),
        (False, False, False, True, None),
        (False, True, True, False, ELEMENT),
        (False, True, True, True, ELEMENT),
        (False, True, False, True, None),
        (True, False, True, True, b"Hash=1;URI=spiffe://a/b"),
        (True, False, True, False, None),
        (True, True, True, True, b"Hash=1;URI=spiffe://a/b, " + ELEMENT),
        (True, True, True, False, ELEMENT),
        (True, True, False, True, b"Hash=1;URI=spiffe://a/b"),
        (True, True, False, False, None),
    ],
)
def test_the_client_cert_is_dropped_set_kept_or_added_to(
    run: Run, world: World, upstream: Upstream, proof: Proof,
    trusted: bool, written: bool, proved: bool, claimed: bool, found: bytes | None,
) -> None:  # fmt: skip
    async def scenario() -> None:
        w, up = world(), upstream()
        forwarded = {
            "trusted": ["127.0.0.0/8"] if trusted else [], "headers": ["x-forwarded-client-cert"] if written else [],
        }  # fmt: skip
        await w.apply(http(up.address, listener={"http": {"forwarded": forwarded}}))
        proof.peer = peer(BOOKBUYER) if proved else None
        fields = await seen(w, up, *[CLAIM] * claimed, b"X-Other: 1")
        assert fields.get(XFCC) == (None if found is None else [found])
        assert fields[b"x-other"] == [b"1"]

    run(scenario())


def test_several_lines_of_one_who_is_believed_are_one_list(
    run: Run, world: World, upstream: Upstream, proof: Proof
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        forwarded = {"trusted": ["127.0.0.0/8"], "headers": ["x-forwarded-client-cert"]}
        await w.apply(http(up.address, listener={"http": {"forwarded": forwarded}}))
        proof.peer = peer(BOOKBUYER, own="spiffe://cluster.local/ns/shop/sa/web")
        fields = await seen(w, up, CLAIM, b"x-forwarded-client-cert: Hash=2")
        own = b"By=spiffe://cluster.local/ns/shop/sa/web;" + ELEMENT
        assert fields[XFCC] == [b"Hash=1;URI=spiffe://a/b, Hash=2, " + own]
        # >> so long a list begins anew with us
        fields = await seen(w, up, b"X-Forwarded-Client-Cert: " + b"a" * 5000)
        assert fields[XFCC] == [own]

    run(scenario())


def test_nobody_takes_away_what_one_who_is_believed_has_said(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        forwarded = {"trusted": ["127.0.0.0/8"]}
        await w.apply(http(up.address, listener={"http": {"forwarded": forwarded}}))
        fields = await seen(w, up, CLAIM, b"Connection: x-forwarded-client-cert")
        assert fields[XFCC] == [CLAIM.partition(b": ")[2]]

    run(scenario())


def test_a_claim_does_not_hide_behind_a_body(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(http(up.address))
        client = await w.connect()
        request = b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + CLAIM + b"\r\n\r\n"
        assert (await ask(client, request)).status == 400

    run(scenario())


@pytest.mark.parametrize(("tls", "scheme"), [(True, b"https"), (False, b"http")])
def test_the_scheme_is_that_of_the_connection(
    run: Run, world: World, upstream: Upstream, proof: Proof, tls: bool, scheme: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        rules = [
            {"match": {"path": {"prefix": "/to"}}, "redirect": "/b"},
            {"match": {"path": {"prefix": "/plain"}}, "redirect": {"scheme": "http"}},
            {"cluster": "up"},
        ]
        forwarded = {"headers": ["x-forwarded-proto", "forwarded"]}
        await w.apply(http(up.address, rules=rules, listener={"http": {"forwarded": forwarded}}))
        proof.peer = shown(None) if tls else None
        fields = await seen(w, up, b"X-Forwarded-Proto: gopher")
        assert fields[b"x-forwarded-proto"] == [scheme]
        assert fields[b"forwarded"] == [b"for=127.0.0.1;proto=" + scheme + b";host=x"]
        client = await w.connect()
        moved = await ask(client, b"GET /to HTTP/1.1\r\nHost: x:81\r\n\r\n")
        assert moved.fields["location"] == scheme.decode() + "://x:81/b"
        moved = await ask(client, b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n")
        assert moved.fields["location"] == "http://x/plain"

    run(scenario())


def test_a_rule_names_the_identity_and_who_has_none_is_not_named(
    run: Run, world: World, upstream: Upstream, proof: Proof
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        edit = {"set": {"x-identity": "%{identity}", "x-said": "as %{identity}"}}
        await w.apply(http(up.address, rules=[{"cluster": "up", "request_headers": edit}]))
        claim = b"X-Identity: " + BOOKBUYER.encode()
        for who, identity in (
            (peer(BOOKBUYER), BOOKBUYER.encode()),
            (peer(common_name="a b\r\nX-Evil: 1"), b"a%20b%0D%0AX-Evil:%201"),
        ):
            proof.peer = who
            fields = await seen(w, up, claim)
            assert (fields[b"x-identity"], fields[b"x-said"]) == ([identity], [b"as " + identity])
            assert b"x-evil" not in fields
        for nobody in (None, shown(None)):
            proof.peer = nobody
            fields = await seen(w, up, claim)
            assert b"x-identity" not in fields, "a claim does not stand where nothing was proved"
            assert fields[b"x-said"] == [b"as "]

    run(scenario())


# By identity


def test_each_identity_has_a_limit_of_its_own(run: Run, world: World, proof: Proof) -> None:
    async def scenario() -> None:
        w = world()
        rate = {"rate_limit": {"requests": 2, "per": "1m", "by": "identity"}}
        await w.apply(http(rules=[{"reply": {"status": 204}, "filters": [rate]}]))
        for who in (peer(BOOKBUYER), peer(BOOKTHIEF), None):
            proof.peer = who
            found = [(await ask(await w.connect(), GET + b"\r\n")).status for _ in range(3)]
            assert found == [204, 204, 429]
        proof.peer = shown(None)
        assert (await ask(await w.connect(), GET + b"\r\n")).status == 429, "who has proved nothing is one"

    run(scenario())


def test_an_identity_keeps_its_share(run: Run, world: World, upstream: Upstream, proof: Proof) -> None:
    async def scenario() -> None:
        w, one, two = world(), upstream(), upstream()
        split = [{"cluster": "up"}, {"cluster": "other"}]
        said = http(one.address, rules=[{"split": split, "split_by": {"identity": True}}])
        said["clusters"]["other"] = {"endpoints": [two.address]}
        await w.apply(said)
        drawn = set()
        for name in "abcdefgh":
            proof.peer = peer(f"spiffe://cluster.local/ns/shop/sa/{name}")
            shares = set()
            for _ in range(4):
                client = await w.connect()
                before = w.stats.clusters["up"].connections_total
                both = before + w.stats.clusters["other"].connections_total
                await client.send(GET + b"Connection: close\r\n\r\n")
                await w.until(lambda both=both: sum(c.connections_total for c in w.stats.clusters.values()) > both)
                here = w.stats.clusters["up"].connections_total > before
                server = await (one if here else two).accept()
                await server.recv()
                await server.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                await client.recv_all()
                server.close()
                shares.add(here)
            assert len(shares) == 1
            drawn |= shares
        assert drawn == {True, False}

    run(scenario())


# What is counted


def test_identities_are_counted_and_bounded(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(http())
        state = next(iter(w.worker._guests.states))
        for _ in range(2):
            for number in range(MOST_IDENTITIES + 50):
                state.identified(f"{number}.shop")
        state.identified(None)
        state.identified("")
        identities = w.stats.listeners["in"].identities
        assert len(identities) == MOST_IDENTITIES + 1
        assert (identities["0.shop"], identities["other"]) == (2, 100)
        identities.clear()
        state.identified("x" * (LONGEST_IDENTITY + 1))
        assert identities == {"other": 1}

    run(scenario())
