"""A small HTTP/1.1 client for one address to which bodies are posted, one at a time, everything bounded.

    box = PostBox(clock, Aside(loop, "names"), "http://collector:4318/v1/logs", headers, connect, timeout=10.0)
    box.post(pieces, done)      # done(Answer(200, 0.0)), or done(OSError): once, perhaps before `post` returns

`connect` is how an address is reached, in plain or by TLS: `plainly` or `securely` below, or what a cluster has.  Names
are looked up in a thread, of which nobody waits for the end.  It follows no redirect and looks for no proxy.  A
connection is kept for the next body; where one that was kept has ended, unheard, the body is sent once more at once.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from urllib.parse import urlsplit

from meshproxy import __version__
from meshproxy.model import Address
from meshproxy.net.aside import Thread
from meshproxy.net.clock import Clock, Timer
from meshproxy.net.conn import Conn
from meshproxy.net.deadlines import Deadlines
from meshproxy.net.dial import Dial, Dialling, Outcome, bare
from meshproxy.net.tls import Session, TlsDial
from meshproxy.wire.h1 import BodyReader, Malformed, ResponseCodec, ResponseHead, body_reader, encode

AGENT = f"meshproxy/{__version__}".encode()
PORTS = {"http": 80, "https": 443}
MOST_ANSWER = 64 * 1024
"""Bytes of the body of an answer that are read past, so that the connection can be kept."""
MOST_ADDRESSES = 8
"""Of one name that are tried, one after the other."""

_codec = ResponseCodec()
_seconds = re.compile(rb"[0-9]{1,5}").fullmatch

Field = tuple[bytes, bytes]
Connect = Callable[[Address, Callable[[Outcome], None]], Dialling]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    rest: float
    """Seconds for which it asks to be left alone."""


Done = Callable[[Answer | OSError], None]


def plainly(loop: asyncio.AbstractEventLoop, clock: Clock, within: float) -> Connect:
    return lambda address, done: Dial(loop, clock, address, within, done)


def securely(
    loop: asyncio.AbstractEventLoop,
    clock: Clock,
    deadlines: Deadlines,
    within: float,
    context: ssl.SSLContext,
    name: str,
) -> Connect:
    """The context says what is believed, and whether the certificate must have this name."""
    plain = plainly(loop, clock, within)

    def connect(address: Address, done: Callable[[Outcome], None]) -> Dialling:
        def session(_: bytes) -> Session:
            return Session(context, name=name)

        return TlsDial(deadlines, partial(plain, address), within, done, session, lambda _: None)

    return connect


class PostBox:
    def __init__(
        self,
        clock: Clock,
        aside: Thread,
        url: str,
        headers: Sequence[Field],
        connect: Connect,
        *,
        timeout: float,
    ) -> None:
        """`timeout` is for all of one body, from looking up the name.  Raises ValueError for what cannot be said."""
        said = urlsplit(url)
        self._clock = clock
        self._aside = aside
        self._host = said.hostname or ""
        self._port = said.port or PORTS[said.scheme]
        fields = ((b"Host", said.netloc.encode("ascii")), (b"User-Agent", AGENT), *headers)
        target = (said.path or "/") + (f"?{said.query}" if said.query else "")
        self._opening = encode.request(b"POST", target.encode("ascii"), fields).removesuffix(b"\r\n")
        self._connect = connect
        self._timeout = timeout
        self._turn = 0
        """Which of its addresses is tried."""
        self._looking_up = False
        self._dial: Dialling | None = None
        self._conn: Conn | None = None
        # What is under way
        self._done: Done | None = None
        self._timer: Timer | None = None
        self._said = b""
        self._kept = False
        """Whether the connection had been used before, and has not been heard since."""
        self._reader = _codec.reader()
        self._head: ResponseHead | None = None
        self._body: BodyReader | None = None
        self._read = 0

    def post(self, pieces: Sequence[bytes], done: Done) -> None:
        assert self._done is None, "one at a time"
        self._done = done
        # Much, so that it is copied once
        self._said = b"".join((b"%bContent-Length: %d\r\n\r\n" % (self._opening, sum(map(len, pieces))), *pieces))
        self._timer = self._clock.after(self._timeout, self._late)
        if self._conn is not None:
            self._kept = True
            self._say(self._conn)
        else:
            self._reach()

    def close(self) -> None:
        """Nothing is heard of it any more."""
        self._forget()
        self._disconnect()
        self._aside.end()

    # A connection

    def _reach(self) -> None:
        self._kept = False
        try:
            found = ip_address(self._host)
        except ValueError:
            # A name that takes long is waited for by whoever comes next, too
            if not self._looking_up:
                self._looking_up = True
                self._aside.do(partial(_addresses, self._host, self._port), self._looked_up)
        else:
            self._dial_to([Address("ipv4" if found.version == 4 else "ipv6", str(found), self._port)])

    def _looked_up(self, found: list[Address] | None, fault: Exception | None) -> None:
        self._looking_up = False
        if self._done is None or self._dial is not None or self._conn is not None:
            return
        if found:
            self._dial_to(found)
        else:
            self._end(OSError(errno.EHOSTUNREACH, f"its name: {getattr(fault, 'strerror', None) or 'no address'}"))

    def _dial_to(self, found: Sequence[Address]) -> None:
        dial = self._connect(found[self._turn % len(found)], self._dialled)
        self._dial = dial
        outcome = dial.begin()
        if outcome is not None:
            self._dialled(outcome)

    def _dialled(self, outcome: Outcome) -> None:
        self._dial = None
        if isinstance(outcome, OSError):
            self._turn += 1
            self._end(outcome)
            return
        self._conn = conn = outcome
        conn.handler = self
        conn.read_to(self._take)
        conn.start()
        self._say(conn)

    def _disconnect(self) -> None:
        dial, self._dial = self._dial, None
        conn, self._conn = self._conn, None
        if dial is not None:
            dial.cancel()
        if conn is not None:
            conn.abort()

    # A body, and what is said to it

    def _say(self, conn: Conn) -> None:
        self._reader = _codec.reader()
        self._reader.expect(b"POST")
        self._head = self._body = None
        self._read = 0
        conn.write(self._said)

    def _take(self, data: bytes) -> None:
        if self._done is None:
            self._disconnect()  # nobody has asked for anything
            return
        self._kept = False
        try:
            over = self._heard(data)
        except Malformed as fault:
            self._fail(f"what it says is no HTTP/1.1: {fault.reason.value.replace('_', ' ')}")
            return
        if over:
            self._answered()

    def _heard(self, data: bytes) -> bool:
        """Whether there is nothing more to hear."""
        reader, body = self._reader, self._body
        if body is None:
            head = reader.feed(data)
            while head is not None and head.interim:
                head = reader.feed(reader.rest) if reader.rest else None
            if head is None:
                return False
            self._head = head
            body = self._body = body_reader(head.body, _codec.limits)
            data = reader.rest
        body.feed(data)
        self._read += len(data)
        return body.done or not self._head_keeps() or self._read > MOST_ANSWER

    def _head_keeps(self) -> bool:
        return self._head is not None and self._head.keep_alive

    def on_end(self, conn: Conn) -> None:
        self._cut("it closed the connection without an answer")

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._cut(str(error.strerror) if error is not None else "it closed the connection without an answer")

    def _cut(self, why: str) -> None:
        if self._done is not None and self._kept:
            self._disconnect()
            self._reach()
        else:
            self._fail(why)

    def _late(self) -> None:
        self._timer = None
        self._fail(f"no answer within {self._timeout:g} s")

    def _fail(self, why: str) -> None:
        """Unless the head of an answer is here: the rest of it says nothing to us."""
        if self._head is not None:
            self._answered()
        else:
            self._end(OSError(errno.EPROTO, why))

    def _answered(self) -> None:
        head, body, conn = self._head, self._body, self._conn
        assert head is not None
        if not (head.keep_alive and body is not None and body.done and not body.rest and conn and not conn.full):
            self._disconnect()
        rest = head.get(b"retry-after") or b""
        self._end(Answer(head.status, float(rest) if _seconds(rest) else 0.0))

    def _end(self, result: Answer | OSError) -> None:
        if isinstance(result, OSError):
            self._disconnect()
        done = self._forget()
        if done is not None:
            done(bare(result) if isinstance(result, OSError) else result)

    def _forget(self) -> Done | None:
        done, self._done = self._done, None
        self._said = b""
        self._head = self._body = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return done


def _addresses(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    hosts = dict.fromkeys(str(name[0]) for *_, name in found)
    return [Address("ipv6" if ":" in each else "ipv4", each, port) for each in [*hosts][:MOST_ADDRESSES]]
