"""A small strict HTTP/1.1 server for the admin side: few connections, every one bounded.

A `Server` takes listening sockets and a `Site`.  A site sees each request twice: `admit` may refuse it by its head
alone, so that a body is only read for those who may send one, and `answer` gives the response.  It runs on
streams and h11 because its rate is low; the data path has codecs of its own.

It shares its loop with traffic, and anyone may reach it.  So of all connections one goes on in a turn of the loop, by
one request or one piece of a body; and a new one always finds room unless every other is being answered.

An answer may be a `Stream`, which goes on until its reader leaves, or does not read, or the server closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter, Task
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol
from urllib.parse import parse_qs, unquote

import h11

from meshproxy.admin.stream import EVENT_STREAM, Feed, Stream
from meshproxy.net.address import is_near, peer_of
from meshproxy.net.clock import LoopClock
from meshproxy.net.listener import Acceptor
from meshproxy.observe.log import Log

READ_SIZE = 65536
MOST_QUERY_FIELDS = 64
PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    """Names in lower case; what came more than once is joined by a comma."""
    body: bytes = b""
    peer_uid: int | None = None
    """The user at the other end of a unix socket."""
    is_near: bool = False
    """Whether it has come over the loopback, or by a unix socket."""

    @property
    def announces_body(self) -> bool:
        return "transfer-encoding" in self.headers or int(self.headers.get("content-length", 0)) > 0


@dataclass(frozen=True, slots=True)
class Response:
    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Site(Protocol):
    def admit(self, request: Request) -> Response | None:
        """The refusal of a request whose body has not been read, or None."""

    async def answer(self, request: Request) -> Response | Stream: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, counts and seconds.  `bodies` bounds what all connections together hold of unfinished bodies."""

    head: int = 16 * 1024
    body: int = 16 * 1024 * 1024
    bodies: int = 64 * 1024 * 1024
    connections: int = 64
    streams: int = 16
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    send_seconds: float = 10.0
    stream_seconds: float = 5.0
    """For each piece of a stream, which is about 64 KiB and less."""
    idle_seconds: float = 60.0
    linger_seconds: float = 1.0


DEFAULT_LIMITS = Limits()


class Phase(Enum):
    HEAD = "waits for a complete head of a request"
    WORK = "has been admitted, and has no answer yet"
    SEND = "waits for its peer to take the answer"
    STREAM = "tells its peer what happens"
    OVER = "has made way for a new one"


WAITING = (Phase.HEAD, Phase.SEND)
"""Only the peer knows for how long."""


class Refused(Exception):
    """A request that this server itself turns down; its connection ends with the answer."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.response = Response(status, f"{words}\n".encode(), PLAIN)


class Server:
    def __init__(self, site: Site, log: Log, limits: Limits = DEFAULT_LIMITS) -> None:
        self.site = site
        self.log = log
        self.limits = limits
        self.bytes_held = 0
        self._doors: list[Acceptor] = []
        self._tasks: dict[Task[None], _Connection] = {}
        self._feeds: set[Feed] = set()
        self._closing = False
        self._turn = asyncio.Lock()

    def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Begin to serve on sockets that listen already; the server owns them from now on."""
        loop = asyncio.get_running_loop()
        door = Acceptor(loop, LoopClock(loop), sockets, None)
        door.serve(self._accepted, lambda error: self.log.limited("accept", 10, "error", "admin-accept", error=error))
        self._doors.append(door)

    @property
    def connections(self) -> int:
        return len(self._tasks)

    def stop_listening(self) -> None:
        """Let nobody in any more; who is in, or stands in the queue, is answered.  Streams end."""
        self._closing = True
        for door in self._doors:
            door.close()
        for feed in self._feeds:
            feed.end()

    async def close(self, grace: float = 1.0) -> None:
        """Stop listening and end every connection, giving `grace` seconds to those that are being answered."""
        self.stop_listening()
        for task, connection in self._tasks.items():
            if connection.phase is Phase.HEAD:
                task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=grace)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    @contextlib.contextmanager
    def feed(self) -> Iterator[Feed]:
        """Of one more stream.  Raises Refused."""
        if len(self._feeds) >= self.limits.streams:
            raise Refused(503, f"there are {self.limits.streams} streams already, and no more at once")
        if self._closing:
            raise Refused(503, "this server is about to close")
        feed = Feed()
        self._feeds.add(feed)
        try:
            yield feed
        finally:
            self._feeds.remove(feed)

    async def turn(self) -> None:
        """Wait until the loop has looked after everything else, and after the connections that wait here already."""
        async with self._turn:
            await asyncio.sleep(0)

    def _accepted(self, sock: socket.socket, _peer: object) -> None:
        if len(self._tasks) >= self.limits.connections and not self._evict():
            self.log.limited("admin-full", 10, "warning", "admin-full", connections=len(self._tasks))
            sock.close()
            return
        connection = _Connection(self, sock)
        task = asyncio.get_running_loop().create_task(connection.run())
        self._tasks[task] = connection
        task.add_done_callback(self._tasks.pop)

    def _evict(self) -> bool:
        """Those who only wait may not keep a probe out; the one that was accepted first has to go."""
        for task, connection in self._tasks.items():
            if connection.phase in WAITING:
                connection.phase = Phase.OVER
                task.cancel()
                return True
        return False


class _Connection:
    reader: StreamReader
    writer: StreamWriter

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server = server
        self.limits = server.limits
        self.sock = sock
        self.phase = Phase.HEAD
        self.head_only = False
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=self.limits.head)
        self.peer_uid = _peer_uid(sock)
        self.is_near = is_near(sock)

    async def run(self) -> None:
        try:
            self.reader, self.writer = await _streams(self.sock)
        except BaseException:
            self.sock.close()
            raise
        try:
            await self._converse()
        except (OSError, TimeoutError, h11.ProtocolError):
            pass
        except Exception as error:
            self.server.log.error("admin-connection", error=repr(error))
        finally:
            self.writer.transport.abort()

    async def _converse(self) -> None:
        first_byte_within = self.limits.head_seconds
        while True:
            try:
                request = await self._next_head(first_byte_within)
                if request is None:
                    return
                response = await self._respond(request)
                if isinstance(response, Stream):
                    await self._tell(response)
                    return
            except Refused as refused:
                response = refused.response
            except h11.RemoteProtocolError as error:
                response = Refused(error.error_status_hint, str(error)).response
            if not await self._send(response):
                return
            first_byte_within = self.limits.idle_seconds

    async def _respond(self, head: Request) -> Response | Stream:
        site = self.server.site
        refusal = site.admit(head)
        if refusal is not None:
            return refusal
        self.phase = Phase.WORK
        request = replace(head, body=await self._body(head))
        try:
            return await site.answer(request)
        except Exception as error:
            self.server.log.error("admin-failed", method=head.method, path=head.path, error=repr(error))
            return Response(500, b"this is a fault of the proxy; its log says more\n", PLAIN)

    # Reading

    async def _next_head(self, first_byte_within: float) -> Request | None:
        """The next request without its body; None where the peer ends, or stays silent, between requests."""
        http = self.http
        self.phase = Phase.HEAD
        self.head_only = False
        silent = not http.trailing_data[0]
        now = asyncio.get_running_loop().time
        seconds = first_byte_within if silent else self.limits.head_seconds
        try:
            async with asyncio.timeout(seconds) as deadline:
                await self.server.turn()
                while (event := http.next_event()) is h11.NEED_DATA:
                    http.receive_data(await self.reader.read(self.limits.head))
                    if silent:
                        silent = False
                        deadline.reschedule(now() + self.limits.head_seconds)
                    await self.server.turn()
        except TimeoutError:
            if silent:
                return None
            raise Refused(408, f"no complete request head in {self.limits.head_seconds:g} s") from None
        if not isinstance(event, h11.Request):
            return None
        # h11 bounds a head that is not complete; one that arrives at once may be larger.
        if len(event.target) + sum(len(name) + len(value) for name, value in event.headers) > self.limits.head:
            raise Refused(431, f"the request head is larger than {self.limits.head} bytes")
        self.head_only = event.method == b"HEAD"
        return replace(_request(event, self.peer_uid), is_near=self.is_near)

    async def _body(self, head: Request) -> bytes:
        http, limits, server = self.http, self.limits, self.server
        too_large = Refused(413, f"the body is larger than {limits.body} bytes")
        if int(head.headers.get("content-length", 0)) > limits.body:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(limits.body_seconds):
                while not isinstance(event := http.next_event(), h11.EndOfMessage):
                    if isinstance(event, h11.Data):
                        body += event.data
                        server.bytes_held += len(event.data)
                        if len(body) > limits.body:
                            raise too_large
                        if server.bytes_held > limits.bodies:
                            raise Refused(503, "too many bodies are being sent at once; try again")
                        await server.turn()
                        continue
                    if http.they_are_waiting_for_100_continue:
                        self._write(h11.InformationalResponse(status_code=100, headers=[]))
                    http.receive_data(await self.reader.read(READ_SIZE))
        except TimeoutError:
            raise Refused(408, f"no complete body in {limits.body_seconds:g} s") from None
        finally:
            server.bytes_held -= len(body)
        return bytes(body)

    # Writing

    async def _send(self, response: Response) -> bool:
        """Whether the connection can take another request."""
        http = self.http
        self.phase = Phase.SEND
        complete = http.their_state is h11.DONE
        headers = [
            *_fields(response.content_type),
            ("Content-Length", str(len(response.body))),
            *response.headers,
        ]
        if not complete:
            headers.append(("Connection", "close"))
        self._write(h11.Response(status_code=response.status, headers=headers))
        if not self.head_only:
            self._write(h11.Data(data=response.body))
        self._write(h11.EndOfMessage())
        await self._flush(self.limits.send_seconds)
        if http.our_state is h11.DONE and complete:
            http.start_next_cycle()
            return True
        await self._linger()
        return False

    async def _tell(self, stream: Stream) -> None:
        """All of a stream, after which the connection ends."""
        with self.server.feed() as feed:
            self.phase = Phase.STREAM
            self._write(h11.Response(status_code=200, headers=[*_fields(EVENT_STREAM), ("Connection", "close")]))
            if not self.head_only:
                await self._tell_all(stream, feed)
            self._write(h11.EndOfMessage())
            await self._flush(self.limits.stream_seconds)
        await self._linger()

    async def _tell_all(self, stream: Stream, feed: Feed) -> None:
        leave = stream.begin(feed)
        reads = asyncio.get_running_loop().create_task(self._end_with_its_reader(feed))
        try:
            await self._flush(self.limits.stream_seconds)
            while piece := await feed.take():
                await self.server.turn()
                self._write(h11.Data(data=piece))
                await self._flush(self.limits.stream_seconds)
        finally:
            leave()
            reads.cancel()
            await asyncio.wait((reads,))

    async def _end_with_its_reader(self, feed: Feed) -> None:
        """Nothing else is expected of who reads a stream, and nothing else is answered."""
        with contextlib.suppress(OSError):
            while await self.reader.read(READ_SIZE):
                await self.server.turn()
        feed.end()

    async def _flush(self, within: float) -> None:
        async with asyncio.timeout(within):
            await self.writer.drain()

    def _write(self, event: h11.Event) -> None:
        self.writer.write(self.http.send(event) or b"")

    async def _linger(self) -> None:
        """Read on for a moment: a reset for unread bytes would take the answer away from its reader."""
        with contextlib.suppress(OSError, TimeoutError):
            self.writer.write_eof()
            async with asyncio.timeout(self.limits.linger_seconds):
                while await self.reader.read(READ_SIZE):
                    pass


def _fields(content_type: str) -> list[tuple[str, str]]:
    """Of every answer."""
    return [
        ("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())),
        ("Content-Type", content_type),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]


def _request(event: h11.Request, peer_uid: int | None) -> Request:
    target = event.target.decode("ascii")
    if not target.startswith("/"):
        raise Refused(400, "the request target must be a path")
    path, _, query = target.partition("?")
    try:
        fields = parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=MOST_QUERY_FIELDS)
        path = unquote(path, errors="strict")
    except ValueError as error:
        raise Refused(400, f"the request target cannot be read: {error}") from None
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Request(event.method.decode("ascii"), path, fields, headers, b"", peer_uid)


async def _streams(sock: socket.socket) -> tuple[StreamReader, StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = StreamReader()
    protocol = StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock)
    # `drain` then means that the kernel has it all, and a peer that does not read cannot hold what is left.
    transport.set_write_buffer_limits(high=0)
    return reader, StreamWriter(transport, protocol, reader, loop)


def _peer_uid(sock: socket.socket) -> int | None:
    if sock.family != socket.AF_UNIX:
        return None
    return peer_of(sock).uid
