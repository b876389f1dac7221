"""Who gets which of several clusters: by chance, by a value, by what a request asks for, and step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.relay.http.split import by_weight, first_that_asks, in_steps, point
from tests.filters.asking import ask, get
from tests.relay.conversation import config

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

MANY = 20_000


def within_bounds(count: int, share: float, of: int = MANY) -> bool:
    """Five standard deviations: by chance once in a million."""
    return bool(abs(count - of * share) <= 5 * (of * share * (1 - share)) ** 0.5)


def shares(**weights: int) -> Any:
    return list(weights.items())


@pytest.mark.parametrize("weights", [{"a": 95, "b": 5}, {"a": 1, "b": 0, "c": 2}, {"a": 65535, "b": 65535, "c": 1}])
def test_by_chance_each_has_its_share(weights: dict[str, int]) -> None:
    draw = by_weight(shares(**weights))
    found: Any = Counter(draw(None) for _ in range(MANY))  # type: ignore[arg-type]
    for name, weight in weights.items():
        assert within_bounds(found[name], weight / sum(weights.values())), found


def test_a_value_always_draws_the_same_and_values_have_their_shares() -> None:
    values = [b"user-%d" % number for number in range(MANY)]
    draw: Any = by_weight(shares(a=90, b=10), lambda x: x)  # type: ignore[arg-type,return-value]
    again: Any = by_weight(shares(a=90, b=10), lambda x: x)  # type: ignore[arg-type,return-value]
    drawn = {value: draw(value) for value in values}
    assert all(again(value) == name for value, name in drawn.items())
    assert within_bounds(Counter(drawn.values())["b"], 0.1)
    grown: Any = by_weight(shares(a=50, b=50), lambda x: x)  # type: ignore[arg-type,return-value]
    assert all(grown(value) == "b" for value, name in drawn.items() if name == "b"), "who was in it stays in it"
    assert within_bounds(sum(grown(value) == "b" for value in values), 0.5)


def test_who_has_no_value_draws_by_chance() -> None:
    draw: Any = by_weight(shares(a=50, b=50), lambda _: None)
    assert within_bounds(Counter(draw(None) for _ in range(MANY))["a"], 0.5)


def test_a_point_is_the_same_in_every_process() -> None:
    assert point(b"user-1") == 0.6041924073669338
    assert all(0 <= point(bytes((byte,))) < 1 for byte in range(256))


def test_whoever_asks_comes_before_weights() -> None:
    draw: Any = first_that_asks(
        [(lambda x: x == 1, "one"), (lambda x: x in (1, 2), "two")],  # type: ignore[comparison-overlap,list-item]
        by_weight(shares(rest=1)),
    )
    assert [draw(number) for number in (1, 2, 3)] == ["one", "two", "rest"]


def test_steps_follow_each_other_however_late_anybody_asks() -> None:
    time = [100.0]
    draw: Any = in_steps([(0, lambda _: "a"), (10, lambda _: "b"), (20, lambda _: "c")], 100.0, lambda: time[0])  # type: ignore[list-item,return-value]
    found = []
    for now in (100, 109.9, 110, 110, 119, 500, 501):
        time[0] = now
        found.append(draw(None))
    assert "".join(found) == "aabbbcc"
    late: Any = in_steps([(0, lambda _: "a"), (10, lambda _: "b"), (20, lambda _: "c")], 0.0, lambda: 15.0)  # type: ignore[list-item,return-value]
    assert late(None) == "b"


# In a proxy: clusters without endpoints, told apart by what is counted ------------------------------


def canary(split: Any, listener: Any = None, **rule: Any) -> dict[str, Any]:
    said = config(rules=[{"split": split, **rule}], listener=listener)
    said["clusters"] = {"v1": {"endpoints": []}, "v2": {"endpoints": []}}
    return said


def counted(w: Any) -> dict[str, int]:
    found: Counter[str] = Counter()
    for of_route in w.stats.listeners["in"].answers.values():
        for cluster, stats in of_route.items():
            found[cluster] += sum(stats.requests.values())
    return {name: count for name, count in found.items() if count}


def test_by_a_header_or_a_cookie(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(canary([
            {"cluster": "v2", "headers": {"x-beta": {"exact": "1"}}},
            {"cluster": "v2", "cookies": {"beta": {"prefix": "y"}}, "headers": {"x-off": {"present": False}}},
            {"cluster": "v1"},
        ]))  # fmt: skip
        client = await w.connect()
        others = "X-Beta: 2", "Cookie: a=1; xbeta=yes", "Cookie: beta=no; beta=yes", "Cookie: beta=yes\r\nX-Off: 1"
        for field in others:
            await ask(client, get("/a", field))
        assert counted(w) == {"v1": 4}
        for field in ("X-Beta: 1", "Cookie: a=1; beta=yes", "Cookie: a=1\r\nCookie: beta=y"):
            await ask(client, get("/a", field))
        assert counted(w) == {"v1": 4, "v2": 3}

    run(scenario())


@pytest.mark.parametrize(
    ("by", "fields"),
    [
        ({"header": "X-User"}, "x-user: {}"),
        ({"cookie": "user"}, "Cookie: a=b; user={}"),
        ({"client": True}, "X-Forwarded-For: 192.0.2.{}"),
    ],
)
def test_by_the_hash_of_a_value(run: Run, world: World, by: Any, fields: str) -> None:
    async def scenario() -> None:
        w = world()
        listener = {"http": {"forwarded": {"trusted": ["127.0.0.0/8"]}}}
        await w.apply(canary([{"cluster": "v1"}, {"cluster": "v2"}], listener, split_by=by))
        client = await w.connect()
        seen = Counter[str]()
        for number in range(60):
            before = counted(w)
            for _ in range(3):
                await ask(client, get("/a", fields.format(number)))
            after = counted(w)
            (moved,) = [name for name in after if after[name] != before.get(name, 0)]
            assert after[moved] - before.get(moved, 0) == 3, "the same value draws the same share"
            seen[moved] += 1
        assert min(seen["v1"], seen["v2"]) > 10

    run(scenario())


def test_a_connection_keeps_its_share(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(canary([{"cluster": "v1"}, {"cluster": "v2"}], split_by={"connection": True}))
        seen = Counter[str]()
        for _ in range(60):
            before = counted(w)
            client = await w.connect()
            for _ in range(3):
                await ask(client, get())
            client.close()
            after = counted(w)
            (moved,) = [name for name in after if after[name] != before.get(name, 0)]
            assert after[moved] - before.get(moved, 0) == 3
            seen[moved] += 1
        # By chance, one after the other: where objects lie in memory says nothing.
        assert min(seen["v1"], seen["v2"]) > 10

    run(scenario())


def test_a_client_that_is_not_believed_cannot_choose(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(canary([{"cluster": "v1"}, {"cluster": "v2"}], split_by={"client": True}))
        client = await w.connect()
        for number in range(30):
            await ask(client, get("/a", f"X-Forwarded-For: 192.0.2.{number}"))
        assert list(counted(w).values()) == [30]

    run(scenario())


def test_a_plan_goes_on_over_reloads_that_do_not_change_it(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        steps = [{"after": "0s", "weight": 0}, {"after": "10m", "weight": 1}]
        split: list[dict[str, Any]] = [
            {"cluster": "v1", "weight": 0, "steps": [{"after": 0, "weight": 1}, {"after": "10m", "weight": 0}]},
            {"cluster": "v2", "steps": steps},
        ]
        await w.apply(canary(split))
        client = await w.connect()
        await ask(client, get())
        assert counted(w) == {"v1": 1}
        w.clock.advance(300)
        # >> another timeout, and another rule before it: the plan is the same
        said = canary(split, timeouts={"request": "5s"})
        said["routes"]["web"].insert(0, {"match": {"path": {"exact": "/other"}}, "cluster": "v1", "name": "other"})
        said["routes"]["web"][1]["name"] = "web/0"
        await w.apply(said)
        client = await w.connect()
        await ask(client, get())
        assert counted(w) == {"v1": 2}
        w.clock.advance(299.9)
        await ask(await w.connect(), get())
        assert counted(w) == {"v1": 3}
        w.clock.advance(0.1)
        await ask(await w.connect(), get())
        assert counted(w) == {"v1": 3, "v2": 1}
        # >> another plan begins anew, also on a connection that is there
        split[1]["steps"] = [*steps, {"after": "20m", "weight": 2}]
        client = await w.connect()
        await ask(client, get())
        await w.apply(canary(split, name="web/0"))
        await ask(client, get())
        assert counted(w) == {"v1": 4, "v2": 2}

    run(scenario())
