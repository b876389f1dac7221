"""Who calls itself by a name: nobody gets through who has not proved it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.filters.claim import claimed
from tests.filters.asking import ask, get
from tests.peers import BOOKBUYER, Proof, peer, shown
from tests.relay.conversation import answered, config

World = Callable[[], Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

SAID = config(rules=[{"reply": {"status": 204}, "filters": [{"claim": {"header": "ServiceIdentity"}}]}])


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> Proof:
    return Proof(monkeypatch)


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ("spiffe://cluster.local/ns/shop/sa/web", "web.shop"),
        ("spiffe://cluster.local/ns/shop/sa/web.v2", "web.v2.shop"),
        ("spiffe://cluster.local/ns/shop.a/sa/web", None),  # web.shop.a is also web.shop of the namespace a
        ("spiffe://cluster.local/ns/shop/sa/Web", None),
        ("spiffe://cluster.local/ns/shop/sa/", None),
        ("spiffe://cluster.local/ns//sa/web", None),
        ("spiffe://cluster.local/ns/shop/sa/web/x", None),
        ("spiffe://cluster.local/ns/x/shop/sa/web", None),
        ("spiffe://cluster.local/x/shop/sa/web", None),
        ("spiffe://cluster.locale/ns/shop/sa/web", None),
        ("spiffe://other/ns/shop/sa/web", None),
        ("web.shop.cluster.local", "web.shop"),
        ("Web.Shop.Cluster.Local", "web.shop"),
        ("web.v2.shop.cluster.local", "web.v2.shop"),
        ("web.shop.cluster.locale", None),
        ("web.shop.xcluster.local", None),
        ("web.shop", None),
        ("shop.cluster.local", None),
        (".shop.cluster.local", None),
        ("cluster.local", None),
        ("wéb.shop.cluster.local", None),
        ("", None),
    ],
)
def test_what_an_identity_may_call_itself(identity: str, name: str | None) -> None:
    assert claimed(identity, "cluster.local") == (None if name is None else name.encode())


BUYER = peer(BOOKBUYER)
NAMED = peer(dns=("bookbuyer.shop.cluster.local",))
H = "serviceidentity:"


@pytest.mark.parametrize(
    ("who", "fields", "status"),
    [
        (BUYER, [], 204),
        (None, [], 204),
        (BUYER, [f"{H} bookbuyer.shop"], 204),
        (NAMED, [f"{H} bookbuyer.shop"], 204),
        (NAMED, ["SERVICEIDENTITY:BookBuyer.shop  "], 204),
        (BUYER, [f"{H} bookbuyer.shop", f"{H} bookbuyer.shop"], 204),
        (BUYER, [f"{H} bookthief.shop"], 403),
        (BUYER, [f"{H} bookbuyer.shop", f"{H} bookthief.shop"], 403),
        (BUYER, [f"{H} bookthief.shop", f"{H} bookbuyer.shop"], 403),
        (BUYER, [f"{H} bookbuyer.shop, bookthief.shop"], 403),
        (BUYER, [f"{H} bookbuyer.shop.cluster.local"], 403),
        (BUYER, [H], 403),
        (BUYER, [f"{H} bookbuyer.shop", H], 403),
        (BUYER, [f"{H} \xff"], 403),
        (peer(common_name="bookbuyer.shop"), [f"{H} bookbuyer.shop"], 403),
        (None, [f"{H} bookbuyer.shop"], 403),
        (None, [H], 403),
        (shown(None), [f"{H} bookbuyer.shop"], 403),
    ],
)
def test_who_gets_through(run: Run, world: World, proof: Proof, who: Any, fields: list[str], status: int) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(SAID)
        proof.peer = who
        client = await w.connect()
        assert (await ask(client, get("/a", *fields))).status == status
        assert answered(w) == {"204" if status == 204 else "403 FC": 1}

    run(scenario())


def test_the_log_says_who_it_was_and_never_what_it_said(run: Run, world: World, proof: Proof) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(SAID)
        proof.peer = BUYER
        for _ in range(3):
            client = await w.connect()
            refused = await ask(client, get("/a", f"{H} evil\xff.shop"))
            assert (refused.status, refused.body) == (403, b"false claim\n")
        said = [line.partition(" INFO ")[2] for line in w.logged if "claim" in line]
        assert said == [f"false-claim listener=in client=127.0.0.1 identity={BOOKBUYER}\n"]

    run(scenario())
