"""Rules for some clients only, as connections meet them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.filters.asking import ask, get
from tests.peers import BOOKBUYER, BOOKTHIEF, Proof, peer, shown
from tests.relay.conversation import config

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

RULES: list[dict[str, Any]] = [
    {"name": "buyer", "match": {"identities": ["shop/bookbuyer"]}, "reply": {"status": 201}},
    {"name": "by-name", "match": {"identities": ["*.shop"], "methods": ["GET"]}, "reply": {"status": 202}},
    {"name": "anybody", "match": {"path": {"prefix": "/"}}, "reply": {"status": 203}},
]
BUYER, THIEF, NAMED = peer(BOOKBUYER), peer(BOOKTHIEF), peer(dns=("Audit.shop",))


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> Proof:
    return Proof(monkeypatch)


async def status(client: Any, request: bytes = get()) -> int:
    return (await ask(client, request)).status


@pytest.mark.parametrize("order", ["specific", "written"])
@pytest.mark.parametrize("trusted", [[], ["127.0.0.0/8"]])
def test_who_decides_depends_on_who_asks(
    run: Run, world: World, proof: Proof, order: str, trusted: list[str]
) -> None:
    async def scenario() -> None:
        w = world()
        said = config(listener={"http": {"forwarded": {"trusted": trusted}}})
        said["routes"]["web"] = {"order": order, "rules": RULES}
        await w.apply(said)
        for who, wanted in ((BUYER, 201), (THIEF, 203), (NAMED, 202), (None, 203), (shown(None), 203), (BUYER, 201)):
            proof.peer = who
            client = await w.connect()
            # The same bytes of others are remembered with what was decided of them: not here.
            assert [await status(client) for _ in range(3)] == [wanted] * 3
            assert await status(client, get(method="PUT")) == {202: 203}.get(wanted, wanted)
            client.close()

    run(scenario())


def test_where_every_rule_is_for_others_there_is_none(run: Run, world: World, proof: Proof) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(config(rules=RULES[:1]))
        proof.peer = THIEF
        assert await status(await w.connect()) == 404

    run(scenario())


def test_a_connection_has_what_a_reload_says_of_its_client(run: Run, world: World, proof: Proof) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(config(rules=RULES))
        proof.peer = THIEF
        client = await w.connect()
        assert await status(client) == 203
        taken_on = {**RULES[0], "match": {"identities": ["shop/*"]}}
        await w.apply(config(rules=[taken_on, RULES[2]]))
        assert await status(client) == 201
        await w.apply(config(rules=RULES[2:]))
        assert await status(client) == 203

    run(scenario())
