"""Who may ask, by identity: in conversations, and against what each entry says one after the other."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from ipaddress import ip_address, ip_network
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.filters.authorize import NOT_AUTHORIZED, build
from meshproxy.model import decode
from meshproxy.model.authorize import Admission
from tests.filters.asking import ask, get
from tests.peers import BOOKBUYER, BOOKTHIEF, Proof, peer, shown
from tests.relay.conversation import answered, config, head_of

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> Proof:
    return Proof(monkeypatch)


def guarded(*entries: Any, **said: Any) -> dict[str, Any]:
    return config(rules=[{"authorize": list(entries), "reply": {"status": 204}}], **said)


def check(run: Run, world: World, proof: Proof, said: dict[str, Any], asked: list[tuple[Any, bytes, int]]) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(said)
        found = []
        for who, request, _ in asked:
            proof.peer = who
            client = await w.connect()
            found.append((who, request, (await ask(client, request)).status))
            client.close()
        assert found == asked

    run(scenario())


def test_the_log_says_who_was_refused_and_says_it_seldom(run: Run, world: World, proof: Proof) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(guarded({"identities": ["shop/bookbuyer"]}))
        for who in (BUYER, THIEF, THIEF, None):
            proof.peer = who
            client = await w.connect()
            await ask(client, get())
            client.close()
        said = [line.partition(" INFO ")[2] for line in w.logged if "not-authorized" in line]
        assert said == [
            f"not-authorized listener=in client=127.0.0.1 identity={BOOKTHIEF}\n",
            "not-authorized listener=in client=127.0.0.1 identity=null\n",
        ]

    run(scenario())


BUYER, THIEF = peer(BOOKBUYER), peer(BOOKTHIEF)
NOBODY = [None, shown(None), peer(common_name="")]


def test_any_entry_admits_and_all_else_is_refused(run: Run, world: World, proof: Proof) -> None:
    said = guarded(
        {"identities": ["shop/bookbuyer"], "methods": ["GET"]},
        {"identities": ["audit/*", "mon.shop"], "paths": [{"prefix": "/v1"}, {"exact": "/ready"}]},
        {"identities": ["*"], "headers": {"x-open": {"exact": "1"}}},
    )
    audit, mon = peer("spiffe://cluster.local/ns/audit/sa/x"), peer(dns=("Mon.shop", "b"))
    check(run, world, proof, said, [
        (BUYER, get(), 204), (BUYER, get(method="PUT"), 403), (BUYER, get(method="get"), 403),
        (THIEF, get(), 403), (THIEF, get("/a", "X-Open: 1"), 204), (THIEF, get("/a", "X-Open: 2"), 403),
        (audit, get("/v1/x"), 204), (audit, get("/ready", method="PUT"), 204), (audit, get("/ready/x"), 403),
        (audit, get("/v1/../x"), 403), (audit, get("/V1"), 403), (audit, get("/%76%31"), 204), (mon, get("/v1"), 204),
        (peer(dns=("b", "mon.shop")), get("/v1"), 403), (peer("spiffe://other/ns/audit/sa/x"), get("/v1"), 403),
        *((nobody, get("/v1", "X-Open: 1"), 403) for nobody in NOBODY),
    ])  # fmt: skip


def test_an_empty_list_lets_nobody_in(run: Run, world: World, proof: Proof) -> None:
    check(run, world, proof, guarded(), [(who, get(), 403) for who in (BUYER, *NOBODY)])


def test_what_a_client_says_of_itself_proves_nothing(run: Run, world: World, proof: Proof) -> None:
    trusting = {"http": {"forwarded": {"trusted": ["127.0.0.0/8"], "headers": ["x-forwarded-client-cert"]}}}
    claims = get("/a", f"X-Forwarded-Client-Cert: Hash=1;URI={BOOKBUYER}", f"X-Identity: {BOOKBUYER}")
    said = guarded({"identities": ["shop/bookbuyer"]}, listener=trusting)
    check(run, world, proof, said, [(None, claims, 403), (THIEF, claims, 403), (BUYER, claims, 204)])


def test_from_where_it_comes_must_be_right_as_well(run: Run, world: World, proof: Proof) -> None:
    trusting = {"http": {"forwarded": {"trusted": ["127.0.0.0/8"]}}}
    entries = [{"identities": ["shop/bookbuyer"], "sources": ["192.0.2.0/24"]}]
    of = "X-Forwarded-For: 192.0.2.7"
    check(run, world, proof, guarded(*entries), [(BUYER, get(), 403), (BUYER, get("/a", of), 403)])
    asked = [(BUYER, get("/a", of), 204), (THIEF, get("/a", of), 403)]
    check(run, world, proof, guarded(*entries, listener=trusting), asked)


def test_the_short_form_means_the_own_trust_domain(run: Run, world: World, proof: Proof) -> None:
    said = guarded({"identities": ["shop/a"]}) | {"node": {"trust_domain": "td"}}
    check(run, world, proof, said, [
        (peer("spiffe://td/ns/shop/sa/a"), get(), 204), (peer("spiffe://cluster.local/ns/shop/sa/a"), get(), 403),
    ])  # fmt: skip


def test_who_is_refused_reaches_nobody_and_is_told_why(
    run: Run, world: World, upstream: Upstream, proof: Proof
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        rule = {
            "cluster": "up", "authorize": [{"identities": ["shop/bookbuyer"]}],
            "mirror": "copy", "fallback": {"cluster": "copy"}, "retry": {"on": ["5xx"]},
            "filters": [{"rate_limit": {"requests": 1}}],
        }  # fmt: skip
        said = config(up.address, rules=[rule])
        said["clusters"]["copy"] = {"endpoints": [up.address]}
        await w.apply(said)
        proof.peer = THIEF
        client = await w.connect()
        for request in (get(), get("/a", "Content-Length: 2", method="PUT") + b"hi", get()):
            refused = await ask(client, request)
            assert (refused.status, refused.body) == (403, b"not authorized\n")
        proof.peer = BUYER
        await (await w.connect()).send(get())
        # >> the only one that comes here, and it has not used up the limit
        assert b"GET /a" in await head_of(await up.accept())
        assert answered(w) == {"403 AZ": 3}
        assert w.stats.clusters["up"].connections_total == 1
        assert w.stats.listeners["in"].answers["web/0"][""].requests == {"403 AZ": 3}

    run(scenario())


def test_an_open_connection_is_asked_anew_after_a_reload(run: Run, world: World, proof: Proof) -> None:
    async def scenario() -> None:
        w = world()
        proof.peer = BUYER
        await w.apply(guarded({"identities": ["shop/bookbuyer"]}))
        client = await w.connect()
        assert (await ask(client, get())).status == 204
        await w.apply(guarded({"identities": ["shop/other"]}))
        assert (await ask(client, get())).status == 403
        await w.apply(guarded({"identities": ["shop/*"]}))
        assert (await ask(client, get())).status == 204

    run(scenario())


# Against the meaning of it, entry by entry

WHOM = st.sampled_from(("a/x", "a/y", "a/*", "*", "h.b", "*.b", "spiffe://td/ns/a/sa/x"))
ENTRIES = st.fixed_dictionaries(
    {"identities": st.lists(WHOM, min_size=1, max_size=3)},
    optional={
        "methods": st.lists(st.sampled_from(("GET", "PUT")), max_size=2),
        "paths": st.lists(st.sampled_from(({"exact": "/a"}, {"prefix": "/a"}, {"regex": "/[ab]"})), max_size=2),
        "headers": st.sampled_from(({}, {"x": {"exact": "1"}}, {"x": {"present": False}})),
        "sources": st.lists(st.sampled_from(("10.0.0.0/8", "fd00::/8")), max_size=2),
    },
)  # fmt: skip
WHO = st.sampled_from(
    (None, "", "spiffe://td/ns/a/sa/x", "spiffe://td/ns/a/sa/y", "spiffe://td/ns/b/sa/x", "h.b", "b", "x.b")
)


def admits(
    entry: dict[str, Any], identity: str | None, method: str, path: str, header: str | None, source: Any
) -> bool:
    """As the documentation says it."""
    spelt = {
        "a/x": identity == "spiffe://td/ns/a/sa/x", "a/y": identity == "spiffe://td/ns/a/sa/y",
        "spiffe://td/ns/a/sa/x": identity == "spiffe://td/ns/a/sa/x", "*": bool(identity), "h.b": identity == "h.b",
        "a/*": identity in ("spiffe://td/ns/a/sa/x", "spiffe://td/ns/a/sa/y"), "*.b": identity in ("h.b", "x.b"),
    }  # fmt: skip
    paths = {"exact": path == "/a", "prefix": path in ("/a", "/a/b"), "regex": path in ("/a", "/b")}
    fields = {"exact": header == "1", "present": header is None}
    holds = [any(spelt[whom] for whom in entry["identities"])]
    if entry.get("methods"):
        holds.append(method in entry["methods"])
    if entry.get("paths"):
        holds.append(any(paths[how] for each in entry["paths"] for how in each))
    if entry.get("headers"):
        holds.extend(fields[how] for how in entry["headers"]["x"])
    if entry.get("sources"):
        holds.append(source is not None and any(source in ip_network(each) for each in entry["sources"]))
    return all(holds)


@given(
    st.lists(ENTRIES, max_size=5), WHO,
    st.sampled_from(("GET", "PUT", "get")), st.sampled_from(("/a", "/a/b", "/b", "/ab")),
    st.sampled_from((None, "1", "2")), st.sampled_from((None, "10.1.2.3", "192.0.2.1", "fd00::1")),
)  # fmt: skip
def test_what_is_compiled_decides_as_the_entries_say(
    said: list[dict[str, Any]], identity: str | None, method: str, path: str, header: str | None, source: str | None
) -> None:
    address = ip_address(source) if source else None
    hooks = build(tuple(decode(Admission, entry) for entry in said), "td", lambda _: address, lambda _: None)
    fields = {b"x": header.encode()} if header else {}
    request = SimpleNamespace(method=method.encode(), get=fields.get, target=path.encode())
    whom = None if identity is None else SimpleNamespace(identity=identity)
    x: Any = SimpleNamespace(origin=SimpleNamespace(peer=whom), request=request, path=path.encode())
    assert hooks.request is not None
    for _ in range(2):
        expected = any(admits(entry, identity, method, path, header, address) for entry in said)
        assert hooks.request(x) is (None if expected else NOT_AUTHORIZED)
        assert identity or not expected
