"""Conversations with a listener of dns: the table, the servers, what is kept, and what many do at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.conftest import World
from tests.relay.name_server import NameServer, Question, Stub, framed, told
from tests.wire import dns_messages as dns

Run = Callable[[Coroutine[Any, Any, None]], None]
Opened = list[NameServer | Stub]

ONE_LOOP = True
SERVFAIL, NXDOMAIN = 2, 3
NAMES = {
    "books.shop": ["10.0.0.1", "10.0.0.2", "fd00::1"],
    "*.dev.shop": "10.0.0.9",
    "*.old.dev.shop": "10.0.0.8",
    "_mqtt._tcp.shop": {"srv": {"target": "broker.shop", "port": 1883, "priority": 1, "weight": 5}},
    "empty.shop": [],
}


@pytest.fixture
def opened() -> Iterator[Opened]:
    """What a scenario has opened, and what closes it."""
    found: Opened = []
    yield found
    for each in found:
        each.close()


class Scene:
    """A listener in force, with a server behind it."""

    def __init__(self, world: World, opened: Opened, answer: Callable[[Question], None] | None = None) -> None:
        self.world = world
        self._opened = opened
        self.server = NameServer(answer)
        opened.append(self.server)

    async def begin(self, listener: dict[str, Any] | None = None, **said: Any) -> Stub:
        dns = {"servers": [self.server.address], **said}
        listeners = [{"name": "in", "listen": "127.0.0.1:0", "protocol": "dns", **(listener or {})}]
        await self.world.apply({"listeners": listeners, "dns": dns})
        return self.stub()

    def stub(self) -> Stub:
        found = Stub(self.world)
        self._opened.append(found)
        return found

    def counts(self) -> dict[str, int]:
        return {word: count for word, count in self.world.stats.listeners["in"].dns.items() if count}

    async def asked(self, number: int = 1) -> list[Question]:
        await self.world.until(lambda: len(self.server.asked) >= number)
        assert len(self.server.asked) == number
        return self.server.asked


@pytest.fixture
def scene(world: Callable[[], World], opened: Opened) -> Callable[..., Scene]:
    return lambda answer=None: Scene(world(), opened, answer)


def test_what_stands_in_the_table(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        stub = await s.begin(names=NAMES, ttl="40s", search=["shop"])
        heard = await stub.ask("Books.Shop")
        assert (heard.rcode, heard.flags & 0x0400, heard.addresses) == (0, 0x0400, ["10.0.0.1", "10.0.0.2"])
        assert {(owner, ttl) for owner, _, ttl, _ in heard.answers} == {("Books.Shop", 40)}
        assert (await stub.ask("books.shop", dns.AAAA)).addresses == ["fd00::1"]
        assert (await stub.ask("a.b.dev.shop")).addresses == ["10.0.0.9"]
        assert (await stub.ask("a.old.dev.shop")).addresses == ["10.0.0.8"]
        assert (await stub.ask("books")).addresses == ["10.0.0.1", "10.0.0.2"]
        ((_, kind, _, data),) = (await stub.ask("_mqtt._tcp.shop", dns.SRV)).answers
        assert (kind, data) == (dns.SRV, b"\0\1\0\5\x07\x5b" + dns.name("broker.shop"))
        for name, of_kind in (("empty.shop", dns.A), ("a.dev.shop", dns.AAAA), ("books.shop", dns.HTTPS)):
            heard = await stub.ask(name, of_kind)
            assert (heard.rcode, heard.answers, len(heard.authority)) == (0, [], 1)
        assert s.counts() == {"table": 9}
        assert not s.server.asked

    run(scenario())


def test_what_is_not_in_the_table_is_asked_of_a_server_and_kept(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene(lambda question: question.addresses("192.0.2.1", ttl=60))
        stub = await s.begin(names=NAMES)
        assert (await stub.ask("dev.shop")).addresses == ["192.0.2.1"]
        (asked,) = await s.asked()
        assert (asked.name, asked.heard.flags) == ("dev.shop", 0x0100)
        s.world.clock.advance(59)
        heard = await stub.ask("DEV.shop", id=4711)
        assert (heard.id, heard.asked) == (4711, dns.question("DEV.shop", dns.A))
        assert [(ttl, kind) for _, kind, ttl, _ in heard.answers] == [(1, dns.A)]
        s.world.clock.advance(1)
        assert (await stub.ask("dev.shop")).answers[0][2] == 60
        await s.asked(2)
        assert s.counts() == {"upstream": 2, "cache": 1}

    run(scenario())


def test_another_kind_of_a_name_is_asked_and_the_name_exists(run: Run, scene: Callable[..., Scene]) -> None:
    def answer(question: Question) -> None:
        zone = [dns.zone("shop", 30)]
        question.reply(authority=zone, flags=dns.RESPONSE | dns.NO_SUCH_NAME)

    async def scenario() -> None:
        s = scene(answer)
        stub = await s.begin(names=NAMES)
        for _ in range(2):
            heard = await stub.ask("books.shop", dns.MX)
            assert (heard.rcode, heard.answers, len(heard.authority)) == (0, [], 1)
        heard = await stub.ask("gone.shop", dns.MX)
        assert heard.rcode == NXDOMAIN
        assert (await stub.ask("gone.shop", dns.MX)).rcode == NXDOMAIN
        assert s.counts() == {"upstream": 2, "cache": 2}

    run(scenario())


def test_names_that_are_not_written_do_not_exist(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        stub = await s.begin(names=NAMES, unknown="refuse")
        assert (await stub.ask("example.com")).rcode == NXDOMAIN
        assert (await stub.ask("books.shop", dns.MX)).rcode == 0
        assert (await stub.ask("books.shop")).addresses == ["10.0.0.1", "10.0.0.2"]
        assert s.counts() == {"denied": 1, "table": 2}
        assert not s.server.asked

    run(scenario())


def test_many_who_ask_the_same_are_one_question(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        stubs = [await s.begin(), s.stub(), s.stub()]
        for number, stub in enumerate(stubs):
            stub.send("Books.test" if number else "books.test", id=number)
        await s.world.until(lambda: s.world.stats.listeners["in"].datagrams_received_total == 3)
        (asked,) = await s.asked()
        asked.addresses("192.0.2.1", ttl=0)
        answers = [await stub.receive() for stub in stubs]
        assert [heard.id for heard in answers] == [0, 1, 2]
        assert answers[2].asked == dns.question("Books.test", dns.A)
        assert s.counts() == {"upstream": 1, "shared": 2}
        stubs[0].send("books.test")
        await s.asked(2)

    run(scenario())


def test_nobody_else_can_answer(run: Run, scene: Callable[..., Scene], opened: Opened) -> None:
    async def scenario() -> None:
        s, other = scene(), NameServer()
        opened.append(other)
        stub = await s.begin()
        stub.send("books.test")
        (asked,) = await s.asked()
        answer = dns.message(asked.heard.id, asked.heard.asked, [dns.address("books.test", "6.6.6.6")])
        other.udp.sendto(answer, asked.source)
        asked.reply(dns.address("books.test", "6.6.6.6"), id=asked.heard.id ^ 1)
        asked.say(dns.message(asked.heard.id, dns.question("o.test", dns.A), [dns.address("o.test", "6.6.6.6")]))
        asked.say(b"nonsense")
        asked.reply(dns.address("books.test", "192.0.2.1"), extra=[dns.address("bank.test", "6.6.6.6")])
        assert (await stub.receive()).addresses == ["192.0.2.1"]
        stub.send("bank.test")
        assert (await s.asked(2))[1].source != asked.source
        assert stub.silent

    run(scenario())


def test_servers_are_asked_in_their_order_and_again(run: Run, scene: Callable[..., Scene], opened: Opened) -> None:
    async def scenario() -> None:
        s, second = scene(), NameServer()
        opened.append(second)
        stub = await s.begin(servers=[s.server.address, second.address], timeout="1s")
        stub.send("books.test")
        await s.asked()
        s.world.clock.advance(1)
        await s.world.until(lambda: second.asked)
        second.asked[0].reply(flags=dns.RESPONSE | SERVFAIL)
        (_, again) = await s.asked(2)
        again.addresses("192.0.2.1")
        assert (await stub.receive()).addresses == ["192.0.2.1"]

    run(scenario())


def test_where_no_server_says_anything(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        stub = await s.begin(timeout="1s")
        stub.send("books.test")
        await s.asked()
        s.world.clock.advance(1)
        await s.asked(2)
        s.world.clock.advance(1)
        assert (await stub.receive()).rcode == SERVFAIL
        assert (await stub.ask("books.test")).rcode == SERVFAIL
        assert s.counts() == {"failed": 2}
        assert s.world.clock.pending == 0 or len(s.server.asked) == 2
        s.world.clock.advance(1)
        stub.send("books.test")
        await s.asked(3)

    run(scenario())


def test_a_server_that_is_gone_is_no_reason_to_wait(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene(lambda question: question.addresses("192.0.2.1"))
        gone = NameServer()
        gone.close()
        stub = await s.begin(servers=[gone.address, s.server.address])
        assert (await stub.ask("books.test")).addresses == ["192.0.2.1"]

    run(scenario())


def long(question: Question) -> None:
    if question.over == "udp":
        question.reply(flags=dns.RESPONSE | dns.TRUNCATED)
    else:
        question.addresses(*(f"192.0.2.{number}" for number in range(100)))


def test_a_long_answer_comes_over_tcp(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene(long)
        stub = await s.begin()
        heard = await stub.ask("books.test", size=4096)
        assert (heard.truncated, heard.answers, len(heard.extra)) == (True, [], 1)
        client = await s.world.connect("in", 1)
        await client.send(framed(dns.query("books.test")))
        assert len((await told(client)).addresses) == 100
        assert [question.over for question in s.server.asked] == ["udp", "tcp"]
        assert s.counts() == {"upstream": 1, "cache": 1}

    run(scenario())


def test_many_questions_on_a_connection_are_answered_as_answers_come(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(names=NAMES)
        client = await s.world.connect("in", 1)
        names = ["one.test", "two.test", "books.shop", "x" * 63 + ".test"]
        data = b"".join(framed(dns.query(name, id=number)) for number, name in enumerate(names))
        for place in range(0, len(data), 7):
            await client.send(data[place : place + 7])
        assert (await told(client)).id == 2
        for question in reversed(await s.asked(3)):
            question.addresses("192.0.2.1")
        assert [(await told(client)).id for _ in range(3)] == [3, 1, 0]
        client.end()
        assert await client.recv_all() == b""
        await s.world.until(lambda: s.world.closed() == {"done": 1})
        assert s.world.stats.listeners["in"].bytes_received_total == len(data)

    run(scenario())


def test_who_has_said_its_last_question_still_gets_the_answer(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin()
        client = await s.world.connect("in", 1)
        await client.send(framed(dns.query("books.test")))
        client.end()
        (asked,) = await s.asked()
        asked.addresses("192.0.2.1")
        assert (await told(client)).addresses == ["192.0.2.1"]
        assert await client.recv_all() == b""

    run(scenario())


def test_a_flood_on_a_connection_is_answered_bit_by_bit(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(names=NAMES)
        client = await s.world.connect("in", 1)
        many = [framed(dns.query("books.shop", id=number)) for number in range(1000)]
        await client.send(b"".join(many))
        client.end()
        assert [(await told(client)).id for _ in many] == [*range(1000)]
        assert await client.recv_all() == b""

    run(scenario())


def test_who_reads_no_answers_is_answered_no_further(run: Run, scene: Callable[..., Scene]) -> None:
    """One read of questions is worth hundreds of megabytes of answers that are known."""

    def longest(question: Question) -> None:
        if question.over == "udp":
            question.reply(flags=dns.RESPONSE | dns.TRUNCATED)
        else:
            question.addresses(*["192.0.2.1"] * 2400)

    async def scenario() -> None:
        s = scene(longest)
        await s.begin()
        client = await s.world.connect("in", 1)
        await client.send(framed(dns.query("books.test")))
        await told(client)
        await client.send(framed(dns.query("books.test")) * 600)
        client.end()
        await s.world.until(lambda: s.counts().get("cache", 0) > 10)
        await asyncio.sleep(0.1)
        assert s.counts()["cache"] < 300
        size = 2 + len(dns.query("books.test")) + 2400 * len(dns.address("books.test", "192.0.2.1", 60))
        assert len(await client.recv_all()) == 600 * size

    run(scenario())


def test_a_connection_with_many_questions_under_way_is_not_read(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin()
        client = await s.world.connect("in", 1)
        await client.send(b"".join(framed(dns.query(f"n{number}.test", id=number)) for number in range(100)))
        await s.asked(64)
        await asyncio.sleep(0.02)
        for question in (await s.asked(64))[:10]:
            question.addresses("192.0.2.1")
        await s.asked(74)
        assert {(await told(client)).id for _ in range(10)} == {*range(10)}

    run(scenario())


def test_who_leaves_is_waited_for_by_nobody(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        stub = await s.begin()
        client = await s.world.connect("in", 1)
        await client.send(framed(dns.query("one.test")) + framed(dns.query("both.test")))
        await s.asked(2)
        stub.send("both.test")
        await s.world.until(lambda: s.world.stats.listeners["in"].datagrams_received_total == 1)
        client.reset()
        await s.world.until(lambda: s.world.closed() == {"reset": 1})
        next(question for question in s.server.asked if question.name == "both.test").addresses("192.0.2.1")
        assert (await stub.receive()).addresses == ["192.0.2.1"]
        stub.send("one.test")
        await s.asked(3)

    run(scenario())


def test_a_silent_connection_ends(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(names=NAMES)
        client = await s.world.connect("in", 1)
        for _ in range(2):
            await client.send(framed(dns.query("books.shop")))
            assert (await told(client)).addresses
            s.world.clock.advance(25)
        s.world.clock.advance(15)
        assert await client.recv_all() == b""
        assert s.world.closed() == {"idle": 1}

    run(scenario())


def test_questions_under_way_are_bounded(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        stub = await s.begin(pending=3, names=NAMES)
        for number in range(5):
            stub.send(f"n{number}.test", id=number)
        assert {(await stub.receive()).id for _ in range(2)} == {3, 4}
        assert (await stub.ask("books.shop")).addresses
        for question in await s.asked(3):
            question.addresses("192.0.2.1")
        assert {(await stub.receive()).id for _ in range(3)} == {0, 1, 2}
        assert s.counts() == {"overflow": 2, "table": 1, "upstream": 3}

    run(scenario())


def test_what_is_kept_is_bounded(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene(lambda question: question.addresses("192.0.2.1"))
        stub = await s.begin(cache={"entries": 2})
        for name in ("a", "b", "a", "c", "a", "b"):
            await stub.ask(f"{name}.test")
        assert s.counts() == {"upstream": 4, "cache": 2}

    run(scenario())


def test_the_rate_of_a_listener_holds_for_questions(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        stub = await s.begin({"filters": [{"rate_limit": {"connections": 2, "per": "1h"}}]}, names=NAMES)
        for number in range(5):
            stub.send("books.shop", id=number)
        await s.world.until(lambda: s.world.stats.listeners["in"].datagrams_received_total == 5)
        stats = s.world.stats.listeners["in"]
        await s.world.until(lambda: stats.rejected["rate_limit"] == 3)
        assert {(await stub.receive()).id for _ in range(2)} == {0, 1}
        assert stub.silent

    run(scenario())


def test_a_new_table_holds_at_once_and_what_was_said_stays_known(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        listen = {"listen": "127.0.0.1:0"}
        stub = await s.begin(listen, names=NAMES)
        stub.send("kept.test")
        (asked,) = await s.asked()
        asked.addresses("192.0.2.1")
        await stub.receive()
        stub.send("slow.test", id=99)
        slow = (await s.asked(2))[1]
        await s.begin(listen, names={"books.shop": "10.9.9.9"})
        assert (await stub.ask("books.shop")).addresses == ["10.9.9.9"]
        assert (await stub.ask("kept.test")).addresses == ["192.0.2.1"]
        slow.addresses("192.0.2.2")
        heard = await stub.receive()
        assert (heard.id, heard.addresses) == (99, ["192.0.2.2"])
        await s.begin(listen, servers=["127.0.0.1:9"])
        assert (await stub.ask("kept.test")).rcode == SERVFAIL

    run(scenario())


def test_a_listener_that_goes_still_answers_on_its_connections(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        stub = await s.begin()
        client = await s.world.connect("in", 1)
        stub.send("slow.test")
        await client.send(framed(dns.query("other.test")))
        await s.asked(2)
        await s.world.apply({"listeners": [], "dns": {}})
        s.world.clock.advance(2)
        await s.asked(3)
        s.world.clock.advance(2)
        assert (await told(client)).rcode == SERVFAIL
        assert await client.recv_all() == b""
        client.close()
        await s.world.until(lambda: not s.world.worker._guests.count)
        assert stub.silent

    run(scenario())


def test_a_proxy_that_asks_itself_stops_by_itself(run: Run, scene: Callable[..., Scene], opened: Opened) -> None:
    async def scenario() -> None:
        """What no configuration shows: somebody leads the questions of the proxy back to it."""
        s = scene()
        stub = await s.begin(timeout="1s")
        back = Stub(s.world)
        opened.append(back)
        s.server.answer = lambda question: back.send(question.name)
        stub.send("books.test", id=5)
        await s.asked()
        await s.world.until(lambda: s.world.stats.listeners["in"].datagrams_received_total == 2)
        await asyncio.sleep(0.02)
        assert len(s.server.asked) == 1
        s.world.clock.advance(1)
        await s.asked(2)
        s.world.clock.advance(1)
        assert (await stub.receive()).rcode == SERVFAIL

    run(scenario())


def test_nonsense_is_answered_shortly_or_not_at_all(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        stub = await s.begin()
        stub.sock.send(b"?")
        stub.sock.send(dns.query("a", flags=0x8100))
        stub.sock.send(dns.query("a") + b"\0")
        assert (await stub.receive()).rcode == 1
        assert (await stub.ask("a", dns.AXFR)).rcode == 5
        assert s.counts() == {"ignored": 2, "malformed": 1, "refused": 1}

    run(scenario())
