"""What no client and no broker should say, said to a listener: refused by name, and the others do not notice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from meshproxy.wire.mqtt import (
    CONNECT,
    PINGREQ_BYTES,
    PUBACK,
    PUBREC,
    PUBREL,
    V5,
    V311,
    Ack,
    Auth,
    Code,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Pong,
    Property,
    Suback,
    Unsuback,
    Unsubscribe,
    decode,
)
from meshproxy.wire.mqtt.codes import CODES, DISCONNECT
from tests.conftest import FakeClock
from tests.relay.mqtt.talking import (
    Peer,
    Run,
    Upstream,
    World,
    accepted,
    asking,
    counted,
    counters,
    dialled,
    meet,
    message,
    relayed,
    words,
)
from tests.wire.test_mqtt_malformed import CASES

ONE_LOOP = True

BOTH = pytest.mark.parametrize("level", [V311, V5], ids=["3.1.1", "5.0"])
FROM_SERVERS = (2, 9, 11, 13)
GOODBYE = words(V311, Disconnect())


async def refused(w: Any, client: Peer, level: int, code: Code | None) -> None:
    """With this code in the CONNACK; None: without one."""
    got = await client.rest()
    if code is None:
        assert got == b""
    else:
        assert decode(level, got, 0, 2, len(got)) == Connack(False, code)
    client.close()
    await w.until(lambda: not w.stats.listeners["in"].connections_active)


OPENINGS = [case for case in CASES if case[2][0] >> 4 == CONNECT]
OTHERS = [case for case in CASES if case[2][0] >> 4 != CONNECT and case[2][0] >> 4 not in FROM_SERVERS]


def test_each_malformed_connect_is_refused(run: Run, world: World, upstream: Upstream) -> None:
    """In 5.0 with the reason; in 3.1.1, where there is a word for it."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        before = 0
        for name, level, data, code, word in OPENINGS:
            client = await dialled(w, level)
            await client.send(data)
            five = data.startswith(b"\0\4MQTT\5", data.index(b"\0"))
            said = {"unknown_version": 1, "bad_client_id": 2}.get(word) if not five else code
            await refused(w, client, V5 if five else V311, said)  # type: ignore[arg-type]
            stats = counters(w)
            assert (sum(stats.malformed.values()), stats.refused["malformed"]) == (before + 1, before + 1), name
            assert stats.malformed[word], name
            before += 1
        assert before > 30
        assert not w.stats.clusters["up"].connections_total

    run(scenario())


def test_each_malformed_packet_ends_the_session(run: Run, world: World, upstream: Upstream) -> None:
    """In 5.0 the client hears why; the broker takes it for a client that has died."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        seen: dict[str, int] = {}
        for name, level, data, code, word in OTHERS:
            client, broker = await meet(w, up, level)
            await client.send(words(level, message()) + data + words(level, message("never")))
            said = code if code in CODES[DISCONNECT] else Code.UNSPECIFIED_ERROR
            if name == "neither a topic nor an alias":
                said = Code.TOPIC_NAME_INVALID
            assert await client.rest() == (words(V5, Disconnect(said)) if level == V5 else b""), name
            await broker.heard(message())
            assert await broker.ended(), name
            seen[word] = seen.get(word, 0) + 1
            assert counters(w).malformed == seen, name
            client.close()
            broker.close()
        assert sum(seen.values()) > 90
        await w.until(lambda: w.closed() == {"error": sum(seen.values())})
        assert w.stats.clusters["up"].connections_active == 0

    run(scenario())


@pytest.mark.parametrize(
    ("data", "code", "word"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", None, "not_mqtt"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", None, "bad_flags"),
        (b"SSH-2.0-x\r\n", None, "not_mqtt"),
        (PINGREQ_BYTES, None, "not_mqtt"),
        (words(V5, message()), None, "not_mqtt"),
        (b"\x00", None, "bad_type"),
        (b"\x10\xff\xff\xff\xff\x01", None, "bad_length"),
        (b"\x10\xff\xff\xff\x7f", None, "too_large"),
    ],
)
def test_what_begins_otherwise_is_refused_at_once(
    run: Run, world: World, upstream: Upstream, data: bytes, code: Any, word: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client = await dialled(w, V311)
        await client.send(data)
        await refused(w, client, V311, code)
        assert counters(w).malformed == {word: 1}

    run(scenario())


@pytest.mark.parametrize(
    ("said", "policy", "code", "word"),
    [
        (Connect(V311, "x" * 129), {}, 2, "client_id"),
        (Connect(V5, "x" * 129), {}, Code.CLIENT_IDENTIFIER_NOT_VALID, "client_id"),
        (Connect(V311, "\N{SNOWMAN}" * 4), {"limits": {"client_id": 3}}, 2, "client_id"),
        (Connect(V311, "x"), {"versions": ["5"]}, 1, "version"),
        (Connect(V5, "x"), {"versions": ["3.1.1"]}, Code.UNSUPPORTED_PROTOCOL_VERSION, "version"),
    ],
)
def test_who_may_not_be_let_in_is_told_so(
    run: Run, world: World, upstream: Upstream, said: Connect, policy: Any, code: Any, word: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, **policy))
        client = await dialled(w, said.level)
        await client.say(said)
        await refused(w, client, said.level, code)
        assert counted(counters(w).refused) == {word: 1}
        assert not w.stats.clusters["up"].connections_total

    run(scenario())


@pytest.mark.parametrize("begun", [b"", b"\x10", words(V5, Connect(V5, "boat"))[:-1]])
def test_a_connect_has_to_come_in_time(
    run: Run, world: World, upstream: Upstream, clock: FakeClock, begun: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, limits={"connect": "3s"}))
        client = await dialled(w, V5)
        await client.send(begun)
        await w.until(lambda: w.stats.listeners["in"].connections_active)
        for _ in range(5):
            await asyncio.sleep(0.001)
        clock.advance(2.9)
        assert not counted(counters(w).refused)
        clock.advance(0.2)
        await refused(w, client, V5, None)
        assert counted(counters(w).refused) == {"timeout": 1}

    run(scenario())


@pytest.mark.parametrize("end", ["end", "reset"])
def test_who_leaves_before_the_connect_is_forgotten(run: Run, world: World, upstream: Upstream, end: str) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client = await dialled(w, V5)
        await client.send(b"\x10")
        await w.until(lambda: w.stats.listeners["in"].connections_active)
        await asyncio.sleep(0.005)
        getattr(client.client, end)()
        await w.until(lambda: not w.stats.listeners["in"].connections_active)
        assert counted(counters(w).refused) == {"closed" if end == "end" else "reset": 1}

    run(scenario())


def ending(level: int, code: Code) -> bytes:
    return words(V5, Disconnect(code)) if level == V5 else b""


@BOTH
@pytest.mark.parametrize(
    ("data", "code", "word"),
    [
        (words(V311, Connect(V311, "again")), Code.PROTOCOL_ERROR, "bad_type"),
        (b"\0\0", Code.MALFORMED_PACKET, "bad_type"),
        (words(V311, Connack(False, 0)), Code.PROTOCOL_ERROR, "bad_type"),
        (words(V311, Suback(1, (0,))), Code.PROTOCOL_ERROR, "bad_type"),
        (words(V311, Pong()), Code.PROTOCOL_ERROR, "bad_type"),
    ],
    ids=["CONNECT", "type 0", "CONNACK", "SUBACK", "PINGRESP"],
)
def test_what_a_client_may_not_say(
    run: Run, world: World, upstream: Upstream, level: int, data: bytes, code: Code, word: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client, broker = await meet(w, up, level)
        if data[0] >> 4 in (2, 9) and level == V5:
            data_ = data[:1] + bytes((data[1] + 1,)) + data[2:4] + b"\0" + data[4:]
        else:
            data_ = data
        await client.send(data_)
        assert await client.rest() == ending(level, code)
        assert await broker.ended()
        assert sum(counters(w).malformed.values()) == 1

    run(scenario())


def test_no_aliases_but_those_that_are_given(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, limits={"topic_aliases": 3}))
        for topic, alias, code in (
            ("a", 4, Code.TOPIC_ALIAS_INVALID),
            ("a", 0, Code.TOPIC_ALIAS_INVALID),
            ("", 2, Code.PROTOCOL_ERROR),
        ):
            client, broker = await meet(w, up)
            await client.say(message(topic, properties={Property.TOPIC_ALIAS: alias}))
            assert await client.rest() == ending(V5, code)
            assert await broker.ended()
        assert counters(w).malformed == {"bad_value": 3}

    run(scenario())


def test_a_subscription_identifier_is_for_servers_to_say(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client, broker = await meet(w, up)
        await client.say(message("a", properties={Property.SUBSCRIPTION_IDENTIFIER: (1,)}))
        assert await client.rest() == ending(V5, Code.PROTOCOL_ERROR)
        assert await broker.ended()
        assert counters(w).malformed == {"foreign_property": 1}

    run(scenario())


@BOTH
@pytest.mark.parametrize("first", ["publish", "subscribe", "unsubscribe"])
@pytest.mark.parametrize("second", ["publish", "release", "subscribe", "unsubscribe"])
def test_a_packet_id_that_is_in_use(
    run: Run, world: World, upstream: Upstream, level: int, first: str, second: str
) -> None:
    said: dict[str, Packet] = {
        "publish": message(qos=1, number=5),
        "release": message(qos=2, number=5),
        "subscribe": asking(5, "a", "b"),
        "unsubscribe": Unsubscribe(5, (b"c", b"d")),
    }
    in_use = Code.PACKET_ID_IN_USE
    told: dict[str, Packet] = {
        "publish": Ack(PUBACK, 5, in_use),
        "release": Ack(PUBREC, 5, in_use),
        "subscribe": Suback(5, (in_use, in_use)),
        "unsubscribe": Unsuback(5, (in_use, in_use)),
    }

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client, broker = await meet(w, up, level)
        await client.say(said[first], said[second], Ping())
        if level == V5:
            await client.heard(told[second])
            await broker.heard(said[first], Ping())
        else:
            assert await client.rest() == b""
            await broker.heard(said[first])
            assert await broker.ended()
            assert counters(w).malformed == {"bad_id": 1}

    run(scenario())


def test_the_same_message_once_more_is_nothing_new(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client, broker = await meet(w, up, V311)
        await client.say(message(qos=2, number=5), message(qos=2, number=5, dup=True), Ping())
        await broker.heard(message(qos=2, number=5), Ping())

    run(scenario())


def test_more_in_flight_than_may_be(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, limits={"in_flight": 3}))
        client, broker = await meet(w, up, V5)
        some = [message(qos=1 + number % 2, number=number) for number in range(1, 4)]
        await client.say(*some)
        await broker.heard(*some)
        # One is over, so that there is room for another
        await broker.say(Ack(PUBREC, 1, Code.QUOTA_EXCEEDED))
        await client.heard(Ack(PUBREC, 1, Code.QUOTA_EXCEEDED))
        await client.say(message(qos=1, number=4))
        await broker.heard(message(qos=1, number=4))
        # The PUBREL does not count as another one
        await broker.say(Ack(PUBREC, 3))
        await client.heard(Ack(PUBREC, 3))
        await client.say(Ack(PUBREL, 3))
        await broker.heard(Ack(PUBREL, 3))
        await client.say(message(qos=1, number=9))
        assert await client.rest() == ending(V5, Code.RECEIVE_MAXIMUM_EXCEEDED)
        assert counted(counters(w).ended) == {"in_flight": 1}

    run(scenario())


def test_one_of_3_1_1_that_has_not_been_told_is_read_later(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, limits={"in_flight": 3}))
        client, broker = await meet(w, up, V311)
        for number in range(1, 4):
            await client.say(message(qos=1, number=number))
            await broker.heard(message(qos=1, number=number))
        await client.say(message(qos=1, number=4))
        assert await broker.silent()
        await broker.say(Ack(PUBACK, 2))
        await client.heard(Ack(PUBACK, 2))
        await broker.heard(message(qos=1, number=4))

    run(scenario())


@BOTH
def test_a_flood_of_subscriptions(run: Run, world: World, upstream: Upstream, level: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, limits={"subscriptions": 3, "in_flight": 100}))
        client, broker = await meet(w, up, level)
        full = Code.QUOTA_EXCEEDED if level == V5 else 0x80
        # In one packet
        await client.say(asking(1, "a", "b"), asking(2, "c", "d", "e"), asking(3, "f"))
        await broker.heard(asking(1, "a", "b"), asking(2, "c"))
        await client.heard(Suback(3, (full,)))
        await broker.say(Suback(1, (0, 0x80)), Suback(2, (1,)))
        await client.heard(Suback(1, (0, 0x80)), Suback(2, (1, full, full)))
        # `b` was refused: there is room for one.  What is held may be asked for again.
        await client.say(asking(4, "a", "c", "g", "h"))
        await broker.heard(asking(4, "a", "c", "g"))
        await broker.say(Suback(4, (0, 0, 0)))
        await client.heard(Suback(4, (0, 0, 0, full)))
        await client.say(Unsubscribe(5, (b"a",)), asking(6, "i"))
        await broker.heard(Unsubscribe(5, (b"a",)), asking(6, "i"))
        assert counted(counters(w).denied) == {"subscriptions": 4}

    run(scenario())


def test_nobody_has_begun_to_authenticate(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client, broker = await meet(w, up)
        await client.say(Auth(Code.REAUTHENTICATE, {Property.AUTHENTICATION_METHOD: b"plain"}))
        assert await client.rest() == ending(V5, Code.PROTOCOL_ERROR)
        assert await broker.ended()

    run(scenario())


# Brokers


async def met_badly(w: Any, up: Any, level: int, answer: bytes | None) -> Peer:
    """A client whose broker says this instead of a CONNACK; None: it goes away."""
    client = await dialled(w, level)
    await client.say(Connect(level, "a"))
    broker = await accepted(up, level)
    await broker.hear(Connect)
    if answer is None:
        broker.client.reset()
    else:
        await broker.send(answer)
        assert await broker.ended()
        broker.close()
    return client


@BOTH
@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"\0", words(V311, message()), b"\x20\x02\x04\x00", None])
def test_a_broker_that_says_something_else(
    run: Run, world: World, upstream: Upstream, level: int, answer: bytes | None
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client = await met_badly(w, up, level, answer)
        said = Code.SERVER_UNAVAILABLE if level == V5 else 3
        await refused(w, client, level, said)  # type: ignore[arg-type]
        assert counted(counters(w).ended) == {"no_broker": 1}
        assert w.stats.clusters["up"].connections_active == 0

    run(scenario())


def test_a_broker_that_says_nothing(run: Run, world: World, upstream: Upstream, clock: FakeClock) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, limits={"connect": "3s"}))
        client = await dialled(w, V5)
        await client.say(Connect(V5, "a"))
        broker = await accepted(up, V5)
        await broker.hear(Connect)
        clock.advance(3.1)
        assert await broker.ended()
        await refused(w, client, V5, Code.SERVER_UNAVAILABLE)

    run(scenario())


def test_a_client_that_leaves_before_the_broker_answers(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client = await dialled(w, V5)
        await client.say(Connect(V5, "a"))
        broker = await accepted(up, V5)
        await broker.hear(Connect)
        client.client.reset()
        assert await broker.ended()
        assert counted(counters(w).ended) == {"reset": 1}
        assert (counters(w).sessions_total, counters(w).sessions_active) == (0, 0)

    run(scenario())


@BOTH
def test_a_broker_that_refuses(run: Run, world: World, upstream: Upstream, level: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        code = Code.BANNED if level == V5 else 5
        client = await met_badly(w, up, level, words(level, Connack(False, code)))
        await refused(w, client, level, code)  # type: ignore[arg-type]
        assert counted(counters(w).ended) == {"refused": 1}
        assert (counters(w).sessions_total, counters(w).sessions_active) == (0, 0)

    run(scenario())


@BOTH
@pytest.mark.parametrize(
    "data",
    [
        b"\0\0",
        b"\x36\x05\x00\x01a\x00\x01",
        b"\x90\x02\x00\x01",
        b"\x40\x02\x00\x00\x40\x01\x00",
        words(V311, Connect(V311, "a")),
        words(V311, Ping()),
        b"\x20\x02\x00\x00",
        b"\x20\x03\x00\x00\x00",
    ],
    ids=["type 0", "QoS 3", "no codes", "id 0", "CONNECT", "PINGREQ", "CONNACK", "CONNACK of 5.0"],
)
def test_a_broker_that_goes_mad(run: Run, world: World, upstream: Upstream, level: int, data: bytes) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client, broker = await meet(w, up, level)
        await broker.send(words(level, message()) + data + words(level, message("never")))
        assert await broker.ended()
        got = await client.rest()
        end = ending(level, Code.SERVER_BUSY)
        assert got.endswith(end)
        assert got[: len(got) - len(end)] in (b"", words(level, message()), words(level, message()) + data[:4])
        assert counted(counters(w).ended) == {"broker": 1}

    run(scenario())


@BOTH
def test_a_broker_that_closes(run: Run, world: World, upstream: Upstream, level: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client, broker = await meet(w, up, level)
        await broker.say(message())
        broker.close()
        assert await client.rest() == words(level, message()) + ending(level, Code.SERVER_BUSY)
        assert counted(counters(w).ended) == {"broker": 1}

    run(scenario())


def test_why_a_broker_ends_it_is_told(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client, broker = await meet(w, up)
        said = Disconnect(Code.SERVER_SHUTTING_DOWN, {Property.REASON_STRING: b"gone fishing"})
        await broker.say(said)
        assert await client.rest() == words(V5, said)
        assert await broker.ended()

    run(scenario())
