"""HTTP/1.1 between the clients and the servers that everybody uses, through one worker and through two."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks import process, tools
from benchmarks.gateways import GREETING, Origin
from tests.e2e.conftest import LONGEST, Start, poll

MIB = 1 << 20
LARGE = random.Random(1).randbytes(5 * MIB)
PIECES = [LARGE[at : at + 100_000] for at in range(0, len(LARGE), 100_000)]
CORES = process.Cores.of_this_machine()
NOBODY = "127.0.0.1:9"


@pytest.fixture(scope="module")
def nginx() -> Iterator[str]:
    if reason := Origin.missing():
        yield f"skip: {reason}"
        return
    with Origin(CORES.load) as origin:
        yield f"127.0.0.1:{origin.port}"


@pytest.fixture(scope="module")
def aio() -> Iterator[str]:
    """An aiohttp server that says what it was told, how long and what it was, or each piece as it comes."""
    if importlib.util.find_spec("aiohttp") is None:
        yield "skip: aiohttp is not installed"
        return
    from aiohttp import web

    async def echo(request: web.Request) -> web.StreamResponse:
        body = b"".join([piece async for piece in request.content.iter_any()])
        response = web.StreamResponse(headers={"X-Coding": request.headers.get("Transfer-Encoding", "none")})
        await response.prepare(request)
        for at in range(0, len(body), 10_000):
            await response.write(body[at : at + 10_000])
        return response

    async def digest(request: web.Request) -> web.StreamResponse:
        summed = hashlib.sha256()
        async for piece in request.content.iter_any():
            summed.update(piece)
        return web.Response(text=summed.hexdigest())

    async def duplex(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for piece in request.content.iter_any():
            await response.write(piece)
        return response

    loop = asyncio.new_event_loop()
    app = web.Application()
    for name, handler in (("echo", echo), ("digest", digest), ("duplex", duplex)):
        app.router.add_route("*", f"/{name}", handler)
    runner = web.AppRunner(app)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    host, port = runner.addresses[0]
    yield f"{host}:{port}"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(LONGEST)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`python -m http.server`, which speaks HTTP/1.0 and takes no uploads."""
    directory = tmp_path_factory.mktemp("files")
    (directory / "large").write_bytes(LARGE)
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "-d", str(directory), "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout
    said = re.search(r"port (\d+)", server.stdout.readline())
    assert said
    yield f"127.0.0.1:{said[1]}"
    server.kill()
    server.wait()
    server.stdout.close()


@pytest.fixture(scope="module")
def chat() -> Iterator[str]:
    """A WebSocket that says what it is told."""
    if importlib.util.find_spec("websockets") is None:
        yield "skip: websockets is not installed"
        return
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.server import ServerConnection, serve

    def echo(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                connection.send(connection.recv())

    with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield "{}:{}".format(*server.socket.getsockname())
        server.shutdown()
        thread.join()


class Proxy:
    def __init__(self, running: Any, upstreams: dict[str, str]) -> None:
        self.running = running
        self._upstreams = upstreams

    def url(self, upstream: str, path: str = "/", scheme: str = "http") -> str:
        address = self._upstreams[upstream]
        if address.startswith("skip: "):
            pytest.skip(address.removeprefix("skip: "))
        host, port = self.running.address()
        return f"{scheme}://{host}:{port}/{upstream}{path}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each loop, and each number of workers; with --long each with each."""
    if "proxy" in metafunc.fixturenames:
        loops = ["asyncio"] if importlib.util.find_spec("uvloop") is None else ["asyncio", "uvloop"]
        short = [(loops[0], 1), (loops[-1], 2)]
        long = [(loop, workers) for workers in (1, 2) for loop in loops]
        chosen = long if metafunc.config.getoption("--long") else short
        metafunc.parametrize("proxy", chosen, ids=str, indirect=True, scope="module")


@pytest.fixture(scope="module")
def proxy(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    nginx: str,
    aio: str,
    files: str,
    chat: str,
) -> Iterator[Proxy]:
    loop, workers = request.param
    upstreams = {"nginx": nginx, "aio": aio, "files": files, "chat": chat}
    start = Start(tmp_path_factory.mktemp("proxy"), loop)
    running = start(
        {
            "workers": workers,
            "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"}],
            "routes": {
                "web": [
                    {"match": {"path": {"prefix": f"/{name}"}}, "cluster": name, "rewrite": {"prefix": "/"}}
                    for name in upstreams
                ]
            },
            "clusters": {
                name: {"endpoints": [NOBODY if address.startswith("skip: ") else address], "pool": {"idle": "300ms"}}
                for name, address in upstreams.items()
            },
        }
    )
    try:
        yield Proxy(running, upstreams)
        poll(lambda: nobody_left(running), "all connections are counted out, of clients and in pools")
        assert "Traceback" not in running.log.read_text()
    finally:
        start.end()


def nobody_left(running: Any) -> bool:
    (listener,) = running.ask("GET", "/listeners?format=json")[1]
    clusters = running.ask("GET", "/clusters?format=json")[1]
    return listener["connections"] == 0 and not any(
        endpoint["connections"] for cluster in clusters for endpoint in cluster["endpoints"]
    )


def curl(*options: str, told: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    if reason := tools.missing("curl"):
        pytest.skip(reason)
    command = ["curl", "-sS", "--noproxy", "*", "--max-time", f"{LONGEST:g}", *options]
    return subprocess.run(command, input=told, capture_output=True, check=True)


@pytest.fixture
def large(tmp_path: Path) -> str:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return str(path)


def test_curl_asks_twice_on_one_connection(proxy: Proxy) -> None:
    url = proxy.url("nginx")
    assert curl("-w", " %{http_code} %{num_connects}\n", url, url).stdout.decode() == (
        f"{GREETING} 200 1\n{GREETING} 200 0\n"
    )


def test_curl_asks_for_heads_and_in_http_1_0(proxy: Proxy) -> None:
    url = proxy.url("nginx", "/1m")
    said = curl("-I", url).stdout
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 1048576\r\n" in said
    assert curl("-0", url).stdout == bytes(MIB)
    # Chunked by the server, and without chunks for a client that knows none
    assert curl("-0", "--data-binary", "hello", proxy.url("aio", "/echo")).stdout == b"hello"


def test_curl_uploads_by_length_in_chunks_and_after_a_go_ahead(proxy: Proxy, large: str) -> None:
    url = proxy.url("aio", "/echo")
    assert curl("-T", large, url).stdout == LARGE
    assert curl("-T", "-", url, told=LARGE).stdout == LARGE
    assert b"\r\nX-Coding: chunked\r\n" in curl("-i", "-T", "-", url, told=b"x").stdout
    waited = curl("-v", "-H", "Expect: 100-continue", "--expect100-timeout", "60", "--data-binary", f"@{large}", url)
    assert b"< HTTP/1.1 100 Continue" in waited.stderr
    assert waited.stdout == LARGE
    assert curl("-T", large, proxy.url("nginx", "/sink")).stdout.decode() == GREETING


def test_a_server_of_http_1_0_that_answers_early(proxy: Proxy, large: str) -> None:
    assert curl(proxy.url("files", "/large")).stdout == LARGE
    # It reads nothing of the body and closes; the answer must arrive all the same.
    said = curl("-o", os.devnull, "-w", "%{http_code}", "-H", "Expect:", "-T", large, proxy.url("files", "/large"))
    assert said.stdout == b"501"


@pytest.mark.parametrize("options", [("-t1", "-c20"), ("-t1", "-c20", "-H", "Connection: close")], ids=["kept", "new"])
def test_wrk_sees_no_error(proxy: Proxy, options: tuple[str, ...]) -> None:
    if reason := tools.missing("wrk"):
        pytest.skip(reason)
    assert tools.wrk(proxy.url("nginx"), 1, CORES.load, *options).requests > 100


@pytest.mark.parametrize("options", [(), ("-k",)], ids=["new", "kept"])
def test_ab_sees_no_error(proxy: Proxy, options: tuple[str, ...]) -> None:
    if reason := tools.missing("ab"):
        pytest.skip(reason)
    said = tools.output(["ab", "-q", "-c10", "-n1000", *options, proxy.url("nginx")], 10, CORES.load)
    assert tools.read_ab(said) == 1000


def test_requests_in_a_session(proxy: Proxy) -> None:
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        session.trust_env = False
        for _ in range(20):
            assert session.get(proxy.url("nginx"), timeout=LONGEST).text == GREETING
        posted = session.post(proxy.url("aio", "/digest"), data=iter(PIECES), timeout=LONGEST)
        assert posted.text == hashlib.sha256(LARGE).hexdigest()
        with session.post(proxy.url("aio", "/echo"), data=LARGE, stream=True, timeout=LONGEST) as answer:
            assert b"".join(answer.iter_content(10_000)) == LARGE
        assert session.head(proxy.url("nginx", "/1m"), timeout=LONGEST).headers["Content-Length"] == str(MIB)
        assert len(session.get(proxy.url("files", "/large"), timeout=LONGEST).content) == len(LARGE)


def test_requests_of_twenty_threads(proxy: Proxy) -> None:
    requests = pytest.importorskip("requests")
    url = proxy.url("aio", "/echo")

    def client(number: int) -> None:
        with requests.Session() as session:
            session.trust_env = False
            for turn in range(10):
                words = f"{number}/{turn}".encode() * 1000
                assert session.put(url, data=words, timeout=LONGEST).content == words

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(client, range(20)))


def test_httpx_in_a_session(proxy: Proxy) -> None:
    httpx = pytest.importorskip("httpx")
    with httpx.Client(trust_env=False, timeout=LONGEST) as session:
        for _ in range(20):
            assert session.get(proxy.url("nginx")).text == GREETING
        posted = session.post(proxy.url("aio", "/digest"), content=iter(PIECES))
        assert posted.text == hashlib.sha256(LARGE).hexdigest()
        with session.stream("POST", proxy.url("aio", "/echo"), content=LARGE) as answer:
            assert b"".join(answer.iter_bytes()) == LARGE
        assert session.get(proxy.url("files", "/large")).content == LARGE


def test_aiohttp_streams_both_ways_at_once(proxy: Proxy) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def converse(session: Any, number: int) -> None:
        """No piece is sent before the one before has come back."""
        back: asyncio.Queue[bytes] = asyncio.Queue()
        pieces = [f"{number}/{turn}".encode() * 1000 for turn in range(20)]

        async def say() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece
                got = b""
                while len(got) < len(piece):
                    got += await back.get()
                assert got == piece

        async with session.post(proxy.url("aio", "/duplex"), data=say()) as answer:
            async for piece in answer.content.iter_any():
                back.put_nowait(piece)

    async def scenario() -> None:
        timeout = aiohttp.ClientTimeout(LONGEST)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await asyncio.gather(*(converse(session, number) for number in range(10)))

            async def greeting() -> str:
                async with session.get(proxy.url("nginx")) as answer:
                    return str(await answer.text())

            assert await asyncio.gather(*(greeting() for _ in range(200))) == [GREETING] * 200

    asyncio.run(scenario())


def test_a_websocket_through_the_proxy(proxy: Proxy) -> None:
    url = proxy.url("chat", scheme="ws")
    from websockets.sync.client import connect

    with connect(url, proxy=None, max_size=None) as one, connect(url, proxy=None) as other:
        for message in ("hello", "é" * 1000, b"\0\1\2", LARGE):
            one.send(message)
            assert one.recv(LONGEST) == message
        other.send("unmixed")
        assert other.recv(LONGEST) == "unmixed"
        assert one.ping().wait(LONGEST)
        one.send(iter(PIECES))
        assert one.recv(LONGEST) == LARGE
        one.close(4001, "enough")
        assert one.protocol.close_sent is not None
        assert (one.close_code, one.close_reason) == (4001, "enough")
    assert other.close_code == 1000
