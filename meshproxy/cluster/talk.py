"""What a check says to an endpoint, and what it makes of that which comes back.

    talk = begin(health, codec)             # None: to be connected is all
    opening(health, address, proxy)         # what to send first
    talk.says()                             # what to send then, at the beginning and after each `feed`
    talk.feed(data), talk.end()             # a Result, or None: more is needed; may raise Malformed

Nothing is kept but what a find may begin in, and what is looked at is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from meshproxy.model import Address, Health
from meshproxy.wire import proxy_protocol
from meshproxy.wire.h1 import BodyReader, ResponseCodec, body_reader, encode

MOST_READ = 64 * 1024
"""Bytes of a body, or of what comes without HTTP, in which something is looked for."""
AGENT = b"meshproxy-health"
_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
_ANNOUNCE = {"v1": proxy_protocol.encode_v1, "v2": proxy_protocol.encode_v2}

Word = Literal["ok", "unable", "connect", "timeout", "closed", "malformed", "status", "mismatch"]


@dataclass(frozen=True, slots=True)
class Result:
    word: Word
    """By which it is counted."""
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.word} {self.detail}" if self.detail else self.word


OK = Result("ok")
CLOSED = Result("closed")
TIMEOUT = Result("timeout")


class Talk(Protocol):
    def says(self) -> bytes: ...

    def feed(self, data: bytes) -> Result | None: ...

    def end(self) -> Result:
        """The endpoint will say no more."""


def announced(proxy: Literal["v1", "v2"] | None) -> bytes:
    """The header of the PROXY protocol speaks for nobody but the proxy itself."""
    return _ANNOUNCE[proxy](None, None) if proxy is not None else b""


def opening(said: Health, address: Address, proxy: Literal["v1", "v2"] | None) -> bytes:
    return announced(proxy) + (said.send or b"" if said.path is None else request(said, address))


def request(said: Health, address: Address) -> bytes:
    """In HTTP/1.1."""
    assert said.path is not None
    method = said.method or "GET"
    fields = {b"Host": (said.host or host_of(address)).encode("ascii"), b"User-Agent": AGENT, b"Connection": b"close"}
    if method in _WITH_BODY:
        fields[b"Content-Length"] = b"0"
    own = [(name.encode("ascii"), value.encode("ascii")) for name, value in said.headers]
    replaced = {name.lower() for name, _ in own}
    kept = [(name, value) for name, value in fields.items() if name.lower() not in replaced]
    return encode.request(method.encode("ascii"), said.path.encode("ascii"), [*kept, *own])


def host_of(address: Address) -> str:
    if address.kind == "unix":
        return "localhost"
    bare = address.host.partition("%")[0]
    return f"[{bare}]:{address.port}" if address.kind == "ipv6" else f"{bare}:{address.port}"


def begin(said: Health, codec: ResponseCodec) -> Talk | None:
    if said.path is not None:
        return _Http(said, codec)
    return _Plain(said.expect.body) if said.expect.body is not None else None


class _Listening:
    """All has been said."""

    def says(self) -> bytes:
        return b""


class _Plain(_Listening):
    def __init__(self, wanted: bytes) -> None:
        self._search = _Search(wanted)

    def feed(self, data: bytes) -> Result | None:
        return self._search.look(data)

    def end(self) -> Result:
        return CLOSED


class _Http(_Listening):
    def __init__(self, said: Health, codec: ResponseCodec) -> None:
        self._expect = said.expect
        self._codec = codec
        self._reader = codec.reader()
        self._reader.expect((said.method or "GET").encode("ascii"))
        self._body: BodyReader | None = None
        self._search = _Search(said.expect.body or b"")

    def feed(self, data: bytes) -> Result | None:
        if self._body is not None:
            return self._look(self._body, data)
        reader = self._reader
        head, rest = reader.feed(data), reader.rest
        while head is not None and head.interim:
            head, rest = reader.feed(rest) if rest else None, reader.rest
        if head is None:
            return None
        if not any(good.first <= head.status <= good.last for good in self._expect.statuses):
            return Result("status", str(head.status))
        if self._expect.body is None:
            return OK
        self._body = body_reader(head.body, self._codec.limits, decode=True)
        return self._look(self._body, rest)

    def _look(self, body: BodyReader, data: bytes) -> Result | None:
        found = self._search.look(body.feed(data))
        return Result("mismatch", "body") if found is None and body.done else found

    def end(self) -> Result:
        if self._body is None:
            return CLOSED
        self._body.end()
        return Result("mismatch", "body")


class _Search:
    """For bytes that may come in pieces."""

    def __init__(self, wanted: bytes) -> None:
        self._wanted = wanted
        self._tail = b""
        self._left = MOST_READ

    def look(self, data: bytes) -> Result | None:
        text = self._tail + data
        if text.find(self._wanted) >= 0:
            return OK
        self._left -= len(data)
        if self._left < 0:
            return Result("mismatch", f"not in {MOST_READ} bytes")
        self._tail = text[max(0, len(text) - len(self._wanted) + 1) :]
        return None
