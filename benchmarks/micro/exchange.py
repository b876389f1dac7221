"""What a request and its answer cost beside reading and writing: decided, forwarded, answered, counted.

The proxy's own connections, compiled from a configuration, with sockets that do nothing: heads go in as bytes and come
out as bytes.  A figure is the best of many passes over some hundred exchanges, in this process.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from unittest import mock

from benchmarks.gateways import BREAKER, POLICY
from benchmarks.harness import Plan, Result, interleave, note
from meshproxy.core.filter import Exchange, Hooks, Scope
from meshproxy.model import Config, decode
from meshproxy.net import dial
from meshproxy.net.clock import LoopClock
from meshproxy.net.doors import Doors
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.relay.http.downstream import Downstream
from meshproxy.relay.origin import Origin
from meshproxy.server.fleet import Solo

EXCHANGES = 300
FILTERS = 8
MOST_REQUESTS = 10_000_000
"""In a second: more than there will be."""

Words = tuple[Sequence[bytes], Sequence[bytes]]
"""Requests, and their answers."""


@dataclass(frozen=True)
class Look:
    """A filter that looks at the request, as most do."""

    def build(self, scope: Scope) -> Hooks:
        def request(x: Exchange) -> None:
            if x.request.method == b"BREW":
                raise AssertionError("nobody asks for that here")

        return Hooks(request=request)


RULES: dict[str, dict[str, Any]] = {
    "plain": {"cluster": "up"},
    "a sidecar's policy": {**POLICY, "split": [{"cluster": "up", "weight": 9}, {"cluster": "next", "weight": 0}]},
    "fields changed": {
        "cluster": "up",
        "request_headers": {"set": {"x-from": "%{client}"}, "remove": ["cookie"]},
        "response_headers": {"set": {"cache-control": "no-store"}, "remove": ["server"]},
    },
    f"{FILTERS} filters": {"cluster": "up", "filters": [{"extension": f"{__name__}:Look"}] * FILTERS},
    "rate limited as a whole": {"cluster": "up", "filters": [{"rate_limit": {"requests": MOST_REQUESTS}}]},
    "rate limited by a header": {
        "cluster": "up",
        "filters": [{"rate_limit": {"requests": MOST_REQUESTS, "by": {"header": "x-turn"}}}],
    },
    "replied to by the proxy": {"reply": {"body": "hello, world"}},
}


COLLECTOR = {"otlp": "http://127.0.0.1:1"}
OBSERVED: dict[str, dict[str, Any]] = {
    "nothing counted": {"metrics": {"requests": False}},
    "an access log": {"access_log": {"to": {"file": "/dev/null"}}},
    "traced, 1 in 100": {"tracing": {"export": COLLECTOR, "sample": {"share": 0.01, "rate": None, "parent": False}}},
    "traced, 100 a second": {"tracing": {"export": COLLECTOR, "sample": {"parent": False}}},
    "traced, all": {"tracing": {"export": COLLECTOR, "sample": {"share": 1.0, "rate": None, "parent": False}}},
}
"""What else a configuration says, with the plain rule.  What is written or posted is measured elsewhere."""


def repeated() -> Words:
    ask = b"GET /hello HTTP/1.1\r\nHost: shop.local\r\n\r\n"
    return [ask] * EXCHANGES, [answer(b"Server: origin\r\n")] * EXCHANGES


def differing() -> Words:
    """Nine fields each way."""
    asks = [
        b"GET /books/%d?page=%d HTTP/1.1\r\nHost: shop.local\r\nUser-Agent: bench\r\nAccept: */*\r\n"
        b"Accept-Encoding: gzip\r\nCookie: s=%b\r\nX-Request-Id: %b\r\nTraceparent: 00-%b-%b-01\r\nX-Turn: %d\r\n"
        b"Referer: http://shop.local/%d\r\n\r\n" % (n, n % 9, fresh(), fresh(), fresh(), fresh()[:16], n, n)
        for n in range(EXCHANGES)
    ]
    answers = [
        answer(
            b"Server: origin\r\nX-Id: %b\r\nETag: \"%d\"\r\nX-Time: %d.5\r\nCache-Control: max-age=%d\r\n"
            b"Vary: accept\r\n" % (fresh(), n, n, n)
        )
        for n in range(EXCHANGES)
    ]
    return asks, answers


def fresh() -> bytes:
    return secrets.token_hex(16).encode()


def answer(fields: bytes) -> bytes:
    rest = b"Content-Type: text/plain\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"
    return b"HTTP/1.1 200 OK\r\n%b%b" % (fields, rest)


class Nowhere:
    """A connection that takes everything and says nothing by itself."""

    full = False
    received = sent = 0

    def __init__(self, *made_of: object) -> None:
        for each in made_of:
            if isinstance(each, socket.socket):
                each.close()
        self.fed_by: object = None
        self.handler: object = None

    def read_to(self, take: Callable[[bytes], None]) -> None:
        self.take = take

    def write(self, data: bytes) -> None:
        """Where the kernel would be asked."""

    def start(self) -> None: ...

    look = start_now = stop = close = abort = hold = release = start


def run(plan: Plan) -> list[Result]:
    note(f"micro exchange: {plan.rounds} rounds of {plan.seconds / 10:g} s on {len(RULES) + len(OBSERVED)} subjects")
    kinds = {"the same head": repeated(), "each head differs": differing()}

    subjects: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {name: (rule, {}) for name, rule in RULES.items()}
    subjects |= {name: (RULES["plain"], more) for name, more in OBSERVED.items()}

    def once(subject: tuple[dict[str, Any], dict[str, Any], Words]) -> float:
        rule, more, words = subject
        return asyncio.run(best(rule, words, plan.seconds / 10, more))

    return [
        Result(
            f"micro exchange: {name}",
            "µs",
            interleave({kind: (rule, more, words) for kind, words in kinds.items()}, plan.rounds, once),
        )
        for name, (rule, more) in subjects.items()
    ]


async def best(
    rule: dict[str, Any], words: Words, seconds: float, more: Mapping[str, Any] = MappingProxyType({})
) -> float:
    """Microseconds for one exchange, of the best pass."""
    loop = asyncio.get_running_loop()
    log = Log(level="error")
    solo = Solo(loop, LoopClock(loop), Doors(), ProcessStats("bench"), log)
    with socket.create_server(("127.0.0.1", 0)) as behind, mock.patch.object(dial, "Conn", Nowhere):
        try:
            await solo.prepare(decode(Config, config(rule, behind.getsockname()[1]) | dict(more)))
            await solo.commit()
            return passes(solo, words, seconds)
        finally:
            solo.close()


def config(rule: dict[str, Any], port: int) -> dict[str, Any]:
    return {
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"}],
        "routes": {"web": [rule]},
        "clusters": {
            "up": {"endpoints": [f"127.0.0.1:{port}"], "breaker": BREAKER if "retry" in rule else {}},
            "next": {"endpoints": [f"127.0.0.1:{port}"]},
        },
    }


def passes(solo: Solo, words: Words, seconds: float) -> float:
    (state,) = solo.worker._guests.states
    assert state.entry is not None
    origin = Origin(("127.0.0.1", 1), 80)
    client: Any = Nowhere()
    state.came()
    Downstream(state.entry.choose(origin), client, origin).begin()
    client.take(words[0][0])
    carriers: list[Any] = list(solo.worker._http.upstreams)
    respond = carriers[0].conn.take if carriers else lambda _: None
    respond(words[1][0])
    pairs = list(zip(*words, strict=True))
    least, end, ask = float("inf"), time.perf_counter() + seconds, client.take
    while time.perf_counter() < end:
        began = time.perf_counter()
        for request, response in pairs:
            ask(request)
            respond(response)
        least = min(least, time.perf_counter() - began)
    return least / len(pairs) * 1e6
