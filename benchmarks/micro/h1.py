"""What the HTTP/1.1 codec costs beside h11 and httptools: heads that differ each time, heads that repeat, chunks.

Everything happens in this process, without a socket.  A figure is the best of many passes over a thousand inputs, since
whatever else the machine does can only add to it.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import h11

from benchmarks.harness import OURS, Plan, Result, interleave, note
from meshproxy.wire.h1 import CHUNKED, Limits, RequestCodec, ResponseCodec, body_reader

HEADS = 1000
PIECE, PIECES = 4096, 16
LINE_BY_LINE = f"{OURS}, line by line"

REQUEST = (
    b"GET /v1/books/%d?page=%d HTTP/1.1\r\nHost: bookstore.shop.svc.cluster.local:14001\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) bookbuyer/1.4.2\r\nAccept: application/json, text/plain, */*\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\nX-Request-Id: %032x\r\ntraceparent: 00-%032x-%016x-01\r\n"
    b"X-Forwarded-Proto: http\r\nContent-Type: application/json\r\nX-B3-Sampled: 1\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 06:%02d:%02d GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\nX-Request-Id: %032x\r\n"
    b'ETag: "%016x"\r\nCache-Control: no-store\r\nVary: Accept-Encoding\r\n\r\n'
)

Read = Callable[[bytes], object]


def run(plan: Plan) -> list[Result]:
    rng = random.Random(1)
    requests = [
        REQUEST % (rng.randrange(10**6), rng.randrange(100), *map(rng.getrandbits, (128, 128, 64)))
        for _ in range(HEADS)
    ]
    responses = [
        RESPONSE % (rng.randrange(60), rng.randrange(60), rng.randrange(10**5), *map(rng.getrandbits, (128, 64)))
        for _ in range(HEADS)
    ]
    same = [requests[0].replace(b"?page=", b"/")] * HEADS
    chunks = [(b"%x\r\n%b\r\n" % (PIECE, bytes(PIECE))) * PIECES + b"0\r\n\r\n"] * 20
    seconds = plan.seconds / 10

    def measured(work: str, readers: dict[str, Read], inputs: Sequence[bytes]) -> Result:
        return Result(
            f"micro h1: {work}", "µs", interleave(readers, plan.rounds, lambda read: best(read, inputs, seconds))
        )

    in_lines = {LINE_BY_LINE: RequestCodec().parse}
    return [
        measured("request head, 9 fields, each different", {**readers("Request"), **in_lines}, requests),
        measured("request head, 9 fields, always the same", readers("Request"), same),
        measured("response head, 9 fields, each different", readers("Response"), responses),
        measured(f"chunked body, {PIECES} x {PIECE} bytes, whole", chunk_readers(), chunks),
        measured("request head, written to the next hop", {OURS: forwarding}, requests),
    ]


def best(read: Read, inputs: Sequence[bytes], seconds: float) -> float:
    """Microseconds for one input, of the best pass."""
    least, end = float("inf"), time.perf_counter() + seconds
    while True:
        began = time.perf_counter()
        for data in inputs:
            read(data)
        now = time.perf_counter()
        least = min(least, now - began)
        if now > end:
            return least / len(inputs) * 1e6


def readers(kind: str) -> dict[str, Read]:
    ours = RequestCodec().reader() if kind == "Request" else ResponseCodec().reader()
    found: dict[str, Read] = {OURS: ours.feed, "h11": by_h11 if kind == "Request" else answer_by_h11}
    if parser := httptools_parser(f"Http{kind}Parser"):
        found["httptools"] = parser
    return found


def forwarding(data: bytes, codec: RequestCodec = RequestCodec()) -> bytes:  # noqa: B008 - one for all
    head = codec.reader().feed(data)
    assert head
    return head.forward(added=b"X-Forwarded-For: 10.0.0.1\r\n")


def by_h11(data: bytes) -> None:
    conn = h11.Connection(h11.SERVER)
    conn.receive_data(data)
    conn.next_event()


def answer_by_h11(data: bytes) -> None:
    conn = h11.Connection(h11.CLIENT)
    conn.receive_data(data)
    conn.next_event()


class Collector:
    """What a user of httptools keeps of a message."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []

    def on_message_begin(self) -> None:
        self.fields, self.body = [], []

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body.append(body)


def httptools_parser(kind: str) -> Read | None:
    if importlib.util.find_spec("httptools") is None:
        note("httptools skipped: not installed")
        return None
    httptools: Any = importlib.import_module("httptools")

    def read(data: bytes) -> None:
        parser = getattr(httptools, kind)(Collector())
        parser.feed_data(data)

    return read


def chunk_readers() -> dict[str, Read]:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

    def ours(data: bytes) -> None:
        body_reader(CHUNKED, Limits()).feed(data)

    def theirs(data: bytes) -> None:
        conn = h11.Connection(h11.SERVER)
        conn.receive_data(head + data)
        while not isinstance(conn.next_event(), h11.EndOfMessage):
            pass

    found: dict[str, Read] = {OURS: ours, "h11": theirs}
    if parser := httptools_parser("HttpRequestParser"):
        found["httptools"] = lambda data: parser(head + data)
    return found
