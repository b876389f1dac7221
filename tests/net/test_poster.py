"""Lines to a server of HTTP: taken, refused, tried again within bounds; and every way in which no answer comes."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from benchmarks import process
from benchmarks.gateways import Origin
from meshproxy.model import Address
from meshproxy.net.aside import Aside, Thread
from meshproxy.net.clock import LoopClock
from meshproxy.net.deadlines import Deadlines
from meshproxy.net.postbox import Connect, PostBox, plainly, securely
from meshproxy.net.poster import LONGEST_ASKED_PAUSE, LONGEST_PAUSE, MOST_AGE, MOST_BODY, Poster
from meshproxy.net.sinks import Account, emptied
from meshproxy.net.sinks.waiting import BUFFER
from meshproxy.net.tls.context import Terms, client_context
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import SinkStats
from tests.conftest import FakeClock, Upstream, _opened
from tests.net.disks import Hand
from tests.pki import Pki

ONE_LOOP = True
WITHIN = 15.0
"""More than any pause: to advance by one of them does not end the attempt that follows it."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
SILENCE = b""
Run = Callable[[Coroutine[Any, Any, None]], None]


class Collector:
    """A server that says what a test wants it to, byte by byte; after that, that all is well."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[bytes] = []
        self.closes = False
        """After each answer."""
        self.connections = 0
        self.port = 0
        self.writers: set[StreamWriter] = set()

    @classmethod
    async def start(cls, *answers: bytes, context: ssl.SSLContext | None = None) -> Collector:
        self = cls()
        self.answers = [*answers]
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        _opened.append(server.close)
        _opened.append(self.hang_up)
        return self

    def hang_up(self) -> None:
        for writer in tuple(self.writers):
            writer.transport.abort()

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, _, body in self.heard]

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            while await self._answer(reader, writer):
                """As long as somebody asks."""
        self.writers.discard(writer)
        writer.transport.abort() if not self.closes else writer.close()

    async def _answer(self, reader: StreamReader, writer: StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        self.heard.append((first, fields, await reader.readexactly(int(fields["content-length"]))))
        said = self.answers.pop(0) if self.answers else OK
        if said == SILENCE:
            await asyncio.sleep(3600)
        writer.write(said)
        await writer.drain()
        return not self.closes


class Desk:
    def __init__(
        self,
        clock: FakeClock,
        port: int,
        *,
        host: str = "127.0.0.1",
        scheme: str = "http",
        connect: Connect | None = None,
        aside: Thread | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
        buffer: int = BUFFER,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.clock = clock
        self.stats = SinkStats()
        self.logged: list[str] = []
        box = PostBox(
            clock, aside or Aside(loop, "names"), f"{scheme}://{host}:{port}/v1/logs?x=1", headers,
            connect or plainly(loop, clock, WITHIN), timeout=WITHIN,
        )  # fmt: skip
        account = Account("collector", self.stats, Log(self.logged.append, clock=clock.now), buffer)
        self.sink = Poster(clock, box, list, account, chance=lambda: 1.0)
        _opened.append(self.sink.close)

    def say(self, *lines: bytes) -> None:
        for line in lines:
            self.sink.offer(line)
        self.sink.flush()

    @property
    def counted(self) -> tuple[int, int, int]:
        return self.stats.written_total, self.stats.dropped_total, self.stats.waiting

    async def failures(self, count: int) -> None:
        await until(lambda: self.stats.failed_total == count)


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what is watched are plain integers
        await asyncio.sleep(0.001)


def test_batches_are_posted_one_after_the_other_on_one_connection(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        collector = await Collector.start()
        headers = ((b"Content-Type", b"application/json"), (b"Authorization", b"Bearer s3cret"))
        desk = Desk(clock, collector.port, headers=headers)
        desk.say(b"one\n", b"two\n")
        desk.say(b"three\n")
        await until(lambda: desk.stats.written_total == 2)
        clock.advance(1)
        await until(lambda: desk.counted == (3, 0, 0))
        assert collector.bodies == [b"one\ntwo\n", b"three\n"]
        assert collector.connections == 1
        first, fields, _ = collector.heard[0]
        assert first == "POST /v1/logs?x=1 HTTP/1.1"
        assert fields["host"] == f"127.0.0.1:{collector.port}"
        assert fields["content-type"] == "application/json"
        assert fields["authorization"] == "Bearer s3cret"
        assert (desk.stats.failed_total, desk.logged) == (0, [])
        assert clock.pending == 0

    run(scenario())


def test_a_document_is_bounded_and_the_rest_is_in_the_next(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        collector = await Collector.start()
        desk = Desk(clock, collector.port)
        lines = [b"%d " % number + b"x" * 1000 for number in range(900)]
        for line in lines:
            desk.sink.offer(line)
        while desk.stats.waiting:
            clock.advance(0.01)
            await asyncio.sleep(0.001)
        assert desk.counted == (900, 0, 0)
        assert b"".join(collector.bodies) == b"".join(lines)
        assert max(map(len, collector.bodies)) <= MOST_BODY

    run(scenario())


def test_a_line_that_is_larger_than_a_document_goes_alone(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        collector = await Collector.start()
        desk = Desk(clock, collector.port)
        large = b"x" * (MOST_BODY + 1)
        desk.say(large, b"one")
        await until(lambda: desk.stats.written_total == 1)
        clock.advance(1)
        await until(lambda: desk.counted == (2, 0, 0))
        assert collector.bodies == [large, b"one"]

    run(scenario())


@pytest.mark.parametrize("status", [429, 408, 500, 503])
def test_a_server_that_has_too_much_to_do_is_asked_again_a_little_later(
    run: Run, clock: FakeClock, status: int
) -> None:
    async def scenario() -> None:
        collector = await Collector.start(b"HTTP/1.1 %d Later\r\nContent-Length: 0\r\n\r\n" % status)
        desk = Desk(clock, collector.port)
        desk.say(b"one")
        await desk.failures(1)
        assert desk.counted == (0, 0, 1)
        desk.sink.offer(b"two")
        clock.advance(0.5)
        await until(lambda: desk.counted == (2, 0, 0))
        assert collector.bodies == [b"one", b"onetwo"]
        assert [each.split()[2] for each in desk.logged] == ["sink-failed", "sink-works"]
        assert str(status) in desk.logged[0]

    run(scenario())


@pytest.mark.parametrize("status", [400, 401, 404, 413, 302, 304])
def test_what_is_refused_is_dropped_and_what_comes_later_is_not(run: Run, clock: FakeClock, status: int) -> None:
    async def scenario() -> None:
        collector = await Collector.start(b"HTTP/1.1 %d No\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n" % status)
        desk = Desk(clock, collector.port)
        desk.say(b"one", b"two")
        await desk.failures(1)
        assert desk.counted == (0, 2, 0)
        desk.say(b"three")
        await until(lambda: desk.counted == (1, 2, 0))
        assert collector.bodies == [b"onetwo", b"three"]
        assert collector.connections == 1

    run(scenario())


def test_pauses_grow_with_the_failures_and_begin_anew_after_a_success(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        collector = await Collector.start(BUSY, BUSY, BUSY, OK, BUSY)
        desk = Desk(clock, collector.port)
        desk.say(b"one")
        for failed, pause in ((1, 0.5), (2, 1.0), (3, 2.0)):
            await desk.failures(failed)
            clock.advance(pause - 0.01)
            await asyncio.sleep(0.01)
            assert desk.stats.failed_total == failed
            clock.advance(0.01)
        await until(lambda: desk.stats.written_total == 1)
        clock.advance(MOST_AGE)
        desk.say(b"two")
        await desk.failures(4)
        clock.advance(0.5)
        await until(lambda: desk.counted == (2, 0, 0))

    run(scenario())


@pytest.mark.parametrize(("asked", "pause"), [(b"7", 7.0), (b"99999", LONGEST_ASKED_PAUSE), (b"soon", 0.5)])
def test_a_server_may_ask_to_be_left_alone_but_not_for_ever(
    run: Run, clock: FakeClock, asked: bytes, pause: float
) -> None:
    async def scenario() -> None:
        collector = await Collector.start(
            b"HTTP/1.1 429 Wait\r\nRetry-After: %b\r\nContent-Length: 0\r\n\r\n" % asked
        )
        desk = Desk(clock, collector.port)
        desk.say(b"one")
        await desk.failures(1)
        clock.advance(pause - 0.01)
        await asyncio.sleep(0.01)
        assert len(collector.heard) == 1
        clock.advance(0.01)
        await until(lambda: desk.counted == (1, 0, 0))

    run(scenario())


def test_nothing_is_kept_for_longer_than_it_is_of_use(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        collector = await Collector.start(*[BUSY] * 100)
        desk = Desk(clock, collector.port)
        began = clock.now()
        desk.say(b"old", b"older")
        number = 0
        while not desk.stats.dropped_total:
            number += 1
            await desk.failures(number)
            if number == 6:
                desk.sink.offer(b"new")
            clock.advance(LONGEST_PAUSE)
        assert desk.counted == (0, 2, 1)
        assert MOST_AGE <= clock.now() - began <= MOST_AGE + 2 * LONGEST_PAUSE
        collector.answers = []
        await until(lambda: desk.counted == (1, 2, 0))
        assert collector.bodies[-1] == b"new"

    run(scenario())


def test_once_all_is_too_old_a_line_that_comes_is_tried_all_the_same(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        collector = await Collector.start(*[BUSY] * 100)
        desk = Desk(clock, collector.port)
        desk.say(b"old")
        number = 0
        while desk.stats.waiting:
            number += 1
            await desk.failures(number)
            clock.advance(LONGEST_PAUSE)
        collector.answers = []
        desk.say(b"new")
        clock.advance(LONGEST_PAUSE)
        await until(lambda: desk.counted == (1, 1, 0))

    run(scenario())


def test_a_server_that_says_nothing_is_not_waited_for(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        collector = await Collector.start(SILENCE)
        desk = Desk(clock, collector.port)
        desk.say(b"one")
        await until(lambda: collector.heard)
        clock.advance(WITHIN)
        assert desk.counted == (0, 0, 1)
        assert "no answer within 15 s" in desk.logged[0]
        clock.advance(0.5)
        await until(lambda: desk.counted == (1, 0, 0))
        assert collector.connections == 2

    run(scenario())


def test_a_server_that_does_not_read_is_not_waited_for_either(
    run: Run, clock: FakeClock, upstream: type[Upstream]
) -> None:
    async def scenario() -> None:
        server = upstream()  # which never accepts
        desk = Desk(clock, server.sock.getsockname()[1])
        desk.say(*[b"x" * 100_000] * 10)
        for second in range(100):
            clock.advance(1)
            if second % 10 == 0:
                desk.sink.offer(b"more")
        assert desk.stats.failed_total == 5
        written, dropped, waiting = desk.counted
        assert (written, dropped + waiting) == (0, 20)
        assert dropped >= 10

    run(scenario())


def test_a_connection_that_has_ended_meanwhile_is_replaced_and_nobody_hears_of_it(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        collector = await Collector.start()
        desk = Desk(clock, collector.port)
        desk.say(b"one")
        await until(lambda: desk.stats.written_total == 1)
        collector.hang_up()
        # It may or may not have been heard of by then
        desk.say(b"two")
        await until(lambda: desk.counted == (2, 0, 0))
        collector.hang_up()
        await asyncio.sleep(0.01)
        desk.say(b"three")
        await until(lambda: desk.counted == (3, 0, 0))
        assert (collector.connections, desk.stats.failed_total) == (3, 0)

    run(scenario())


def test_a_server_that_closes_each_connection_is_connected_to_each_time(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        collector = await Collector.start(*[b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ntaken"] * 3)
        collector.closes = True
        desk = Desk(clock, collector.port)
        for number in range(3):
            desk.say(b"line")
            await until(lambda number=number: desk.stats.written_total == number + 1)  # type: ignore[misc]
        assert (collector.connections, desk.stats.failed_total) == (3, 0)

    run(scenario())


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "no HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "closed the connection without an answer"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "no HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n", "no HTTP/1.1"),
    ],
)
def test_what_is_no_answer_is_a_failure(run: Run, clock: FakeClock, answer: bytes, why: str) -> None:
    async def scenario() -> None:
        collector = await Collector.start(answer)
        collector.closes = True
        desk = Desk(clock, collector.port)
        desk.say(b"one")
        await desk.failures(1)
        assert why in desk.logged[0]
        clock.advance(0.5)
        await until(lambda: desk.counted == (1, 0, 0))

    run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * (1 << 20),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nand so on",
    ],
)
def test_what_a_server_says_beside_its_status_is_nothing_to_us(run: Run, clock: FakeClock, answer: bytes) -> None:
    async def scenario() -> None:
        collector = await Collector.start(answer)
        desk = Desk(clock, collector.port)
        desk.say(b"one")
        await until(lambda: desk.counted == (1, 0, 0))
        desk.say(b"two")
        await until(lambda: desk.counted == (2, 0, 0))
        assert (desk.stats.failed_total, collector.bodies) == (0, [b"one", b"two"])

    run(scenario())


def test_an_answer_whose_end_never_comes_is_one_when_the_time_is_over(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        collector = await Collector.start(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")
        desk = Desk(clock, collector.port)
        desk.say(b"one")
        await until(lambda: collector.heard)
        await asyncio.sleep(0.01)
        clock.advance(WITHIN)
        assert desk.counted == (1, 0, 0)
        desk.say(b"two")
        await until(lambda: desk.counted == (2, 0, 0))
        assert (collector.connections, desk.stats.failed_total) == (2, 0)

    run(scenario())


@pytest.mark.parametrize("at_once", [True, False])
def test_what_nobody_asked_for_ends_the_connection(run: Run, clock: FakeClock, at_once: bool) -> None:
    async def scenario() -> None:
        collector = await Collector.start(OK + OK if at_once else OK)
        desk = Desk(clock, collector.port)
        desk.say(b"one")
        await until(lambda: desk.stats.written_total == 1)
        if not at_once:
            (writer,) = collector.writers
            writer.write(OK)
        await until(lambda: not collector.writers)
        desk.say(b"two")
        await until(lambda: desk.counted == (2, 0, 0))
        assert collector.connections == 2

    run(scenario())


def test_who_answers_before_all_is_said_is_not_told_the_rest(
    run: Run, clock: FakeClock, upstream: type[Upstream]
) -> None:
    async def scenario() -> None:
        server = upstream()
        desk = Desk(clock, server.sock.getsockname()[1], buffer=1 << 25)
        desk.say(b"x" * (1 << 24))
        hasty = await server.accept()
        await hasty.recv()
        await hasty.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await desk.failures(1)
        assert desk.counted == (0, 1, 0)
        desk.say(b"two")
        patient = await server.accept()
        assert (await patient.recv()).endswith(b"\r\n\r\ntwo")
        await patient.send(OK)
        await until(lambda: desk.counted == (1, 1, 0))

    run(scenario())


def test_where_nobody_listens_what_waits_is_bounded_and_counted(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        desk = Desk(clock, 1)
        for number in range(3000):
            desk.sink.offer(b"x" * 1000)
            if number % 100 == 0:
                clock.advance(0.01)
        written, dropped, waiting = desk.counted
        assert (written, dropped + waiting) == (0, 3000)
        assert waiting == BUFFER // 1000
        assert "Connection refused" in desk.logged[0]

    run(scenario())


def test_what_waits_when_it_is_closed_is_dropped_and_no_answer_is_heard(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        collector = await Collector.start()
        desk = Desk(clock, collector.port)
        desk.say(b"one")
        desk.sink.offer(b"two")
        desk.sink.close()
        await asyncio.sleep(0.01)
        assert desk.counted == (0, 2, 0)
        assert clock.pending == 0

    run(scenario())


def test_one_that_nobody_asks_for_sends_what_it_has_and_closes(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        collector = await Collector.start()
        desk = Desk(clock, collector.port)
        desk.sink.offer(b"one")
        desk.sink.retire(0)
        clock.advance(0)
        await until(lambda: desk.counted == (1, 0, 0))
        await until(lambda: not collector.writers)

    run(scenario())


# Names


def test_a_name_is_looked_up_and_each_of_its_addresses_tried(
    run: Run, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        collector = await Collector.start()
        known = [(2, 1, 6, "", (address, collector.port)) for address in ("127.0.0.9", "127.0.0.1")]
        monkeypatch.setattr("meshproxy.net.postbox.socket.getaddrinfo", lambda *_, **__: known)
        desk = Desk(clock, collector.port, host="collector.local")
        desk.say(b"one")
        await desk.failures(1)
        clock.advance(0.5)
        await until(lambda: desk.counted == (1, 0, 0))
        assert collector.heard[0][1]["host"] == f"collector.local:{collector.port}"
        collector.hang_up()
        await asyncio.sleep(0.01)
        desk.say(b"two")
        await until(lambda: desk.counted == (2, 0, 0))
        assert desk.stats.failed_total == 1, "it goes on with the address that it was let in at"

    run(scenario())


def test_a_name_that_is_not_known_is_a_failure(run: Run, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    async def scenario() -> None:
        monkeypatch.setattr("meshproxy.net.postbox.socket.getaddrinfo", unknown)
        desk = Desk(clock, 80, host="collector.local")
        desk.say(b"one")
        await desk.failures(1)
        assert "its name: Name or service not known" in desk.logged[0]

    run(scenario())


def test_a_name_that_takes_too_long_is_asked_for_once(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        hand = Hand()
        collector = await Collector.start()
        desk = Desk(clock, collector.port, host="localhost", aside=hand)
        desk.say(b"one")
        for _ in range(50):
            clock.advance(1)
        assert desk.stats.failed_total == 3
        assert len(hand.jobs) == 1
        hand.jobs[0] = (lambda: [Address("ipv4", "127.0.0.1", collector.port)], hand.jobs[0][1])
        hand.settle()
        await until(lambda: desk.counted == (1, 0, 0))

    run(scenario())


@pytest.mark.parametrize("header", [(b"Two words", b"x"), (b"X", b"a\r\nEvil: b")])
def test_what_cannot_be_said_is_refused_before_there_is_anything_to_say(
    run: Run, clock: FakeClock, header: tuple[bytes, bytes]
) -> None:
    async def scenario() -> None:
        with pytest.raises(ValueError):
            Desk(clock, 80, headers=[header])

    run(scenario())


# TLS


@pytest.mark.parametrize("name", ["collector.local", "else.local"])
def test_a_server_of_https_has_to_prove_its_name(run: Run, pki: Pki, name: str) -> None:
    async def scenario() -> None:
        ca = pki.ca()
        pair = ca.issue(dns=["collector.local"])
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(pair.certificate, pair.key)
        collector = await Collector.start(context=served)
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        context = client_context(Terms(ca=ca.root.read_text()))
        connect = securely(loop, clock, Deadlines(clock), WITHIN, context, name)
        desk = Desk(clock, collector.port, scheme="https", connect=connect)  # type: ignore[arg-type]
        large = b"x" * 200_000
        if name == "collector.local":
            for number in range(3):
                desk.say(large)
                await until(lambda number=number: desk.stats.written_total == number + 1)  # type: ignore[misc]
            assert collector.bodies == [large] * 3
            assert (collector.connections, desk.stats.failed_total) == (1, 0)
        else:
            desk.say(large)
            await desk.failures(1)
            assert "wrong name" in desk.logged[0]
            assert desk.counted == (0, 0, 1)

    run(scenario())


# Others' servers


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    heard: list[bytes]

    def do_POST(self) -> None:
        self.heard.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """To nobody."""


def test_the_standard_library_takes_what_is_posted(run: Run) -> None:
    class Here(Handler):
        heard = []

    async def scenario() -> None:
        with ThreadingHTTPServer(("127.0.0.1", 0), Here) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                await posted(server.server_address[1])
            finally:
                server.shutdown()
                thread.join()

    run(scenario())
    assert b"".join(Here.heard) == LINES


def test_nginx_takes_what_is_posted(run: Run) -> None:
    if reason := Origin.missing():
        pytest.skip(reason)

    async def scenario() -> None:
        with Origin(process.Cores.of_this_machine().load) as origin:
            await posted(origin.port, "/sink")

    run(scenario())


LINES = b"".join(b"%d\n" % number for number in range(20_000))


async def posted(port: int, path: str = "/") -> None:
    """All of them, by a poster as it is."""
    loop = asyncio.get_running_loop()
    clock, stats = LoopClock(loop), SinkStats()
    logged: list[str] = []
    box = PostBox(
        clock, Aside(loop, "names"), f"http://localhost:{port}{path}", (), plainly(loop, clock, WITHIN), timeout=WITHIN
    )
    sink = Poster(clock, box, list, Account("real", stats, Log(logged.append)))
    for line in LINES.splitlines(keepends=True):
        sink.offer(line)
    await emptied([sink], 5)
    assert (stats.written_total, stats.dropped_total) == (20_000, 0), logged
    sink.close()
