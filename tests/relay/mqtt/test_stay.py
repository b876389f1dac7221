"""What is told of sessions of MQTT, and of clients that do not come to have one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshproxy.observe.metrics.mqtt import MQTT_ENDED, MQTT_REFUSED
from meshproxy.relay.mqtt.stay import ENDED, REFUSED
from meshproxy.wire.mqtt import V5, V311, Code, Connack, Connect, Disconnect, Property
from tests.conftest import FakeClock
from tests.relay.mqtt.talking import (
    Run,
    Upstream,
    World,
    accepted,
    accounted,
    counted,
    counters,
    dialled,
    meet,
    message,
    relayed,
)
from tests.relay.mqtt.test_authentication import line
from tests.relay.overheard import edges, overheard, why

ONE_LOOP = True

HERE = "127.0.0.1"


def caller(record: Any) -> tuple[str, str, int, int]:
    session = record.session
    return session.client_id, session.user, session.messages_received, session.messages_sent


def test_every_word_that_is_counted_has_a_flag() -> None:
    assert set(REFUSED) == set(MQTT_REFUSED)
    assert set(ENDED) == set(MQTT_ENDED) - {"disconnect"}


@pytest.mark.parametrize("level", [V311, V5], ids=["3.1.1", "5.0"])
def test_a_session_is_told_of_once_and_with_all_that_has_passed(
    run: Run, world: World, upstream: Upstream, clock: FakeClock, level: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        told = overheard(w)
        client, broker = await meet(w, up, level, Connect(level, "boat-7", user="ann", password=b"secret"))
        await client.say(message(), message())
        await broker.heard(message(), message())
        clock.advance(10)
        accounted(w)  # as somebody looks, now and then
        received, sent = edges(w)[HERE, up.address][2:]
        assert received > 0 < sent
        await broker.say(message())
        await client.heard(message())
        assert not told
        await client.say(Disconnect())
        await w.until(lambda: told)
        (record,) = told
        assert why(record) == (f"MQTT/{'5.0' if level == V5 else '3.1.1'}", "", "")
        assert caller(record) == ("boat-7", "ann", 2, 1)
        assert (record.endpoint.name, record.endpoint.cluster, record.attempts) == (up.address, "up", 0)
        assert record.seconds == 10
        # A source is no name that a client has given itself.
        assert edges(w) == {(HERE, up.address): (1, 0, record.received, record.sent)}
        assert record.received > received
        assert record.sent > sent
        assert w.worker.watch.recent.errors.total == 0

    run(scenario())


async def leaves(client: Any, broker: Any, w: Any, clock: FakeClock, how: str) -> None:
    match how:
        case "closed":
            client.close()
        case "reset":
            client.client.reset()
        case "malformed":
            await client.send(b"\x00\x00")
        case "broker":
            broker.close()
        case "keep_alive":
            clock.advance(200)
        case "drain":
            await w.apply({"listeners": [], "clusters": {}})
            clock.advance(100)


@pytest.mark.parametrize(
    ("how", "flag", "reason"),
    [
        ("closed", "DC", "closed"), ("reset", "DC", "reset"), ("malformed", "DPE", "malformed"),
        ("broker", "UC", "broker"), ("keep_alive", "DT", "keep_alive"), ("drain", "DR", "drained"),
    ],
)  # fmt: skip
def test_one_that_is_cut_says_why_and_is_kept(
    run: Run, world: World, upstream: Upstream, clock: FakeClock, how: str, flag: str, reason: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        told = overheard(w)
        client, broker = await meet(w, up, V5, Connect(V5, "boat-7", keep_alive=60, user="ann"))
        await leaves(client, broker, w, clock, how)
        await w.until(lambda: told)
        assert why(told[0]) == ("MQTT/5.0", flag, reason)
        (row,) = w.worker.watch.recent.errors.newest(2)
        assert (row["mqtt_client_id"], row["flags"], row["reason"]) == ("boat-7", [flag], reason)
        assert "ann" not in str(row)

    run(scenario())


def test_a_session_that_moves_is_an_edge_to_each_of_its_brokers(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, one, other = world(), upstream(), upstream()
        await w.apply(relayed(one, other, failover={"within": "30s"}) | {})
        told = overheard(w)
        client = await dialled(w, V311)
        await client.say(Connect(V311, "boat-7"))
        first, then = (one, other) if await first_asked(w, one) else (other, one)
        broker = await accepted(first, V311)
        await broker.hear(Connect)
        await broker.say(Connack(False, 0))
        await client.hear(Connack)
        first.close()
        broker.client.reset()
        next_one = await accepted(then, V311)
        await next_one.hear(Connect)
        await next_one.say(Connack(False, 0))
        await w.until(lambda: counters(w).moved_total == 1)
        await client.say(message())
        await next_one.heard(message())
        await client.say(Disconnect())
        await w.until(lambda: told)
        assert (told[0].endpoint.name, told[0].flags) == (then.address, "")
        found = edges(w)
        assert found[HERE, first.address][:2] == (1, 0)
        assert found[HERE, then.address][:2] == (1, 0)
        assert found[HERE, first.address][2] + found[HERE, then.address][2] == told[0].received
        assert found[HERE, then.address][2] >= len(b"hi")

    run(scenario())


async def first_asked(w: Any, one: Any) -> bool:
    stats = w.stats.clusters["up"]
    await w.until(lambda: any(each.connections_active for each in stats.endpoints.values()))
    return bool(stats.endpoints[one.address].connections_active)


def test_a_broker_that_refuses(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        told = overheard(w)
        client = await dialled(w, V5)
        await client.say(Connect(V5, "boat-7"))
        broker = await accepted(up, V5)
        await broker.hear(Connect)
        await broker.say(Connack(False, Code.NOT_AUTHORIZED))
        await w.until(lambda: told)
        assert why(told[0]) == ("MQTT/5.0", "UR", "refused")
        assert told[0].endpoint.name == up.address
        assert edges(w) == {(HERE, up.address): (1, 1, 0, 0)}

    run(scenario())


def test_no_broker(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        told = overheard(w)
        up.close()
        client = await dialled(w, V311)
        await client.say(Connect(V311, "boat-7"))
        await w.until(lambda: told)
        assert why(told[0]) == ("MQTT/3.1.1", "UF", "connect_failed")
        assert (told[0].endpoint.name, told[0].attempts) == (up.address, 0)
        assert edges(w) == {(HERE, up.address): (1, 1, 0, 0)}
        assert w.worker.watch.recent.errors.total == 1

    run(scenario())


def test_the_name_that_a_broker_has_given(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        told = overheard(w)
        answer = Connack(False, 0, {Property.ASSIGNED_CLIENT_IDENTIFIER: b"auto-1"})
        client, _ = await meet(w, up, V5, Connect(V5, ""), answer)
        await client.say(Disconnect())
        await w.until(lambda: told)
        assert caller(told[0])[0] == "auto-1"

    run(scenario())


@pytest.mark.parametrize(
    ("said", "policy", "flag", "reason"),
    [
        (Connect(V5, "boat-7", user="ann", password=b"wrong"), {}, "AZ", "wrong_password"),
        (Connect(V5, "boat-7", user="eve", password=b"wrong"), {}, "AZ", "unknown_user"),
        (Connect(V5, "boat-7"), {}, "AZ", "no_credentials"),
        (Connect(V5, "boat-7"), {"versions": ["3.1.1"]}, "DPE", "version"),
        (
            Connect(V5, "boat-7", user="ann", password=b"secret"),
            {"sessions": [{"match": {"clients": ["car-*"]}, "cluster": "up"}]}, "NR", "no_way",
        ),
    ],
)  # fmt: skip
def test_who_is_not_let_in(
    run: Run, world: World, upstream: Upstream, tmp_path: Path, said: Connect, policy: Any, flag: str, reason: str
) -> None:
    async def scenario() -> None:
        w, up, users = world(), upstream(), tmp_path / "users"
        users.write_text(line("ann", "secret"))
        await w.apply(relayed(up, authenticate=[{"users": str(users)}], **policy))
        told = overheard(w)
        client = await dialled(w, V5)
        await client.say(said)
        await client.hear(Connack)
        await w.until(lambda: told)
        assert why(told[0]) == ("MQTT/5.0", flag, reason)
        # Whom it has called itself is nobody's business; whom it has proved to be is.
        assert caller(told[0]) == ("boat-7", "ann" if reason == "no_way" else "", 0, 0)
        assert told[0].received > 0 < told[0].sent

    run(scenario())


def test_who_only_looks_whether_somebody_is_here_is_not_told_of(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        told = overheard(w)
        client = await dialled(w, V5)
        client.close()
        await w.until(lambda: counted(counters(w).refused) == {"closed": 1})
        client = await dialled(w, V5)
        await client.send(b"GET / HTTP/1.1\r\n\r\n")
        await w.until(lambda: told)
        assert [why(record) for record in told] == [("MQTT", "DPE", "malformed")]

    run(scenario())


def test_a_line_of_a_session_has_keys_that_others_have_not(
    run: Run, world: World, upstream: Upstream, tmp_path: Path, clock: FakeClock
) -> None:
    async def scenario() -> None:
        w, up, log = world(), upstream(), tmp_path / "access.log"
        await w.apply(relayed(up) | {"access_log": {"to": {"file": str(log)}}})
        client, broker = await meet(w, up, V5, Connect(V5, 'a"\n', user="ann"))
        await client.say(message(), Disconnect())
        await broker.heard(message(), Disconnect())
        await w.until(lambda: counters(w).sessions_active == 0)
        clock.advance(2)
        await w.until(lambda: log.exists() and log.read_bytes().endswith(b"\n"))
        told = json.loads(log.read_text())
        said = {key: told[key] for key in ("mqtt_client_id", "mqtt_user", "messages_received", "messages_sent")}
        assert said == {"mqtt_client_id": 'a"\n', "mqtt_user": "ann", "messages_received": 1, "messages_sent": 0}
        assert (told["protocol"], told["upstream_host"], told["method"]) == ("MQTT/5.0", up.address, None)

    run(scenario())
