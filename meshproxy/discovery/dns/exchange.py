"""One question to one server, over UDP, and over TCP where the answer is too long for that.

Whoever wants to slip in an answer must guess the id and the port of a socket that hears nobody but the server.  A
datagram that is not the answer is therefore passed over, and is no reason to stop waiting for the one that is.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from meshproxy.model import Address
from meshproxy.net.address import new_socket, sockaddr
from meshproxy.net.clock import Clock
from meshproxy.wire.dns import UDP_SIZE, Malformed, Name, Query, Reply, encode, parse


async def ask(
    loop: asyncio.AbstractEventLoop, clock: Clock, server: Address, name: Name, kind: int, seconds: float
) -> tuple[Query, Reply]:
    """Within the time, which both transports share; else OSError, or Malformed for what came over TCP."""
    query = Query(int.from_bytes(os.urandom(2)), name, kind)
    noise = deque[Malformed](maxlen=1)
    try:
        async with _deadline(loop, clock, seconds):
            reply = await _over_udp(loop, server, query, noise)
            if reply.truncated:
                reply = await _over_tcp(loop, server, query)
    except TimeoutError:
        heard = f", only something else: {noise[0]}" if noise else ""
        raise TimeoutError(errno.ETIMEDOUT, f"no answer within {seconds:g} s{heard}") from None
    return query, reply


async def _over_udp(
    loop: asyncio.AbstractEventLoop, server: Address, query: Query, noise: deque[Malformed]
) -> Reply:
    with _connected(server, socket.SOCK_DGRAM) as sock:
        await loop.sock_sendall(sock, encode(query))
        while True:
            data = await loop.sock_recv(sock, UDP_SIZE)
            try:
                return parse(data, query)
            except Malformed as fault:
                noise.append(fault)
                await asyncio.sleep(0)  # what is there already is received without waiting, and it may be a flood


async def _over_tcp(loop: asyncio.AbstractEventLoop, server: Address, query: Query) -> Reply:
    message = encode(query)
    with _connected(server, socket.SOCK_STREAM) as sock:
        await loop.sock_sendall(sock, len(message).to_bytes(2) + message)
        size = int.from_bytes(await _exactly(loop, sock, 2))
        reply = parse(await _exactly(loop, sock, size), query)
    if reply.truncated:
        raise Malformed("truncated over TCP as well")
    return reply


async def _exactly(loop: asyncio.AbstractEventLoop, sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = await loop.sock_recv(sock, size - len(data))
        if not more:
            raise Malformed(f"closed after {len(data)} of {size} bytes")
        data += more
    return bytes(data)


@contextmanager
def _connected(server: Address, kind: int) -> Iterator[socket.socket]:
    """Of TCP, only begun: the first thing sent waits for it.  `sock_connect` may look a scope up in a thread."""
    with new_socket(server, kind) as sock:
        code = sock.connect_ex(sockaddr(server))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        yield sock


@asynccontextmanager
async def _deadline(loop: asyncio.AbstractEventLoop, clock: Clock, seconds: float) -> AsyncIterator[None]:
    """`asyncio.timeout`, by the clock that was handed in."""
    async with asyncio.timeout(None) as scope:
        timer = clock.after(seconds, lambda: scope.reschedule(loop.time()))
        try:
            yield
        finally:
            timer.cancel()
