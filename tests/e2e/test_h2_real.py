"""HTTP/2 between the clients and the servers that everybody uses, in cleartext and by TLS, in every pairing."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import poll, starting
from tests.e2e.h2_tools import Nghttpd, NginxBoth, Way, got, h2load, nghttp, ran
from tests.e2e.tls_tools import curl, inline
from tests.pki import Pki

MIB = 1 << 20
LARGE = random.Random(1).randbytes(5 * MIB)
UPSTREAMS = {"one": "HTTP/1.1", "two": "HTTP/2.0", "secret": "HTTP/2.0"}
"""Those of nginx, and how each is spoken to."""
SIDES = ("plain", "tls")
WAYS = [f"{side}-{upstream}" for side in SIDES for upstream in UPSTREAMS]
ECHOES = [f"{side}-echo" for side in SIDES]
STORED = LARGE[: 2 * MIB]
"""What goes up into the window of nginx, 64 KiB, of which it gives some only when it hears from us again."""
ONE_FRAME = 16384
"""The most that it takes, if its peer says nothing else."""
DEAD = "127.0.0.1:9"


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return Pki(tmp_path_factory.mktemp("pki")).ca()


@pytest.fixture(scope="module")
def nginx(papers: Any) -> Iterator[NginxBoth]:
    if reason := NginxBoth.missing():
        pytest.skip(reason)
    with NginxBoth(papers.issue("shop/books", dns=["books.shop"]), LARGE) as peer:
        yield peer


@pytest.fixture(scope="module")
def echo() -> Iterator[Nghttpd]:
    if reason := Nghttpd.missing():
        pytest.skip(reason)
    with Nghttpd() as peer:
        yield peer


@pytest.fixture(scope="module")
def ways(
    papers: Any, nginx: NginxBoth, echo: Nghttpd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Way]]:
    """One process with a listener for each."""
    names = [f"{side}-{upstream}" for side in SIDES for upstream in (*UPSTREAMS, "echo", "dead")]
    # port 0 of an address can be listened to once
    hosts = {name: f"127.0.0.{number}" for number, name in enumerate(names, 1)}
    tls = {"tls": inline(papers.issue("shop/edge", ips=hosts.values()))}
    two = {"http": {"version": "h2"}}
    known = {"tls": {"ca": papers.root.read_text(), "names": ["books.shop"]}}
    config = {
        "listeners": [
            {
                "name": name,
                "listen": f"{host}:0",
                "protocol": "http",
                "routes": name.partition("-")[2],
                **(tls if name.startswith("tls") else {}),
            }
            for name, host in hosts.items()
        ],
        "routes": {name: [{"cluster": name}] for name in (*UPSTREAMS, "echo", "dead")},
        "clusters": {
            "one": {"endpoints": [f"127.0.0.1:{nginx.ports['one']}"]},
            "two": {"endpoints": [f"127.0.0.1:{nginx.ports['two']}"], **two},
            "secret": {"endpoints": [f"127.0.0.1:{nginx.ports['secret']}"], **two, **known},
            "echo": {"endpoints": [f"127.0.0.1:{echo.port}"], **two},
            "dead": {"endpoints": [DEAD], **two},
        },
    }
    with starting(tmp_path_factory.mktemp("proxy")) as start:
        running = start(config)
        yield {name: Way(running.address(name), papers.root if name.startswith("tls") else None) for name in names}


@pytest.fixture
def large(tmp_path: Path) -> str:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return str(path)


@pytest.fixture
def stored(tmp_path: Path) -> str:
    path = tmp_path / "stored"
    path.write_bytes(STORED)
    return str(path)


@pytest.mark.parametrize("name", WAYS)
def test_curl_asks_by_http2_in_every_pairing(ways: dict[str, Way], name: str) -> None:
    answer = got(ways[name], "/")
    assert (answer.status, answer.version) == (200, "2")
    assert answer.body.decode() == UPSTREAMS[name.partition("-")[2]]
    assert not {"connection", "keep-alive", "transfer-encoding"} & {*answer.fields}


@pytest.mark.parametrize("name", WAYS)
def test_the_head_alone_says_how_long_the_body_would_be(ways: dict[str, Way], name: str) -> None:
    answer = got(ways[name], "/large", "--head")
    assert (answer.status, answer.version) == (200, "2")
    assert answer.fields["content-length"] == str(len(LARGE))


@pytest.mark.parametrize("name", WAYS)
def test_what_is_not_there_is_not_found(ways: dict[str, Way], name: str) -> None:
    answer = got(ways[name], "/nothing")
    assert (answer.status, answer.version) == (404, "2")
    assert b"404 Not Found" in answer.body


@pytest.mark.parametrize("name", ["plain-dead", "tls-dead"])
def test_nobody_behind_is_said_by_the_proxy_in_http2(ways: dict[str, Way], name: str) -> None:
    answer = got(ways[name], "/")
    assert (answer.status, answer.version) == (503, "2")


@pytest.mark.parametrize("name", WAYS)
def test_a_large_body_goes_up_and_comes_down_again(ways: dict[str, Way], name: str, stored: str) -> None:
    put = got(ways[name], f"/store/{name}", "--upload-file", stored)
    assert put.status == 201
    answer = got(ways[name], f"/store/{name}")
    assert (answer.status, answer.version, answer.fields["content-length"]) == (200, "2", str(len(STORED)))
    assert answer.body == STORED
    assert got(ways[name], "/large").body == LARGE


@pytest.mark.parametrize("name", ECHOES)
def test_a_posted_body_comes_back_while_it_is_sent(ways: dict[str, Way], name: str, large: str) -> None:
    answer = got(ways[name], "/any", "--data-binary", f"@{large}")
    assert (answer.status, answer.version) == (200, "2")
    assert answer.body == LARGE


@pytest.mark.parametrize("name", ECHOES)
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--padding=200",),
        ("--no-content-length",),
        ("--expect-continue",),
        ("--window-bits=10", "--connection-window-bits=16"),
        ("--header-table-size=8192", "--header-table-size=0", "--header-table-size=4096"),
        ("--encoder-header-table-size=0",),
        ("--no-dep", "--no-push"),
    ],
    ids=lambda options: " ".join(options) or "as it is",
)
def test_nghttp_posts_in_all_its_ways(ways: dict[str, Way], name: str, options: tuple[str, ...], large: str) -> None:
    assert nghttp(ways[name], "/any", f"--data={large}", *options) == LARGE


@pytest.mark.parametrize("name", WAYS)
def test_nghttp_sends_a_head_in_several_frames(ways: dict[str, Way], name: str) -> None:
    said = nghttp(ways[name], "/", "--continuation", "-v").decode()
    sent = re.search(r"send HEADERS frame <length=(\d+)", said)
    assert sent
    assert int(sent[1]) > ONE_FRAME
    assert ":status: 200" in said


# In cleartext the curl of today's Debian cannot have several downloads on one connection.
@pytest.mark.parametrize("name", [name for name in WAYS if name.startswith("tls")])
def test_bodies_that_come_at_once_are_not_mixed(ways: dict[str, Way], name: str, tmp_path: Path) -> None:
    way, files = ways[name], [tmp_path / str(number) for number in range(10)]
    each = [word for path in files for word in ("-o", str(path), way.url(f"/large?{path.name}"))]
    curl(*way.options, "--parallel", "--parallel-max", "10", *each)
    assert all(path.read_bytes() == LARGE for path in files)


@pytest.mark.parametrize("name", [*WAYS, *ECHOES])
def test_trailers_come_behind_the_body(ways: dict[str, Way], name: str, large: str) -> None:
    # curl does not wait for what follows after as many bytes as it was told
    said = nghttp(ways[name], "/tail", "-v", "-n", *[f"--data={large}"] * (name in ECHOES))
    assert b" x-sum: 42\n" in said
    assert said.find(b" recv DATA frame") < said.find(b" x-sum: 42\n")


@pytest.mark.parametrize("name", ECHOES)
def test_trailers_go_up_behind_the_body(ways: dict[str, Way], echo: Nghttpd, name: str, large: str) -> None:
    trailers = (f"--trailer=x-way: {name}", "--trailer=te-st: a b")
    nghttp(ways[name], "/any", f"--data={large}", "--no-content-length", *trailers)
    poll(lambda: f"x-way: {name}" in echo.log(), "the trailer in the log of the upstream")


@pytest.mark.parametrize("name", WAYS)
def test_h2load_has_many_streams_at_once(ways: dict[str, Way], name: str) -> None:
    assert h2load(ways[name], "/", "-n2000", "-c4", "-m100") == 2000


@pytest.mark.parametrize("name", WAYS)
def test_h2load_has_many_large_bodies_at_once(ways: dict[str, Way], name: str) -> None:
    assert h2load(ways[name], "/large", "-n20", "-c2", "-m10", "-w17", "-W18") == 20


@pytest.mark.parametrize("name", ECHOES)
def test_h2load_posts_many_bodies_at_once(ways: dict[str, Way], name: str, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(LARGE[:100_000])
    assert h2load(ways[name], "/any", "-n200", "-c4", "-m20", f"-d{body}") == 200


@pytest.mark.parametrize("name", WAYS)
def test_a_client_of_the_old_version_is_served_beside(ways: dict[str, Way], name: str, stored: str) -> None:
    answer = got(ways[name], "/", "--http1.1")
    assert (answer.status, answer.version) == (200, "1.1")
    assert answer.body.decode() == UPSTREAMS[name.partition("-")[2]]
    assert got(ways[name], f"/store/{name}-old", "--http1.1", "--upload-file", stored).status == 201
    assert got(ways[name], f"/store/{name}-old", "--http1.1").body == STORED
    assert got(ways[name], "/large", "--http1.1", "--head").fields["content-length"] == str(len(LARGE))


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_who_would_upgrade_in_cleartext_is_answered_in_the_old_version(ways: dict[str, Way], upstream: str) -> None:
    way = ways[f"plain-{upstream}"]
    # curl with `--http2` alone asks by HTTP/1.1, with `Upgrade: h2c`
    answer = got(way, "/", "--http2")
    assert (answer.status, answer.version) == (200, "1.1")
    assert "upgrade" not in answer.fields


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [
        (("-alpn", "h2,http/1.1"), "ALPN protocol: h2"),
        (("-alpn", "http/1.1,h2"), "ALPN protocol: h2"),
        (("-alpn", "http/1.1"), "ALPN protocol: http/1.1"),
        ((), "No ALPN negotiated"),
    ],
    ids=["both", "both the other way", "the old one", "nothing"],
)
def test_tls_agrees_on_the_protocol(ways: dict[str, Way], offered: tuple[str, ...], agreed: str) -> None:
    host, port = ways["tls-one"].address
    said = ran("openssl", "s_client", "-connect", f"{host}:{port}", *offered)
    assert agreed in said.decode(errors="replace")
