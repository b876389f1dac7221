"""`meshproxy tap`: what it asks for, what it prints, and how it ends."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from meshproxy.cli import FAILED, OK, USAGE, main
from meshproxy.cli.tap import lines
from meshproxy.observe.seen import heads, seen
from tests.observe.records import OFFSET, Request, record

SEEN = seen(record(status=503, flags="UF,URX", seconds=0.0124), OFFSET)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event(kind: str, data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


@contextmanager
def admin(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Answers one request with these bytes; its address, and what it was asked."""
    asked: list[bytes] = []

    def serve() -> None:
        sock, _ = listening.accept()
        with sock:
            asked.append(sock.recv(65536))
            sock.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield "{}:{}".format(*listening.getsockname()), asked
        thread.join(10)


def test_a_line_for_each_and_an_end_at_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    answer = HEAD + chunks(b":\n\n", event("exchange", SEEN), event("lost", {"count": 7}) + event("exchange", SEEN))
    with admin(answer) as (address, asked):
        code = main(
            ["tap", "--admin", address, "--token", "abc", "--status", "5xx", "--route", "", "--route", "web/0",
             "--path", "/b c", "--limit", "2", "--headers"]
        )  # fmt: skip
    assert code == OK
    assert asked[0].startswith(b"GET /tap?route=&route=web%2F0&path=%2Fb+c&status=5xx&limit=2&headers=1 HTTP/1.1\r\n")
    assert b"Authorization: Bearer abc" in asked[0]
    said = capsys.readouterr()
    assert said.out.splitlines() == ["22:13:20.000  503       12.4ms  GET     shop.local/v1/books?page=*  UF,URX"] * 2
    assert said.err == "meshproxy: 7 more are not shown: there were too many at once\n"


def test_json_for_machines_and_an_end_that_comes_early(capsys: pytest.CaptureFixture[str]) -> None:
    with admin(HEAD + chunks(event("exchange", SEEN))) as (address, _):
        assert main(["tap", "--admin", address, "-o", "json", "--limit", "2"]) == FAILED
    said = capsys.readouterr()
    assert json.loads(said.out) == SEEN
    assert said.err == "meshproxy: the proxy has ended it\n"


def test_a_refusal_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with admin(b"HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nfull") as (address, _):
        assert main(["tap", "--admin", address]) == FAILED
    assert "/tap: 503 full" in capsys.readouterr().err


def test_what_makes_no_sense_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tap", "--admin", "127.0.0.1:1", "--status", "9xx"]) == USAGE
    assert "status: '9xx' is neither" in capsys.readouterr().err


def test_what_a_client_has_sent_does_not_steer_a_terminal() -> None:
    head = Request(target=b"/\x1b[2J\x9b", fields=[(b"X-A", b"\x1b]0;\x07"), (b"Cookie", b"a=b")])
    odd = record(request=head, response=None, status=0)
    assert list(lines({**seen(odd, OFFSET), **heads(odd)})) == [
        "22:13:20.000    -       13.5ms  GET     shop.local/\\x1b[2J\\x9b  -",
        "    > X-A: \\x1b]0;\\x07",
        "    > Cookie: *",
    ]
