"""TLS between the clients and the servers that everybody uses, through one worker and through two."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import random
import select
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import process, tools
from tests.e2e.conftest import LONGEST, LOOPS, Echo, Start, poll
from tests.e2e.tls_tools import (
    CORES,
    Broken,
    HAProxyTls,
    NginxTls,
    SClient,
    Secured,
    SServer,
    cluster_handshakes,
    counted,
    curl,
    handshakes,
    inline,
    wrapped,
)
from tests.pki import Pki
from tests.relay.tls_peers import trusting

LARGE = random.Random(1).randbytes(5 << 20)
PIECES = [LARGE[at : at + 100_000] for at in range(0, len(LARGE), 100_000)]
FROM_NGINX = bytes(range(256)) * (1 << 14)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    pki = Pki(tmp_path_factory.mktemp("pki"))
    ca, stranger = pki.ca(), pki.ca()
    return SimpleNamespace(
        ca=ca,
        stranger=stranger,
        books=ca.issue("shop/books", dns=["books.shop"]),
        toys=ca.issue("shop/toys", dns=["toys.shop"]),
        reader=ca.issue("shop/reader"),
        foreign=stranger.issue("shop/books", dns=["books.shop"]),
    )


@pytest.fixture(scope="module")
def nginx(papers: Any) -> Iterator[NginxTls]:
    if reason := NginxTls.missing():
        pytest.skip(reason)
    asks = f"ssl_client_certificate {papers.ca.root}; ssl_verify_client on;"
    servers = [
        Secured("sharp", papers.books, "ssl_protocols TLSv1.3;"),
        Secured("old", papers.books, "ssl_protocols TLSv1.2;"),
        Secured("toys", papers.toys, "ssl_protocols TLSv1.3;"),
        Secured("asks", papers.books, f"{asks} ssl_protocols TLSv1.3;"),
        Secured("asks12", papers.books, f"{asks} ssl_protocols TLSv1.2;"),
        Secured("foreign", papers.foreign),
    ]
    with NginxTls(servers) as peer:
        yield peer


@pytest.fixture(scope="module")
def aio() -> Iterator[str]:
    """A plain server that echoes, and says what it was told of where its client came from."""
    web = pytest.importorskip("aiohttp.web")

    async def echo(request: Any) -> Any:
        response = web.StreamResponse(headers={"X-Scheme": request.headers.get("X-Forwarded-Proto", "")})
        await response.prepare(request)
        async for piece in request.content.iter_any():
            await response.write(piece)
        return response

    async def listen(sock: socket.socket) -> Any:
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{tail:.*}", echo)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, sock).start()
        return runner

    sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
    loop = asyncio.new_event_loop()
    runner = loop.run_until_complete(listen(sock))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield "{}:{}".format(*sock.getsockname())
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(LONGEST)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def broken(papers: Any) -> Iterator[str]:
    server = Broken(papers.books)
    yield server.address
    server.close()


@pytest.fixture(scope="module")
def echoes() -> Iterator[str]:
    server = Echo()
    yield server.address
    server.sock.close()


LISTENERS = ("in", "strict", "told", "both", "several", "tcp", "through")


def anywhere(listener: str) -> str:
    """Port 0 of an address can be listened to once."""
    return f"127.0.0.{1 + LISTENERS.index(listener)}:0"


def listening(name: str, papers: Any, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "listen": anywhere(name),
        "protocol": "http",
        "routes": "web",
        "tls": inline(papers.books),
        **more,
    }


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def proxy(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    papers: Any,
    nginx: NginxTls,
    aio: str,
    broken: str,
    echoes: str,
) -> Iterator[Any]:
    start = Start(tmp_path_factory.mktemp("proxy"), LOOPS[0])
    ca = papers.ca.root.read_text()
    to_books = {"tls": {"ca": ca, "sni": "books.shop"}}
    known = {"tls": {"ca": ca, "sni": "books.shop", **inline(papers.reader)}}
    clusters: dict[str, Any] = {
        "aio": {"endpoints": [aio]},
        "echo": {"endpoints": [echoes]},
        "broken": {"endpoints": [broken], **to_books},
        "sharp": {"endpoints": [nginx.address("sharp")], **to_books},
        "old": {"endpoints": [nginx.address("old")], **to_books},
        "sharp-anew": {"endpoints": [nginx.address("sharp")], "pool": {"max_idle": 0}, **to_books},
        "old-anew": {"endpoints": [nginx.address("old")], "pool": {"max_idle": 0}, **to_books},
        "asks": {"endpoints": [nginx.address("asks")], **known},
        "asks12": {"endpoints": [nginx.address("asks12")], **known},
        "nobody": {"endpoints": [nginx.address("asks")], **to_books},
        "foreign": {"endpoints": [nginx.address("foreign")], **to_books},
        "misnamed": {"endpoints": [nginx.address("toys")], **to_books},
        "named": {
            "endpoints": [{"address": nginx.address("toys"), "identity": "shop/toys"}],
            "tls": {"ca": ca},
        },
        "misidentified": {
            "endpoints": [{"address": nginx.address("toys"), "identity": "shop/books"}],
            "tls": {"ca": ca},
        },
        "toys-behind": {"endpoints": [nginx.address("toys")]},
        "books-behind": {"endpoints": [nginx.address("sharp")]},
    }
    strict = {**inline(papers.books), "client_ca": ca}
    running = start(
        {
            "workers": request.param,
            "listeners": [
                listening("in", papers),
                listening("strict", papers, tls=strict),
                listening("told", papers, tls={**strict, "without_certificate": "403"}),
                listening("both", papers, permissive=True),
                listening("several", papers, tls=[inline(papers.books), {**inline(papers.toys), "min_version": "1.3"}]),
                {
                    "name": "tcp",
                    "listen": anywhere("tcp"),
                    "protocol": "tcp",
                    "cluster": "echo",
                    "tls": {**inline(papers.books), "alpn": ["b", "a"]},
                },
                {
                    "name": "through",
                    "listen": anywhere("through"),
                    "protocol": "tls",
                    "chains": [
                        {"match": {"sni": ["toys.shop"]}, "cluster": "toys-behind"},
                        {"match": {"sni": ["*.shop"]}, "cluster": "books-behind"},
                    ],
                },
            ],
            "routes": {
                "web": [
                    {"match": {"path": {"prefix": f"/{name}/"}}, "cluster": name, "rewrite": {"prefix": "/"}}
                    for name in clusters
                ]
            },
            "clusters": clusters,
        }
    )
    try:
        yield running
        poll(lambda: nobody_left(running), "all clients are counted out")
        start.assert_no_traceback()
    finally:
        start.end()


def nobody_left(running: Any) -> bool:
    return not any(each["connections"] for each in running.ask("GET", "/listeners?format=json")[1])


def asking(proxy: Any, papers: Any, name: str = "books.shop", listener: str = "in") -> list[str]:
    """curl's options to come to that listener by that name, believing our CA."""
    host, port = proxy.address(listener)
    return ["--cacert", str(papers.ca.root), "--resolve", f"{name}:{port}:{host}"]


def url(proxy: Any, cluster: str, path: str = "/", name: str = "books.shop", listener: str = "in") -> str:
    return f"https://{name}:{proxy.address(listener)[1]}/{cluster}{path}"


def workers_of(proxy: Any) -> int:
    return len(proxy.ask("GET", "/server_info")[1]["workers"]) or 1


def plus(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What has been counted since."""
    return {word: count - before.get(word, 0) for word, count in after.items() if count != before.get(word, 0)}


# Clients ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_in_both_versions(proxy: Any, papers: Any, version: str) -> None:
    before = handshakes(proxy)
    place = url(proxy, "sharp")
    how = [f"--tlsv{version}", "--tls-max", version, "-w", "%{num_connects}\n"]
    said = curl(*asking(proxy, papers), *how, place, place)
    assert said.stdout == "sharp TLSv1.3 . NONE [books.shop]\n1\n" + said.stdout.splitlines()[2] + "\n0\n"
    poll(lambda: plus(before, handshakes(proxy)) == {"full": 1}, "counted")


def test_curl_uploads_and_downloads_byte_by_byte_the_same(proxy: Any, papers: Any, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(LARGE)
    options = asking(proxy, papers)
    for version in ("1.2", "1.3"):
        for upload in ("@large", "-T"):
            how = ["-T", "large"] if upload == "-T" else ["--data-binary", upload]
            curl(*options, "--tls-max", version, *_in(tmp_path, how), "-o", str(tmp_path / "back"), url(proxy, "aio"))
            assert (tmp_path / "back").read_bytes() == LARGE
        for cluster in ("sharp", "old"):
            curl(*options, "--tls-max", version, "-o", str(tmp_path / "back"), url(proxy, cluster, "/large"))
            assert (tmp_path / "back").read_bytes() == FROM_NGINX
            sent = curl(*options, "--tls-max", version, *_in(tmp_path, ["-T", "large"]), url(proxy, cluster, "/sink"))
            assert sent.stdout == "plain\n"


def _in(directory: Path, words: list[str]) -> list[str]:
    return [word.replace("large", str(directory / "large")) for word in words]


def test_curl_does_not_believe_another_ca_and_we_count_its_alert(proxy: Any, papers: Any) -> None:
    before = handshakes(proxy)
    options = [str(papers.stranger.root) if word == str(papers.ca.root) else word for word in asking(proxy, papers)]
    assert curl(*options, url(proxy, "sharp"), check=False).returncode == 60
    poll(lambda: plus(before, handshakes(proxy)) == {"alert": 1}, "counted")


def test_curl_shows_a_certificate_or_not_or_a_wrong_one(proxy: Any, papers: Any) -> None:
    def shown(pair: Any, listener: str, *more: str) -> Any:
        options = [] if pair is None else ["--cert", str(pair.certificate), "--key", str(pair.key)]
        said = [*more, "-w", " %{http_version} %{http_code}", url(proxy, "sharp", listener=listener)]
        return curl(*asking(proxy, papers, listener=listener), *options, *said, check=False)

    assert shown(papers.reader, "strict").stdout.endswith("\n 2 200")
    assert shown(papers.reader, "told").stdout.endswith("\n 2 200")
    assert shown(None, "strict").returncode in (35, 55, 56), "an alert"
    assert shown(papers.foreign, "strict").returncode in (35, 55, 56)
    assert shown(None, "told").stdout == "a client certificate is required\n 2 403"
    assert shown(None, "told", "--http1.1").stdout == "a client certificate is required\n 1.1 403"
    poll(lambda: handshakes(proxy, "strict") == {"full": 1, "no_certificate": 1, "unknown_ca": 1}, "counted")
    assert handshakes(proxy, "told") == {"full": 1, "no_certificate": 2}


def test_upstreams_are_told_that_it_was_https(proxy: Any, papers: Any) -> None:
    assert "x-scheme: https\n" in curl(*asking(proxy, papers), "-i", url(proxy, "aio")).stdout
    host, port = proxy.address("both")
    assert "X-Scheme: http\n" in curl("-i", f"http://{host}:{port}/aio/").stdout


def test_plain_http_is_answered_in_plain_words(proxy: Any) -> None:
    host, port = proxy.address()
    before = handshakes(proxy)
    said = curl("-i", f"http://{host}:{port}/sharp/", check=False)
    assert said.stdout.startswith("HTTP/1.1 400 Bad Request\n")
    assert said.stdout.endswith("\n\nthis port speaks TLS\n")
    poll(lambda: plus(before, handshakes(proxy)) == {"plain": 1}, "counted")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client_resumes_a_session(proxy: Any, papers: Any, tmp_path: Path, version: str) -> None:
    before = handshakes(proxy)
    options = [version, "-CAfile", str(papers.ca.root), "-servername", "books.shop", "-verify_return_error"]
    kept = str(tmp_path / "session")
    get = "GET /sharp/ HTTP/1.1\r\nHost: books.shop\r\nConnection: close\r\n\r\n"
    for turn, sessions in enumerate((["-sess_out", kept], ["-sess_in", kept])):
        with SClient(proxy.address(), *options, *sessions) as client:
            client.say(get)
            said = client.until("sharp TLSv1.3")
            if workers_of(proxy) == 1:
                # Of several each has its own key for tickets, and who comes to another one begins anew.
                assert ("\nReused, " if turn else "\nNew, ") in said
            assert "Verify return code: 0 (ok)" in said
    expected = [{"full": 1, "resumed": 1}, {"full": 2}][: workers_of(proxy)]
    poll(lambda: plus(before, handshakes(proxy)) in expected, "counted")


def test_s_client_agrees_on_a_protocol_and_gets_the_certificate_of_its_name(proxy: Any, papers: Any) -> None:
    trust = ["-CAfile", str(papers.ca.root), "-verify_return_error"]
    with SClient(proxy.address("tcp"), *trust, "-alpn", "a,b", "-servername", "books.shop") as client:
        client.until("\nALPN protocol: b\n")
    for name in ("toys.shop", "books.shop"):
        with SClient(proxy.address("several"), *trust, "-servername", name, "-verify_hostname", name) as client:
            client.until(f"Verified peername: {name}\n")
    # nginx agrees on nothing where nothing fits; here too it goes on without
    with SClient(proxy.address("tcp"), *trust, "-alpn", "c", "-servername", "books.shop") as client:
        client.until("No ALPN negotiated")


def test_s_client_may_not_renegotiate(proxy: Any, papers: Any) -> None:
    with SClient(proxy.address("tcp"), "-tls1_2", "-CAfile", str(papers.ca.root)) as client:
        client.say("before\n")
        client.until("before\n")
        client.say("R\n")
        client.until("RENEGOTIATING")
        client.until("no renegotiation")
    # and who does not insist goes on
    assert "x" in exchanged(proxy, papers, b"x")


def exchanged(proxy: Any, papers: Any, words: bytes) -> str:
    with wrapped(proxy.address("tcp"), trusting(papers.ca)) as sock:
        sock.sendall(words)
        return sock.recv(len(words)).decode()


def test_s_client_changes_keys_in_the_middle(proxy: Any, papers: Any) -> None:
    with SClient(proxy.address("tcp"), "-tls1_3", "-CAfile", str(papers.ca.root)) as client:
        for turn in range(1, 4):
            client.say("x" * 3000 + f"before {turn}\n")
            client.until(f"before {turn}\n")
            for command in ("k", "K"):
                client.say(f"{command}\n")
                client.until("KEYUPDATE", 2 * turn - (command == "k"))
                client.say("x" * 3000 + f"after {command}{turn}\n")
                client.until(f"after {command}{turn}\n")


def test_s_client_is_told_of_the_end(proxy: Any, papers: Any) -> None:
    get = "GET {} HTTP/1.0\r\nHost: books.shop\r\n\r\n"
    with SClient(proxy.address(), "-CAfile", str(papers.ca.root)) as client:
        client.say(get.format("/broken/whole"))
        client.until("until the end\n", 1000)
        client.until("\nclosed\n")
    with SClient(proxy.address(), "-CAfile", str(papers.ca.root)) as client:
        client.say(get.format("/broken/cut"))
        client.until("read:errno=104")  # a reset


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_python_ends_one_way_and_is_answered_the_other(proxy: Any, papers: Any, version: ssl.TLSVersion) -> None:
    context = trusting(papers.ca, version=version)
    with wrapped(proxy.address("tcp"), context) as sock:
        assert echoed(sock, LARGE) == LARGE
        plain = sock.unwrap()
        assert plain.recv(1) == b"", "TCP ends after TLS has"
        plain.close()


def echoed(sock: ssl.SSLSocket, words: bytes) -> bytes:
    """Both ways at once, and in one thread: such a socket bears no two."""
    sock.setblocking(False)
    left, got = memoryview(words), bytearray()
    while len(got) < len(words):
        with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while left:
                left = left[sock.send(left[:65536]) :]
        with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while piece := sock.recv(65536):
                got += piece
            raise AssertionError(f"ended after {len(got)} bytes")
        if len(got) < len(words):
            select.select([sock], [sock] if left else [], [], LONGEST)
    sock.settimeout(LONGEST)
    return bytes(got)


def test_aiohttp_many_at_once_with_certificates(proxy: Any, papers: Any) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    context = trusting(papers.ca, papers.reader)
    host, port = proxy.address("strict")

    async def scenario() -> None:
        timeout = aiohttp.ClientTimeout(LONGEST)
        connector = aiohttp.TCPConnector(ssl=context, limit=40)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:

            async def ask(number: int) -> None:
                place = f"https://{host}:{port}/aio/{number}"
                piece = PIECES[number % len(PIECES)] + b"%d" % number
                async with session.post(place, data=piece, server_hostname="books.shop") as answer:
                    assert await answer.read() == piece

            await asyncio.gather(*map(ask, range(200)))

            async def pieces() -> AsyncIterator[bytes]:
                for piece in PIECES:
                    yield piece

            async with session.post(
                f"https://{host}:{port}/aio/", data=pieces(), server_hostname="books.shop"
            ) as answer:
                assert hashlib.sha256(await answer.read()).digest() == hashlib.sha256(LARGE).digest()

    asyncio.run(scenario())


def test_httpx_and_its_pool(proxy: Any, papers: Any) -> None:
    httpx = pytest.importorskip("httpx")
    host, port = proxy.address()
    extensions = {"sni_hostname": "books.shop"}
    with httpx.Client(verify=trusting(papers.ca), trust_env=False, timeout=LONGEST) as session:
        for _ in range(10):
            answer = session.get(f"https://{host}:{port}/sharp/", extensions=extensions)
            assert answer.text.startswith("sharp TLSv1.3 ")
        posted = session.post(f"https://{host}:{port}/aio/", content=iter(PIECES), extensions=extensions)
        assert posted.content == LARGE


def test_wrk_over_tls_sees_no_error(proxy: Any) -> None:
    if reason := tools.missing("wrk"):
        pytest.skip(reason)
    host, port = proxy.address()
    url = f"https://{host}:{port}/sharp/"
    assert tools.wrk(url, 1, CORES.load, "-t1", "-c20", "-H", "Connection: close").requests > 20


# Upstreams ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cluster", "version"), [("sharp-anew", "TLSv1.3"), ("old-anew", "TLSv1.2")])
def test_nginx_sees_a_session_come_back(proxy: Any, papers: Any, cluster: str, version: str) -> None:
    said = curl(*asking(proxy, papers), *[url(proxy, cluster)] * 6).stdout.split("\n")[:-1]
    name = cluster.partition("-")[0]
    assert said[0] == f"{name} {version} . NONE [books.shop]"
    assert said[1:] == [f"{name} {version} r NONE [books.shop]"] * 5
    found = cluster_handshakes(proxy, cluster)
    assert (found["full"], found["resumed"]) == (1, 5)


def test_nginx_asks_for_our_certificate(proxy: Any, papers: Any) -> None:
    for cluster, version in (("asks", "TLSv1.3"), ("asks12", "TLSv1.2")):
        said = curl(*asking(proxy, papers), url(proxy, cluster)).stdout
        assert said == f"{cluster} {version} . SUCCESS [books.shop]\n"
    # nginx says it in HTTP
    said = curl(*asking(proxy, papers), "-w", "%{http_code}", url(proxy, "nobody")).stdout
    assert "No required SSL certificate was sent" in said
    assert said.endswith("400")


def test_nginx_is_not_who_it_should_be(proxy: Any, papers: Any) -> None:
    def status(cluster: str) -> str:
        return curl(*asking(proxy, papers), "-o", "/dev/null", "-w", "%{http_code}", url(proxy, cluster)).stdout

    assert status("named") == "200"
    for cluster, word in (("foreign", "unknown_ca"), ("misnamed", "wrong_name"), ("misidentified", "wrong_name")):
        assert status(cluster) == "503"
        assert set(cluster_handshakes(proxy, cluster)) == {word}


def test_an_answer_until_the_end_is_whole_only_if_the_server_says_so(proxy: Any, papers: Any) -> None:
    for version in ((), ("-0",)):
        options = [*asking(proxy, papers), *version]
        whole = curl(*options, url(proxy, "broken", "/whole"))
        assert whole.stdout == "until the end\n" * 1000
        cut = curl(*options, url(proxy, "broken", "/cut"), check=False)
        assert cut.returncode in (18, 56, 92), cut


@pytest.mark.parametrize("options", [("-tls1_2",), ("-tls1_3",), ("-num_tickets", "0"), ("-no_ticket",)], ids=" ".join)
def test_openssl_s_server(start: Start, papers: Any, options: tuple[str, ...]) -> None:
    server = SServer(papers.books, *options)
    with closing(server):
        proxy = start(one_upstream(server.address, {"ca": papers.ca.root.read_text(), "sni": "books.shop"}))
        host, port = proxy.address()
        for _ in range(3):
            assert "Ciphers supported in s_server binary" in curl(f"http://{host}:{port}/").stdout
        assert sum(cluster_handshakes(proxy, "up").values()) == 3


def one_upstream(address: Any, tls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"}],
        "routes": {"web": [{"cluster": "up"}]},
        "clusters": {"up": {"endpoints": [address], "tls": tls, **more}},
    }


def test_checks_go_over_tls(start: Start, papers: Any, nginx: NginxTls) -> None:
    health = {"path": "/", "interval": "100ms", "interval_unhealthy": "100ms", "unhealthy_after": 1, "healthy_after": 1}
    more = {"health": health, "panic": 0}
    right = {"ca": str(papers.ca.root), "sni": "books.shop"}
    proxy = start(one_upstream(nginx.address("sharp"), right, **more))

    def row() -> Any:
        found = proxy.ask("GET", "/clusters?format=json")[1][0]["endpoints"][0]
        return found["fit"], found["check"]

    assert row() == (True, "ok")
    host, port = proxy.address()
    for wrong, words in (
        ({"ca": str(papers.stranger.root), "sni": "books.shop"}, "TLS: unknown ca"),
        ({"ca": str(papers.ca.root), "sni": "toys.shop"}, "TLS: wrong name"),
    ):
        assert proxy.put(one_upstream(nginx.address("sharp"), wrong, **more))[0] == 200
        poll(lambda: not row()[0], "unfit")
        assert words in row()[1]
        assert curl("-o", "/dev/null", "-w", "%{http_code}", f"http://{host}:{port}/").stdout == "503"
        assert proxy.put(one_upstream(nginx.address("sharp"), right, **more))[0] == 200
        poll(lambda: row() == (True, "ok"), "fit again")


def test_haproxy_before_and_behind(start: Start, papers: Any, tmp_path: Path) -> None:
    if reason := HAProxyTls.missing():
        pytest.skip(reason)
    with HAProxyTls(papers.ca, papers.books, process.free_port()) as peer:
        said = one_upstream(f"127.0.0.1:{peer.behind}", {"ca": papers.ca.root.read_text(), "sni": "books.shop"})
        strict = {**inline(papers.books), "client_ca": papers.ca.root.read_text()}
        said["listeners"][0] |= {"listen": f"127.0.0.1:{peer.upstream}", "tls": strict}
        proxy = start(said)
        place = f"http://127.0.0.1:{peer.port}/"
        assert curl(*[place] * 10).stdout == "behind TLSv1.3 books.shop\n" * 10
        assert set(handshakes(proxy)) | set(cluster_handshakes(proxy, "up")) <= {"full", "resumed"}


# One port for many --------------------------------------------------------------------------------


def test_curl_passes_through_by_name(proxy: Any, papers: Any) -> None:
    for name, server in (("toys.shop", "toys"), ("books.shop", "sharp")):
        options = asking(proxy, papers, name, "through")
        said = curl(*options, f"https://{name}:{proxy.address('through')[1]}/").stdout
        assert said == f"{server} TLSv1.3 . NONE [{name}]\n"
    options = asking(proxy, papers, "elsewhere", "through")
    assert curl(*options, f"https://elsewhere:{proxy.address('through')[1]}/", check=False).returncode == 35
    host, port = proxy.address("through")
    assert curl(f"http://{host}:{port}/", check=False).returncode in (52, 56)


def test_curl_speaks_plainly_and_securely_to_one_port(proxy: Any, papers: Any) -> None:
    host, port = proxy.address("both")
    for _ in range(3):
        assert curl(f"http://{host}:{port}/sharp/").stdout.startswith("sharp ")
        options = asking(proxy, papers, listener="both")
        assert curl(*options, url(proxy, "sharp", listener="both")).stdout.startswith("sharp ")
    assert counted(proxy, "meshproxy_listener_handshakes_total")['listener="both",result="full"'] == 3


# Two of ours --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_two_sidecars_prove_to_each_other_who_they_are(
    tmp_path: Path, papers: Any, aio: str, workers: int
) -> None:
    ca = papers.ca.root.read_text()
    reader, books = inline(papers.reader), inline(papers.books)

    def sidecar(own: dict[str, str], peer: str, identity: str) -> dict[str, Any]:
        """From its application to the other one, and from the other one to its application."""
        return {
            "workers": workers,
            "listeners": [
                {"name": "out", "listen": "127.0.0.2:0", "protocol": "http", "routes": "out"},
                {
                    "name": "in",
                    "listen": "127.0.0.1:0",
                    "protocol": "http",
                    "routes": "in",
                    "tls": {**own, "client_ca": ca},
                },
            ],
            "routes": {"out": [{"cluster": "peer"}], "in": [{"cluster": "app"}]},
            "clusters": {
                "peer": {"endpoints": [{"address": peer, "identity": identity}], "tls": {**own, "ca": ca}},
                "app": {"endpoints": [aio]},
            },
        }

    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one_start, other_start = (Start(tmp_path / name, LOOPS[0]) for name in ("one", "other"))
    try:
        other = other_start(sidecar(books, "127.0.0.1:9", "shop/reader"))
        one = one_start(sidecar(reader, "{}:{}".format(*other.address()), "shop/books"))
        # Now each knows the other
        assert other.put(without_workers(sidecar(books, "{}:{}".format(*one.address()), "shop/reader")))[0] == 200
        for each in (one, other):
            host, port = each.address("out")
            for piece in PIECES[:5]:
                with_body = post(host, port, piece)
                assert with_body == (200, piece)
            assert set(cluster_handshakes(each, "peer")) <= {"full", "resumed"}
            assert sum(handshakes(other if each is one else one).values()) >= 1
        # It is the right CA and the wrong workload
        wrong = without_workers(sidecar(reader, "{}:{}".format(*other.address()), "shop/toys"))
        assert one.put(wrong)[0] == 200
        host, port = one.address("out")
        for _ in range(4):
            assert post(host, port, b"x")[0] == 503
        assert cluster_handshakes(one, "peer")["wrong_name"] >= 4
        # Who shows nothing is not let in
        assert curl("-k", "https://{}:{}/".format(*other.address()), check=False).returncode in (35, 55, 56)
        one_start.assert_no_traceback()
        other_start.assert_no_traceback()
    finally:
        one_start.end()
        other_start.end()


def without_workers(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "workers"}


def post(host: str, port: int, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=LONGEST)
    with closing(connection):
        connection.request("POST", "/", body)
        answer = connection.getresponse()
        return answer.status, answer.read()
