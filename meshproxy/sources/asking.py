"""A small HTTP/1.1 client for control planes: one server, one question at a time, everything bounded.

    asked = Asked("http://plane.local:6060/repo/", within=10.0, reach=reach, token="s3cret")
    answer = await asked.ask(b"HEAD", asked.target)         # Answer(status=200, etag="42", body=b""); raises Unanswered
    async with asked.upgraded(target, offer) as talk: ...   # a Talk: what was agreed on, and the bytes

It follows no redirect, so that a token is told to the one origin that it is for, and looks for no proxy in the
environment.  A connection is kept for the next question; one that ended meanwhile is replaced.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

from meshproxy import __version__
from meshproxy.dialects.text import LARGEST_DOCUMENT
from meshproxy.model import Address
from meshproxy.net.address import new_socket, sockaddr, tune_tcp
from meshproxy.net.tls.faults import Broken, broken
from meshproxy.wire.h1 import Malformed, ResponseCodec, ResponseHead, body_reader, encode

AGENT = f"meshproxy/{__version__}".encode()
READ_SIZE = 65536
MOST_ADDRESSES = 8
"""Of one name that are tried, one after the other."""
LONGEST_ETAG = 1024
PORTS = {"http": 80, "https": 443}
_REDIRECTS = range(300, 400)

_codec = ResponseCodec()

Field = tuple[bytes, bytes]
Result = TypeVar("Result")
Word = Literal["failed", "denied", "gone"]


class Unanswered(Exception):
    """Nothing came that could be made use of, and why."""

    word: ClassVar[Word] = "failed"


class Denied(Unanswered):
    """We may not ask that."""

    word = "denied"


class Gone(Unanswered):
    """There is nothing of that name."""

    word = "gone"


class Reach(Protocol):
    """How a server is got at."""

    async def addresses(self, host: str) -> Iterable[Address]:
        """Where a name, or an address, may be; the port is anything.  Raises Unanswered."""

    async def context(self) -> ssl.SSLContext:
        """How TLS is spoken.  Raises Unanswered."""

    @property
    def server_name(self) -> str | None:
        """To ask for in the place of the host."""

    def check(self, certificate: bytes) -> None:
        """Look at what the server has shown.  Raises Broken."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    etag: str
    """As it came, opaque; empty where there is none."""
    body: bytes
    """Perhaps compressed by gzip, which whoever reads documents sees."""

    def expect(self, *statuses: int) -> Answer:
        """This, if its status is one of these; Unanswered says what another one means."""
        if self.status in statuses:
            return self
        if self.status in (401, 403):
            raise Denied(f"it answers {self.status}: `token` is missing or not the right one, or may not read this")
        if self.status in (404, 410):
            raise Gone(f"it answers {self.status}: nothing stands there")
        if self.status in _REDIRECTS:
            raise Unanswered(f"it answers {self.status}: redirects are not followed, `url` must be the place itself")
        raise Unanswered(f"it answers {self.status}")


@dataclass(frozen=True, slots=True)
class Talk:
    """A connection that has gone over to another protocol."""

    reader: StreamReader
    writer: StreamWriter
    head: ResponseHead
    early: bytes
    """What came with the head."""


class Asked:
    """Whom a source asks.  Two questions at a time need two of these."""

    def __init__(self, url: str, *, within: float, reach: Reach, token: str | None = None) -> None:
        said = urlsplit(url)
        self._secure = said.scheme == "https"
        self._host = said.hostname or ""
        self._port = said.port or PORTS[said.scheme]
        self._within = within
        self._reach = reach
        self.target = (said.path or "/") + (f"?{said.query}" if said.query else "")
        self.local = ""
        """The address from which it was asked."""
        self._fields: tuple[Field, ...] = ((b"Host", said.netloc.encode()), (b"User-Agent", AGENT))
        if token is not None:
            self._fields += ((b"Authorization", b"Bearer " + token.encode()),)
        self._kept: tuple[StreamReader, StreamWriter] | None = None

    def close(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept[1].transport.abort()

    async def ask(
        self,
        method: bytes,
        target: str,
        fields: Iterable[Field] = (),
        body: bytes = b"",
        *,
        most: int = LARGEST_DOCUMENT,
    ) -> Answer:
        """What is asked has to be harmless to ask twice.  `most` are the bytes of a body."""
        asked = (*self._fields, (b"Accept", b"*/*"), *fields)
        if body:
            asked += ((b"Content-Length", b"%d" % len(body)),)
        question = encode.request(method, target.encode(), asked) + body
        return await self._in_time(self._answer(method, question, most))

    @asynccontextmanager
    async def upgraded(self, target: str, fields: tuple[Field, ...], protocol: bytes) -> AsyncIterator[Talk]:
        """A connection of its own, on which the server agrees to go on with a protocol; closed at the end."""
        talk = await self._in_time(self._upgrade(target, fields, protocol))
        try:
            yield talk
        finally:
            talk.writer.transport.abort()

    async def _in_time(self, work: Awaitable[Result]) -> Result:
        try:
            async with asyncio.timeout(self._within):
                return await work
        except TimeoutError:
            raise Unanswered(f"no whole answer within {self._within:g} s") from None
        except Malformed as error:
            raise Unanswered(f"what it says is no HTTP/1.1: {error.reason.value.replace('_', ' ')}") from None
        except ssl.SSLError as error:
            raise Unanswered(str(broken(error, b"").strerror)) from None
        except Broken as error:
            raise Unanswered(error.strerror) from None
        except OSError as error:
            # The loops have words of their own for it.
            raise Unanswered(os.strerror(error.errno) if error.errno else str(error)) from None

    # One question

    async def _answer(self, method: bytes, question: bytes, most: int) -> Answer:
        kept, self._kept = self._kept, None
        if kept is not None:
            try:
                return await self._exchange(kept, method, question, most)
            except _Stale:
                """It ended before it was asked, or while it was."""
        try:
            return await self._exchange(await self._connect(), method, question, most)
        except _Stale:
            raise Unanswered("it closed the connection without an answer") from None

    async def _exchange(
        self, streams: tuple[StreamReader, StreamWriter], method: bytes, question: bytes, most: int
    ) -> Answer:
        reader, writer = streams
        keep = False
        try:
            head, rest = await _head(reader, writer, question, method)
            if head.body > most:
                raise _too_large(most)
            body = body_reader(head.body, _codec.limits, decode=True)
            found = bytearray(body.feed(rest))
            while not body.done:
                if len(found) > most:
                    raise _too_large(most)
                data = await reader.read(READ_SIZE)
                if data:
                    found += body.feed(data)
                else:
                    body.end()
            if len(found) > most:
                raise _too_large(most)
            answer = _answer_of(head, bytes(found))
            keep = head.keep_alive and not body.rest
        finally:
            if keep:
                self._kept = streams
            else:
                writer.transport.abort()
        return answer

    async def _upgrade(self, target: str, fields: tuple[Field, ...], protocol: bytes) -> Talk:
        reader, writer = await self._connect()
        try:
            question = encode.request(b"GET", target.encode(), (*self._fields, *fields))
            head, rest = await _head(reader, writer, question, b"GET", protocol)
            _answer_of(head, b"").expect(101)
        except BaseException as error:
            writer.transport.abort()
            if isinstance(error, _Stale):
                raise Unanswered("it closed the connection without an answer") from None
            raise
        return Talk(reader, writer, head, rest)

    # One connection

    async def _connect(self) -> tuple[StreamReader, StreamWriter]:
        addresses = [*await self._reach.addresses(self._host)][:MOST_ADDRESSES]
        failure: OSError = OSError("it has no address")
        for address in addresses:
            try:
                # Of the time, the last one may take all that is left.
                async with asyncio.timeout(None if address is addresses[-1] else self._within / (len(addresses) + 1)):
                    sock = await self._dial(Address(address.kind, address.host, self._port))
            except OSError as error:
                failure = error
                continue
            return await self._streams(sock)
        raise failure

    async def _dial(self, address: Address) -> socket.socket:
        sock = new_socket(address, socket.SOCK_STREAM)
        try:
            tune_tcp(sock, keepalive=True)
            await asyncio.get_running_loop().sock_connect(sock, sockaddr(address))
        except BaseException:
            sock.close()
            raise
        return sock

    async def _streams(self, sock: socket.socket) -> tuple[StreamReader, StreamWriter]:
        self.local = sock.getsockname()[0]
        if not self._secure:
            return await asyncio.open_connection(sock=sock)
        try:
            context = await self._reach.context()
        except BaseException:
            sock.close()
            raise
        name = self._reach.server_name or self._host.removesuffix(".")
        reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
        try:
            self._reach.check(writer.get_extra_info("ssl_object").getpeercert(binary_form=True) or b"")
        except Broken:
            writer.transport.abort()
            raise
        return reader, writer


def _too_large(most: int) -> Unanswered:
    return Unanswered(f"what it sends has more than {most >> 20} MiB")


class _Stale(Exception):
    """The connection has ended, and not a byte of an answer has come."""


async def _head(
    reader: StreamReader, writer: StreamWriter, question: bytes, method: bytes, protocol: bytes | None = None
) -> tuple[ResponseHead, bytes]:
    """The final head of the answer, and what came after it."""
    heads = _codec.reader()
    heads.expect(method, protocol)
    try:
        writer.write(question)
        await writer.drain()
        data = await reader.read(READ_SIZE)
    except ConnectionError:
        data = b""
    if not data:
        raise _Stale
    head = heads.feed(data)
    while head is None or head.interim:
        data = heads.rest if head is not None else b""
        data = data or await reader.read(READ_SIZE)
        if not data:
            raise Unanswered("it closed the connection in the middle of an answer")
        head = heads.feed(data)
    return head, heads.rest


def _answer_of(head: ResponseHead, body: bytes) -> Answer:
    etag = (head.get(b"etag") or b"")[: LONGEST_ETAG + 1].decode("latin-1")
    encoding = (head.get(b"content-encoding") or b"identity").lower()
    if encoding not in (b"gzip", b"x-gzip", b"identity"):
        raise Unanswered(f"it sends a Content-Encoding that is not read: {encoding[:32].decode('latin-1')}")
    # One that is too long to be sent back is none.
    return Answer(head.status, etag if len(etag) <= LONGEST_ETAG else "", body)
