"""The listener for probes: what kubelet asks, what the application is asked then, and what of it kubelet is told."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from meshproxy.errors import CannotBind
from meshproxy.model import Config, decode
from meshproxy.net.clock import LoopClock
from meshproxy.net.doors import Inherited, Place
from meshproxy.observe.log import Log
from meshproxy.server.probes import Probes, Steered
from meshproxy.wire.preface import PREFACE
from tests.conftest import _opened
from tests.pki import Pki

ONE_LOOP = True
Run = Callable[[Coroutine[Any, Any, None]], None]
ANY = "127.0.0.1:0"


class Application:
    """It says what it is told to say, at once or after what it has heard, and then closes or not."""

    def __init__(self, answer: bytes = b"", *, host: str = "127.0.0.1", stays: bool = False) -> None:
        self.answer, self.stays = answer, stays
        self.heard: list[bytes] = []
        self.peers: list[str] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.host = host

    async def open(self, context: ssl.SSLContext | None = None) -> Application:
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        _opened.append(self.close)
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.peers.append(writer.get_extra_info("peername")[0])
        try:
            self.heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
            if self.stays:
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def close(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()


class World:
    def __init__(self) -> None:
        self.lines: list[str] = []
        loop = asyncio.get_running_loop()
        self.inherited = Inherited()
        self.probes = Probes(loop, LoopClock(loop), Log(self.lines.append), self.inherited)

    def take(self, *checks: dict[str, Any], listen: str = ANY) -> None:
        self.probes.prepare(decode(Config, {"probes": {"listen": listen, "checks": list(checks)}}))
        self.probes.commit()
        local = self.probes.doors.local(next(iter(self.probes.doors.places)))
        host, _, port = local.rpartition(":")
        self.address = host.strip("[]"), int(port)

    async def say(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(data)
        heard = await reader.read()
        writer.close()
        return heard

    async def ask(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        head, _, body = (
            await self.say(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        ).partition(b"\r\n\r\n")
        return int(head.split()[1]), body


def playing(run: Run, scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def played() -> None:
        w = World()
        try:
            await scenario(w)
        finally:
            await w.probes.close()

    run(played())


def http(app: Application, **more: Any) -> dict[str, Any]:
    return {"path": "/app", "http": {"port": app.port, **more}, "timeout": "300ms"}


def said(status: str, body: bytes = b"", *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status.encode(), b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (said("200 OK", b"all is well"), 200, b"ok\n"),
        (said("204 No Content"), 204, b""),
        (said("302 Found", b"", b"Location: http://elsewhere/"), 302, b"ok\n"),
        (said("304 Not Modified"), 304, b""),
        (said("404 Not Found", b"secret"), 404, b"the application answered 404\n"),
        (said("500 Oh", b"Traceback"), 500, b"the application answered 500\n"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", 503, None),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + said("200 OK"), 200, b"ok\n"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, b"ok\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok\n"),
        (said("200 OK", b"x" * 1_000_000), 200, b"ok\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nless", 503, b"malformed cut_short\n"),
        (b"SSH-2.0-x\r\n\r\n", 503, None),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000, 503, None),
        (b"", 503, b"closed\n"),
    ],
)  # fmt: skip
def test_the_status_goes_on_and_nothing_else(run: Run, answer: bytes, status: int, words: bytes | None) -> None:
    async def scenario(w: World) -> None:
        app = await Application(answer).open()
        w.take(http(app))
        found, body = await w.ask("/app")
        assert found == status, body
        assert words is None or body == words
        assert len(body) < 100
        assert b"secret" not in body

    playing(run, scenario)


def test_the_application_is_asked_as_it_was_said(run: Run) -> None:
    async def scenario(w: World) -> None:
        app = await Application(said("200 OK")).open()
        more = {"path": "/healthz?deep=1", "host": "books.shop", "headers": {"x-probe": "yes", "user-agent": "kube"}}
        w.take({**http(app, **more), "source": "127.0.0.6"})
        assert (await w.ask("/app?whatever=it-is", "HEAD")) == (200, b"")
        (asked,) = app.heard
        assert asked.startswith(b"GET /healthz?deep=1 HTTP/1.1\r\n")
        for line in (b"Host: books.shop", b"x-probe: yes", b"user-agent: kube", b"Connection: close"):
            assert asked.count(line + b"\r\n") == 1
        assert b"meshproxy" not in asked
        assert app.peers == ["127.0.0.6"]

    playing(run, scenario)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", said("200 OK", b"12345")[:-1]])
def test_an_application_that_is_slow_has_its_time(run: Run, answer: bytes) -> None:
    async def scenario(w: World) -> None:
        app = await Application(answer, stays=True).open()
        w.take(http(app))
        assert await w.ask("/app") == (503, b"timeout\n")
        (line,) = [line for line in w.lines if "app-not-well" in line]
        assert "path=/app" in line
        assert "answer=timeout" in line

    playing(run, scenario)


def test_what_changes_is_told_once(run: Run) -> None:
    async def scenario(w: World) -> None:
        app = await Application(said("500 Oh")).open()
        w.take(http(app))
        for answer in ("500 Oh", "503 Oh", "200 OK", "200 OK"):
            app.answer = said(answer)
            await w.ask("/app")
        told = [line for line in w.lines if "app-" in line]
        assert len(told) == 2, told
        assert "WARNING app-not-well" in told[0]
        assert "INFO app-well" in told[1]

    playing(run, scenario)


def test_a_connection_is_enough_for_tcp(run: Run) -> None:
    async def scenario(w: World) -> None:
        app = await Application().open()
        port = app.port
        w.take({"path": "/tcp", "tcp": port})
        assert await w.ask("/tcp") == (200, b"ok\n")
        app.close()
        assert await w.ask("/tcp") == (503, b"connect Connection refused\n")

    playing(run, scenario)


def test_it_may_listen_on_ipv6_alone(run: Run) -> None:
    async def scenario(w: World) -> None:
        app = await Application(said("200 OK"), host="::1").open()
        w.take({**http(app), "address": "::1"}, {**http(app), "path": "/other"}, listen="[::1]:0")
        assert (await w.ask("/app"))[0] == 200
        assert app.heard[0].count(b"Host: [::1]:%d\r\n" % app.port) == 1
        assert (await w.ask("/other"))[0] == 503

    playing(run, scenario)


def test_nobody_looks_at_the_certificate(run: Run, tmp_path: Path) -> None:
    paper = Pki(tmp_path).ca().issue(dns=["somebody.else"], days=30, start=-60)

    async def scenario(w: World) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(paper.certificate, paper.key)
        app = await Application(said("200 OK")).open(context)
        plain = await Application(said("200 OK")).open()
        tls = {"scheme": "https"}
        w.take(
            {**http(app, **tls), "path": "/tls"},
            {**http(app, **tls, host="other.shop:8443"), "path": "/name"},
            {**http(app), "path": "/plain"},
            {**http(plain, **tls), "path": "/not-tls"},
        )
        assert (await w.ask("/tls")) == (200, b"ok\n")
        assert (await w.ask("/name")) == (200, b"ok\n")
        assert (await w.ask("/plain"))[0] == 503
        assert (await w.ask("/not-tls"))[0] == 503

    playing(run, scenario)


def test_grpc_is_spoken_to_the_application(run: Run) -> None:
    """What serves it is grpcio, elsewhere; here is what becomes of whoever does not speak it."""

    async def scenario(w: World) -> None:
        app = await Application(said("200 OK")).open()
        w.take({"path": "/grpc", "grpc": {"port": app.port, "service": "a.B"}, "timeout": "300ms"})
        status, body = await w.ask("/grpc")
        assert (status, body.split()[0]) == (503, b"malformed"), body
        assert app.heard[0].startswith(PREFACE[:10])

    playing(run, scenario)


def test_nothing_else_can_be_reached(run: Run) -> None:
    async def scenario(w: World) -> None:
        app = await Application(said("200 OK")).open()
        w.take(http(app))
        host = f"Host: 127.0.0.1:{app.port}\r\n"
        for target in ("/", "/app/", "/other", "/app/../app", "//app", f"/127.0.0.1:{app.port}/"):
            assert (await w.ask(target)) == (404, b"no such check\n"), target
        answer = await w.say(f"GET http://127.0.0.1:{app.port}/app HTTP/1.1\r\n{host}\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400 ")
        answer = await w.say(f"CONNECT 127.0.0.1:{app.port} HTTP/1.1\r\n{host}\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert (await w.ask("/app", "POST"))[0] == 405
        answer = await w.say(b"GET /app HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nConnection: close\r\n\r\nHTTP/1.1 ")
        assert answer.startswith(b"HTTP/1.1 413 ")
        answer = await w.say(b"GET /app HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert app.heard == []

    playing(run, scenario)


def test_many_at_once_are_answered(run: Run) -> None:
    async def scenario(w: World) -> None:
        app = await Application(said("200 OK")).open()
        w.take(http(app))
        found = await asyncio.gather(*(w.ask("/app") for _ in range(50)))
        assert set(found) == {(200, b"ok\n")}

    playing(run, scenario)


def test_checks_change_and_the_listener_stays(run: Run) -> None:
    async def scenario(w: World) -> None:
        app = await Application(said("200 OK")).open()
        w.take(http(app))
        port = w.address[1]
        listen = f"127.0.0.1:{port}"
        w.take({**http(app), "path": "/new"}, listen=listen)
        first = w.probes.doors.bound
        w.take({**http(app), "path": "/newer"}, listen=listen)
        assert list(w.probes.doors.bound) == list(first)
        assert (await w.ask("/app"))[0] == (await w.ask("/new"))[0] == 404
        assert (await w.ask("/newer"))[0] == 200
        w.probes.prepare(Config())
        w.probes.commit()
        with socket.socket() as sock:
            assert sock.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
        w.take(http(app), listen=listen)
        assert (await w.ask("/app"))[0] == 200

    playing(run, scenario)


def test_another_address_is_bound_before_the_old_one_is_left(run: Run) -> None:
    async def scenario(w: World) -> None:
        app = await Application(said("200 OK")).open()
        w.take(http(app))
        port = w.address[1]
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = "{}:{}".format(*other.getsockname())
            with pytest.raises(CannotBind) as refused:
                w.take(http(app), listen=taken)
        assert str(refused.value.problems[0]) == f"probes.listen: {taken}: {os.strerror(errno.EADDRINUSE)}"
        assert (await w.ask("/app"))[0] == 200
        w.take(http(app), listen=f"0.0.0.0:{port}")
        w.address = "127.0.0.1", port
        assert (await w.ask("/app"))[0] == 200

    playing(run, scenario)


def test_a_socket_that_was_handed_over_is_served(run: Run) -> None:
    async def scenario(w: World) -> None:
        app = await Application(said("200 OK")).open()
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        port = sock.getsockname()[1]
        config = decode(Config, {"probes": {"listen": f"127.0.0.1:{port}", "checks": [http(app)]}})
        assert config.probes is not None
        w.inherited.add(Place(config.probes.listen, socket.SOCK_STREAM), sock)
        w.probes.prepare(config)
        w.probes.commit()
        assert w.inherited.sockets == []
        w.address = "127.0.0.1", port
        assert (await w.ask("/app"))[0] == 200

    playing(run, scenario)


class Refusing:
    """A fleet that takes nothing."""

    papers: Any = None

    async def prepare(self, config: Config) -> None:
        raise CannotBind([])

    async def commit(self) -> None:
        raise AssertionError("nothing was prepared")

    def abort(self) -> None:
        raise AssertionError("it has done so itself")


def test_what_the_fleet_refuses_is_not_served(run: Run) -> None:
    async def scenario(w: World) -> None:
        w.take({"path": "/old", "tcp": 1})
        steered = Steered(Refusing(), w.probes)
        said = {"listen": "127.0.0.2:0", "checks": [{"path": "/new", "tcp": 1}]}
        with pytest.raises(CannotBind):
            await steered.prepare(decode(Config, {"probes": said}))
        assert len(list(w.probes.doors.bound)) == 1
        assert (await w.ask("/new"))[0] == 404
        assert (await w.ask("/old"))[0] == 503

    playing(run, scenario)
