"""A name is resolved: which servers are asked, what is believed of them, and for how long they are waited for."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from meshproxy.discovery.dns import Answer, ResolveError, Resolver, Settings
from meshproxy.discovery.dns.resolver import MOST_QUESTIONS
from meshproxy.model import Address
from meshproxy.wire.dns import name
from tests.conftest import FakeClock
from tests.discovery.conftest import until
from tests.discovery.servers import Asked, Server, framed
from tests.wire import dns_messages as dns

Run = Callable[[Coroutine[Any, Any, None]], None]
Serve = Callable[..., Server]

BOTH = [("books.shop", "A"), ("books.shop", "AAAA")]


def silence(_: Asked) -> Sequence[bytes]:
    return []


def books(asked: Asked) -> Sequence[bytes]:
    return [asked.addresses("10.0.0.2", "fd00::1", "10.0.0.1")]


def with_rcode(rcode: int, *extra: bytes) -> Callable[[Asked], Sequence[bytes]]:
    return lambda asked: [asked.reply(flags=dns.RESPONSE | rcode, extra=extra)]


def resolver(clock: FakeClock, *servers: Server, **settings: Any) -> Resolver:
    addresses = tuple(server.address for server in servers)
    return Resolver(asyncio.get_running_loop(), clock, Settings(addresses, **settings))


async def refusal(answer: Coroutine[Any, Any, Answer]) -> ResolveError:
    with pytest.raises(ResolveError) as refused:
        await answer
    return refused.value


@pytest.fixture(autouse=True)
def nothing_left(clock: FakeClock) -> Iterator[None]:
    """Whatever became of a name, there is no timer after it."""
    yield
    assert clock.pending == 0


# What is asked, and of whom


def test_both_families_are_asked_for_at_once(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        server = serve(silence)
        answer = asyncio.create_task(resolver(clock, server).resolve("Books.shop"))
        await until(lambda: len(server.asked) == 2)
        assert sorted(server.heard()) == BOTH
        for asked in server.asked:
            server.udp.sendto(books(asked)[0], asked.source)
        assert await answer == Answer(("10.0.0.1", "10.0.0.2", "fd00::1"), 60)

    run(scenario())


def test_every_question_has_a_port_and_an_id_of_its_own(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        server = serve(silence)
        asking = [asyncio.create_task(resolver(clock, server).resolve("books.shop")) for _ in range(8)]
        await until(lambda: len(server.asked) == 16)
        assert len({asked.source for asked in server.asked}) == 16
        assert len({asked.id for asked in server.asked}) > 12
        for each in asking:
            each.cancel()
        await asyncio.wait(asking)

    run(scenario())


def test_the_shortest_ttl_of_both_counts(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        server = serve(lambda asked: [asked.addresses("10.0.0.1", "::1", ttl={"A": 40, "AAAA": 30}[asked.kind])])
        assert (await resolver(clock, server).resolve("books.shop")).ttl == 30
        server.say = lambda asked: [asked.addresses("10.0.0.1", ttl=40)]
        assert await resolver(clock, server).resolve("books.shop") == Answer(("10.0.0.1",), 40)

    run(scenario())


def test_over_ipv6(run: Run, clock: FakeClock, serve: Serve) -> None:
    with contextlib.closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("there is no IPv6 here")

    async def scenario() -> None:
        def say(asked: Asked) -> Sequence[bytes]:
            if asked.transport == "udp":
                return [asked.reply(flags=dns.RESPONSE | dns.TRUNCATED)]
            return [framed(books(asked)[0])]

        assert len((await resolver(clock, serve(say, "::1")).resolve("books.shop")).addresses) == 3

    run(scenario())


def test_the_hosts_file_comes_first(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        server = serve(books)
        it = resolver(clock, server, hosts={"books.shop": ("fd00::9", "10.0.0.9"), "blocked": ("0.0.0.0",)})
        assert await it.resolve("Books.Shop.") == Answer(("10.0.0.9", "fd00::9"), math.inf)
        error = await refusal(it.resolve("blocked"))
        assert str(error) == "blocked: it has no usable address in the hosts file"
        assert server.asked == []
        assert (await it.resolve("other.shop")).ttl == 60

    run(scenario())


def test_this_host_is_known_without_a_file(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        server = serve(books)
        assert await resolver(clock, server).resolve("localhost") == Answer(("127.0.0.1", "::1"), math.inf)
        assert server.asked == []

    run(scenario())


@pytest.mark.parametrize("text", ["", "10.0.0.1", "::1", "a b", "a..b"])
def test_what_is_no_name_is_asked_of_nobody(run: Run, clock: FakeClock, serve: Serve, text: str) -> None:
    async def scenario() -> None:
        server = serve(books)
        error = await refusal(resolver(clock, server).resolve(text))
        assert "a name must be a host name such as books.shop.local, not" in str(error)
        assert server.asked == []

    run(scenario())


def test_search_domains(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        known = {"books.svc.local": "10.0.0.1", "a.b": "10.0.0.2"}

        def say(asked: Asked) -> Sequence[bytes]:
            return [asked.addresses(known[asked.name]) if asked.name in known else asked.no_such_name()]

        server = serve(say)
        it = resolver(clock, server, search=(name("shop.svc.local"), name("svc.local")), ndots=1)
        assert (await it.resolve("books")).addresses == ("10.0.0.1",)
        assert list(dict(server.heard())) == ["books.shop.svc.local", "books.svc.local"]
        server.asked.clear()
        assert (await it.resolve("a.b")).addresses == ("10.0.0.2",)
        assert list(dict(server.heard())) == ["a.b"]
        server.asked.clear()
        assert str(await refusal(it.resolve("books."))) == "books.: there is no such name"
        assert list(dict(server.heard())) == ["books"]

    run(scenario())


def test_where_nobody_says_that_a_name_is_absent_the_next_one_is_not_asked_for(
    run: Run, clock: FakeClock, serve: Serve
) -> None:
    """It would be another host."""

    async def scenario() -> None:
        server = serve(lambda asked: books(asked) if asked.name == "books" else with_rcode(2)(asked))
        error = await refusal(resolver(clock, server, search=(name("shop"),)).resolve("books"))
        assert str(error) == f"books: {server.address}: SERVFAIL"
        assert error.certain == 0
        assert set(server.heard()) == set(BOTH)

    run(scenario())


# What there is not


def test_no_such_name_and_no_address_are_certain_for_a_time(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        first, second = serve(lambda asked: [asked.no_such_name(20)]), serve(books)
        error = await refusal(resolver(clock, first, second).resolve("books.shop"))
        assert (str(error), error.certain) == ("books.shop: there is no such name", 20)
        first.say = lambda asked: [asked.addresses()]
        error = await refusal(resolver(clock, first, second).resolve("books.shop"))
        assert (str(error), error.certain) == ("books.shop: it has no usable address", 30)
        assert second.asked == []

    run(scenario())


def test_an_address_that_nobody_can_connect_to_is_none(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        server = serve(lambda asked: [asked.addresses("0.0.0.0", "::", "224.0.0.1", "ff02::1")])
        error = await refusal(resolver(clock, server).resolve("books.shop"))
        assert str(error) == "books.shop: it has no usable address"
        server.say = lambda asked: [asked.addresses("0.0.0.0", "10.0.0.1")]
        assert (await resolver(clock, server).resolve("books.shop")).addresses == ("10.0.0.1",)

    run(scenario())


@pytest.mark.parametrize(("kind", "missing", "kept"), [("A", 4, "fd00::1"), ("AAAA", 6, "10.0.0.1")])
def test_one_family_of_which_nobody_says_anything(
    run: Run, clock: FakeClock, serve: Serve, kind: str, missing: int, kept: str
) -> None:
    async def scenario() -> None:
        def say(asked: Asked) -> Sequence[bytes]:
            return with_rcode(2)(asked) if asked.kind == kind else [asked.addresses("10.0.0.1", "fd00::1")]

        server = serve(say)
        assert await resolver(clock, server).resolve("books.shop") == Answer((kept,), 60, missing)

    run(scenario())


def test_no_address_in_one_family_and_silence_of_the_other_is_a_failure(
    run: Run, clock: FakeClock, serve: Serve
) -> None:
    async def scenario() -> None:
        server = serve(lambda asked: with_rcode(5)(asked) if asked.kind == "A" else [asked.addresses()])
        error = await refusal(resolver(clock, server).resolve("books.shop"))
        assert str(error) == f"books.shop: {server.address}: REFUSED"

    run(scenario())


# Whom not to believe


def test_datagrams_that_are_not_the_answer_are_passed_over(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        def say(asked: Asked) -> Sequence[bytes]:
            evil = replace(asked, id=asked.id ^ 1).addresses("6.6.6.6", "66::6")
            other = replace(asked, name="other.shop").addresses("6.6.6.6", "66::6")
            kind = replace(asked, kind={"A": "AAAA", "AAAA": "A"}[asked.kind]).addresses("6.6.6.6", "66::6")
            lies = [evil, other, kind, b"", b"x", books(asked)[0][:-1], books(asked)[0] + b"x", bytes(1400)]
            return [*lies, *books(asked), evil]

        assert "6.6.6.6" not in (await resolver(clock, serve(say)).resolve("books.shop")).addresses

    run(scenario())


def test_nobody_but_the_server_is_heard(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        server = serve(silence)
        answer = asyncio.create_task(resolver(clock, server).resolve("books.shop"))
        await until(lambda: len(server.asked) == 2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for asked in server.asked:
                # On the way to a closed door the kernel may say so at once, or nothing.
                with contextlib.suppress(ConnectionRefusedError):
                    stranger.sendto(asked.addresses("6.6.6.6", "66::6"), asked.source)
        for asked in server.asked:
            server.udp.sendto(books(asked)[0], asked.source)
        assert "6.6.6.6" not in (await answer).addresses

    run(scenario())


def test_a_flood_of_lies_holds_up_nobody_and_ends_in_time(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        server = serve(lambda asked: [replace(asked, id=asked.id ^ 1).addresses("6.6.6.6")] * 100)
        answer = asyncio.create_task(resolver(clock, server, attempts=1).resolve("books.shop"))
        await until(lambda: len(server.asked) == 2)
        turns = 0
        while not answer.done():
            turns += 1
            await asyncio.sleep(0)
            clock.advance(0.1)
        assert turns >= 50
        with pytest.raises(ResolveError) as refused:
            await answer
        words = f"{server.address}: no answer within 5 s, only something else: another id"
        assert str(refused.value) == f"books.shop: {words}"

    run(scenario())


# Who does not answer


def test_silent_servers_are_asked_in_turn_and_as_often_as_the_settings_say(
    run: Run, clock: FakeClock, serve: Serve
) -> None:
    async def scenario() -> None:
        servers = [serve(silence), serve(silence)]
        began = clock.now()
        answer = asyncio.create_task(resolver(clock, *servers, timeout=3, attempts=2).resolve("books.shop"))
        for turn in range(1, 5):
            await until(lambda: sum(len(server.asked) for server in servers) == 2 * turn)  # noqa: B023
            assert [len(server.asked) for server in servers] == [(turn + 1) // 2 * 2, turn // 2 * 2]
            clock.advance(2.9)
            assert not answer.done()
            clock.advance(0.1)
        error = await refusal(_of(answer))
        one, other = (f"{server.address}: no answer within 3 s" for server in servers)
        assert str(error) == f"books.shop: {one}; {other}"
        assert clock.now() - began == pytest.approx(12)
        assert sorted(servers[0].heard()) == sorted(BOTH * 2)

    run(scenario())


async def _of(task: asyncio.Task[Answer]) -> Answer:
    return await task


def test_an_answer_to_the_second_attempt(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        server = serve(silence)
        answer = asyncio.create_task(resolver(clock, server).resolve("books.shop"))
        await until(lambda: len(server.asked) == 2)
        late = list(server.asked)
        server.say = books
        clock.advance(5)
        assert len((await answer).addresses) == 3
        for asked in late:
            server.udp.sendto(books(asked)[0], asked.source)

    run(scenario())


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (with_rcode(1), "FORMERR"),
        (with_rcode(2), "SERVFAIL"),
        (with_rcode(4), "NOTIMP"),
        (with_rcode(5), "REFUSED"),
        (with_rcode(11), "code 11"),
        (with_rcode(0, dns.edns(16)), "BADVERS"),
        (lambda asked: [asked.reply(flags=0x8000)], "it does not ask other servers"),
        (lambda asked: [asked.reply(dns.alias("books.shop", "books.shop"))], "more than 16 aliases in a row"),
    ],
)
def test_a_server_that_has_no_answer_to_give(
    run: Run, clock: FakeClock, serve: Serve, say: Callable[[Asked], Sequence[bytes]], words: str
) -> None:
    async def scenario() -> None:
        useless, good = serve(say), serve(books)
        assert len((await resolver(clock, useless, good).resolve("books.shop")).addresses) == 3
        error = await refusal(resolver(clock, useless).resolve("books.shop"))
        assert str(error) == f"books.shop: {useless.address}: {words}"

    run(scenario())


def test_no_server_at_all_is_known_at_once(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        gone, good = serve(books), serve(books)
        asyncio.get_running_loop().remove_reader(gone.udp.fileno())
        gone.close()
        assert len((await resolver(clock, gone, good).resolve("books.shop")).addresses) == 3
        error = await refusal(resolver(clock, gone).resolve("books.shop"))
        assert str(error) == f"books.shop: {gone.address}: Connection refused"

    run(scenario())


def test_a_server_that_cannot_be_reached_from_here(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        for host in ("fe80::1%nowhere", "fe80::1"):
            settings = Settings((Address("ipv6", host, 53),))
            error = await refusal(Resolver(asyncio.get_running_loop(), clock, settings).resolve("books.shop"))
            assert str(error).startswith(f"books.shop: [{host}]:53: ")

    run(scenario())


# TCP


def truncated(over_tcp: Callable[[Asked], Sequence[bytes]]) -> Callable[[Asked], Sequence[bytes]]:
    def say(asked: Asked) -> Sequence[bytes]:
        if asked.transport == "udp":
            return [asked.reply(flags=dns.RESPONSE | dns.TRUNCATED)]
        return over_tcp(asked)

    return say


def many(asked: Asked) -> bytes:
    return framed(asked.addresses(*(f"10.0.{high}.{low}" for high in range(8) for low in range(1, 251)), "::1"))


def test_what_is_too_long_for_udp_comes_over_tcp(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        server = serve(truncated(lambda asked: [many(asked)]))
        assert len((await resolver(clock, server).resolve("books.shop")).addresses) == 2001
        assert sorted(server.heard("tcp")) == sorted(server.heard("udp")) == BOTH

    run(scenario())


def test_in_whatever_pieces_it_comes(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        server = serve(truncated(lambda asked: [bytes((byte,)) for byte in framed(books(asked)[0])]))
        assert len((await resolver(clock, server).resolve("books.shop")).addresses) == 3

    run(scenario())


@pytest.mark.parametrize(
    ("over_tcp", "words"),
    [
        (lambda asked: [], "closed after 0 of 2 bytes"),
        (lambda asked: [b"\0"], "closed after 1 of 2 bytes"),
        (lambda asked: [b"\0\0"], "cut short"),
        (lambda asked: [b"\0\x10abc"], "closed after 3 of 16 bytes"),
        (lambda asked: [framed(books(asked)[0][:-1])], "cut short"),
        (lambda asked: [framed(replace(asked, id=asked.id ^ 1).addresses("6.6.6.6"))], "another id"),
        (lambda asked: [framed(asked.reply(flags=dns.RESPONSE | dns.TRUNCATED))], "truncated over TCP as well"),
    ],
)
def test_what_goes_wrong_over_tcp_is_for_the_next_server(
    run: Run, clock: FakeClock, serve: Serve, over_tcp: Callable[[Asked], Sequence[bytes]], words: str
) -> None:
    async def scenario() -> None:
        useless, good = serve(truncated(over_tcp)), serve(books)
        assert len((await resolver(clock, useless, good).resolve("books.shop")).addresses) == 3
        error = await refusal(resolver(clock, useless, attempts=1).resolve("books.shop"))
        assert str(error) == f"books.shop: {useless.address}: {words}"

    run(scenario())


def test_a_server_without_tcp(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        server = serve(truncated(silence), tcp=False)
        error = await refusal(resolver(clock, server).resolve("books.shop"))
        assert str(error) == f"books.shop: {server.address}: Connection refused"

    run(scenario())


def test_both_transports_share_the_time(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        server = serve(silence, tcp=False)
        server.tcp.listen()  # and never accepts
        answer = asyncio.create_task(resolver(clock, server, attempts=1).resolve("books.shop"))
        await until(lambda: len(server.asked) == 2)
        clock.advance(4)
        for asked in server.asked:
            server.udp.sendto(asked.reply(flags=dns.RESPONSE | dns.TRUNCATED), asked.source)
        accepted = [await asyncio.get_running_loop().sock_accept(server.tcp) for _ in range(2)]
        clock.advance(1)
        assert str(await refusal(_of(answer))) == f"books.shop: {server.address}: no answer within 5 s"
        for sock, _ in accepted:
            sock.close()

    run(scenario())


# What it costs


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_no_thread_is_made_for_it(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        before = threads()
        server = serve(truncated(lambda asked: [framed(books(asked)[0])]))
        await asyncio.gather(*(resolver(clock, server).resolve("books.shop") for _ in range(8)))
        assert threads() == before

    run(scenario())


def test_many_names_at_once_take_so_many_sockets_and_no_more(run: Run, clock: FakeClock, serve: Serve) -> None:
    async def scenario() -> None:
        server = serve(silence)
        before = descriptors()
        it = resolver(clock, server)
        asking = [asyncio.create_task(it.resolve(f"n{number}.shop")) for number in range(100)]
        await until(lambda: len(server.asked) == MOST_QUESTIONS)
        assert descriptors() == before + MOST_QUESTIONS
        server.say = books
        for asked in tuple(server.asked):
            server.udp.sendto(books(asked)[0], asked.source)
        assert all(len(answer.addresses) == 3 for answer in await asyncio.gather(*asking))
        assert len(server.asked) == 200
        assert descriptors() == before

    run(scenario())


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_who_does_not_want_to_know_any_more_leaves_nothing(
    run: Run, clock: FakeClock, serve: Serve, transport: str
) -> None:
    async def scenario() -> None:
        server = serve(truncated(silence) if transport == "tcp" else silence, tcp=False)
        server.tcp.listen()
        before = descriptors()
        asking = asyncio.create_task(resolver(clock, server).resolve("books.shop"))
        await until(lambda: len(server.asked) == 2)
        if transport == "tcp":
            for _ in range(2):
                (await asyncio.get_running_loop().sock_accept(server.tcp))[0].close()
        assert descriptors() == before + 2
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert descriptors() == before
        assert clock.pending == 0

    run(scenario())
