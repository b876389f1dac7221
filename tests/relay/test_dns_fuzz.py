"""Whatever a client or a server sends: nothing raises, every answer is for its question, and nothing grows."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshproxy.model import Address, Dns, decode
from meshproxy.observe.metrics.listeners import ListenerStats
from meshproxy.relay.dns import upstream as upstreams
from meshproxy.relay.dns.service import DnsService
from meshproxy.relay.dns.table import Table
from meshproxy.relay.dns.upstream import Terms, Upstream, Waiting
from meshproxy.wire.dns import Asked, Bounds, Kept, Malformed, Refusal, Truncated, read_answer, read_question
from tests.conftest import FakeClock
from tests.wire import dns_messages as dns

SERVER = Address("ipv4", "192.0.2.53", 53)
TABLE = {"books.shop": ["10.0.0.1", "fd00::1"], "*.dev.shop": "10.0.0.9"}
PENDING, ENTRIES, SIZE = 20, 10, 1 << 16

names = st.sampled_from(("books.shop", "a.dev.shop", "one.test", "TWO.test", "three.test", ""))
kinds = st.sampled_from((dns.A, dns.AAAA, dns.MX, dns.TXT, dns.HTTPS, dns.ANY, dns.AXFR))
sizes = st.sampled_from((None, 0, 600, 4096))
well_formed = st.builds(
    lambda name, kind, id, size, secure: dns.query(name, kind, id=id, size=size, secure=secure),
    names, kinds, st.integers(0, 65535), sizes, st.booleans(),
)  # fmt: skip
damaged = st.builds(
    lambda data, at, byte: data[: at % len(data)] + bytes((byte,)) + data[at % len(data) + 1 :],
    well_formed, st.integers(0, 100), st.integers(0, 255),
)  # fmt: skip
asking = st.tuples(st.just("ask"), st.one_of(well_formed, damaged, st.binary(max_size=60)))
saying = st.tuples(st.just("say"), st.binary(max_size=80))
others = st.tuples(st.sampled_from(("leave", "wait")), st.just(b""))


class Double:
    """In the place of an attempt: it says what it is told to say."""

    made: list[Double] = []

    def __init__(
        self, _loop: Any, _clock: Any, _server: Any, key: bytes, bounds: Bounds, _timeout: Any, done: Any
    ) -> None:
        self._key = key
        self._bounds = bounds
        self._done = done

    def begin(self) -> None:
        self.made.append(self)

    def cancel(self) -> None:
        self.made.remove(self)

    def say(self, rest: bytes) -> None:
        counts = struct.pack("!3H", *(byte % 3 for byte in rest[:3].ljust(3, b"\0")))
        found: Kept | None = None
        try:
            data = struct.pack("!3H", 9, dns.RESPONSE | len(rest) % 4, 1) + counts + self._key[:-1] + rest[3:]
            found = read_answer(data, 9, self._key, self._bounds)
        except (Malformed, Truncated):
            pass
        self.made.remove(self)
        self._done(found)


@pytest.fixture(autouse=True)
def doubles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(upstreams, "Attempt", Double)
    yield
    Double.made.clear()


@settings(deadline=None)
@given(st.lists(st.one_of(asking, saying, others), max_size=60))
def test_any_conversation(steps: list[tuple[str, bytes]]) -> None:
    Double.made.clear()
    clock, loop = FakeClock(), asyncio.new_event_loop()
    loop.close()  # nobody needs it here
    upstream = Upstream(loop, clock, (SERVER,))
    upstream.use(Terms(1.0, PENDING, ENTRIES, SIZE, Bounds()))
    stats = ListenerStats()
    service = DnsService(Table(decode(Dns, {"names": TABLE})), upstream, True, 30, stats.asked())
    waiting: dict[Waiting, None] = {}
    answered = 0

    def hears(data: bytes) -> Any:
        question = read_question(data)

        def say(message: bytes, who: Waiting | None) -> None:
            nonlocal answered
            answered += 1
            if who is not None:
                waiting.pop(who, None)
            heard = dns.heard(message)
            assert heard.id == int.from_bytes(data[:2])
            assert heard.flags & 0x8000
            if isinstance(question, Refusal):
                return
            assert isinstance(question, Asked)
            assert heard.asked == question.question
            assert len(message) <= question.size
            assert bool([kind for _, kind, _, _ in heard.extra if kind == dns.OPT]) == question.edns

        return say

    asked = 0
    for what, data in steps:
        if what == "ask":
            asked += 1
            who = service.take(data, hears(data), datagram=True)
            if who is not None:
                waiting[who] = None
        elif what == "say" and Double.made:
            Double.made[0].say(data)
        elif what == "leave" and waiting:
            gone = waiting.popitem()[0]
            gone.drain()
            answered += 1
        else:
            clock.advance(1)
        assert upstream.waiting == len(waiting) <= PENDING
        assert len(Double.made) <= len(waiting)
        assert len(upstream.cache) <= ENTRIES
        assert upstream.cache.size <= SIZE
    assert answered + len(waiting) + stats.dns["ignored"] == asked
