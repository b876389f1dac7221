"""The candidates for the owner of a socket, each as the smallest relay that shows its cost.

    transport   asyncio.Protocol on both sides, the loop owns the descriptor
    readiness   add_reader/add_writer on our own non-blocking socket
    splice      readiness, and the bytes stay in the kernel

The first two also with TLS terminated on the accepted side through `ssl.MemoryBIO`, and `loop-tls` is the loop's
own `ssl=`, to compare with.  Run by `benchmarks micro conn`; nothing here is part of the product.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import cast

SMALL, LARGE = 64 * 1024, 256 * 1024
PIPE = 1 << 20
ENGINES = ("transport", "readiness", "splice", "loop-tls")
scratch = bytearray(SMALL)
view = memoryview(scratch)


class Tls:
    """TLS between a wire and a user, without either: bytes in, bytes out."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.ready = False
        self.early = b""
        """What the user said before the handshake was over."""

    def received(self, data: bytes) -> tuple[bytes, bytes]:
        """What the wire brought becomes the plain text for the user and the answer for the wire."""
        self.incoming.write(data)
        plain = []
        with suppress(ssl.SSLWantReadError):
            if not self.ready:
                self.object.do_handshake()
                self.ready = True
                if self.early:
                    self.object.write(self.early)
            while n := cast(int, self.object.read(SMALL, scratch)):
                plain.append(view[:n].tobytes())
        return b"".join(plain), self.outgoing.read() if self.outgoing.pending else b""

    def sealed(self, data: bytes) -> bytes:
        if not self.ready:
            self.early += data
            return b""
        self.object.write(data)
        return self.outgoing.read()


class TransportEnd(asyncio.Protocol):
    """One end of a relay, on a transport; the accepted end dials the other."""

    transport: asyncio.Transport

    def __init__(self, upstream: int = 0, peer: TransportEnd | None = None, tls: Tls | None = None) -> None:
        self.upstream, self.peer, self.tls = upstream, peer, tls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.peer is None:
            # uvloop ignores a pause from within connection_made
            self.early: list[bytes] = []
            self.dialling = asyncio.ensure_future(self.dial())

    async def dial(self) -> None:
        loop = asyncio.get_running_loop()
        _, peer = await loop.create_connection(lambda: TransportEnd(peer=self), "127.0.0.1", self.upstream)
        self.peer = peer
        for data in self.early:
            peer.write(data)

    def data_received(self, data: bytes) -> None:
        if self.tls:
            data, answer = self.tls.received(data)
            if answer:
                self.transport.write(answer)
        if self.peer is None:
            self.early.append(data)
        elif data:
            self.peer.write(data)

    def write(self, data: bytes) -> None:
        self.transport.write(self.tls.sealed(data) if self.tls else data)

    def pause_writing(self) -> None:
        if self.peer:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer:
            self.peer.transport.close()


class ReadinessEnd:
    """One end of a relay, on our own socket: what cannot be sent at once is held, and the other end stops reading."""

    peer: ReadinessEnd

    def __init__(self, sock: socket.socket, tls: Tls | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.sock, self.tls = sock, tls
        self.size = SMALL
        self.held = b""
        self.closed = False

    def read_for(self, peer: ReadinessEnd) -> None:
        self.peer = peer
        self.loop.add_reader(self.sock, self.readable)

    def readable(self) -> None:
        try:
            data = self.sock.recv(self.size)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        # a read that came back full says that more is waiting; a large buffer for one small message is waste
        self.size = LARGE if len(data) >= SMALL else SMALL
        if self.tls:
            data, answer = self.tls.received(data)
            if answer:
                self.send(answer)
        if data:
            self.peer.write(data)

    def write(self, data: bytes) -> None:
        self.send(self.tls.sealed(data) if self.tls else data)

    def send(self, data: bytes) -> None:
        if self.closed:
            return
        if self.held:
            self.held += data
            return
        self.held = self.unsent(data)
        if self.held:
            self.loop.add_writer(self.sock, self.writable)
            self.loop.remove_reader(self.peer.sock)

    def writable(self) -> None:
        self.held = self.unsent(self.held)
        if not self.held and not self.closed:
            self.loop.remove_writer(self.sock)
            self.loop.add_reader(self.peer.sock, self.peer.readable)

    def unsent(self, data: bytes) -> bytes:
        try:
            return data[self.sock.send(data) :]
        except BlockingIOError:
            return data
        except OSError:
            self.close()
            return b""

    def close(self) -> None:
        """Both ends; a descriptor leaves the loop before it is closed, or the loop would watch its next owner."""
        for end in (self, self.peer):
            if not end.closed:
                end.closed = True
                self.loop.remove_reader(end.sock)
                self.loop.remove_writer(end.sock)
                end.sock.close()


class Splice:
    """One direction: `source` into a pipe, the pipe into `sink`; the end of the source is passed on."""

    def __init__(self, source: socket.socket, sink: socket.socket, over: Callable[[], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.source, self.sink, self.over = source, sink, over
        self.out, self.into = os.pipe2(os.O_NONBLOCK)
        with suppress(PermissionError):
            # beyond what an ordinary user may have in pipes, the small ones do too
            fcntl.fcntl(self.into, fcntl.F_SETPIPE_SZ, PIPE)
        self.held = 0
        self.done = False
        self.loop.add_reader(source, self.readable)

    def readable(self) -> None:
        try:
            got = os.splice(self.source.fileno(), self.into, PIPE)
        except BlockingIOError:
            return
        except OSError:
            got = 0
        if not got:
            self.finish()
            return
        self.held += got
        self.flush()
        if self.held:
            self.loop.remove_reader(self.source)
            self.loop.add_writer(self.sink, self.writable)

    def writable(self) -> None:
        self.flush()
        if not self.held and not self.done:
            self.loop.remove_writer(self.sink)
            self.loop.add_reader(self.source, self.readable)

    def flush(self) -> None:
        try:
            self.held -= os.splice(self.out, self.sink.fileno(), self.held)
        except BlockingIOError:
            pass
        except OSError:
            self.held = 0
            self.finish()

    def finish(self) -> None:
        """Nothing is held here: the source is read only while the pipe is empty."""
        if not self.done:
            self.done = True
            self.loop.remove_reader(self.source)
            self.loop.remove_writer(self.sink)
            os.close(self.out)
            os.close(self.into)
            with suppress(OSError):
                self.sink.shutdown(socket.SHUT_WR)
            self.over()


def relay_by_readiness(client: socket.socket, server: socket.socket, tls: ssl.SSLContext | None) -> None:
    down, up = ReadinessEnd(client, Tls(tls) if tls else None), ReadinessEnd(server)
    down.read_for(up)
    up.read_for(down)


def relay_by_splice(client: socket.socket, server: socket.socket) -> None:
    directions: list[Splice] = []

    def over() -> None:
        if all(each.done for each in directions):
            client.close()
            server.close()
            directions.clear()

    directions.append(Splice(client, server, over))
    directions.append(Splice(server, client, over))


async def serve(engine: str, listener: socket.socket, upstream: int, tls: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    if engine in ("transport", "loop-tls"):
        own = tls if engine == "transport" else None
        theirs = tls if engine == "loop-tls" else None
        server = await loop.create_server(
            lambda: TransportEnd(upstream, tls=Tls(own) if own else None), sock=listener, ssl=theirs
        )
        await server.serve_forever()
    listener.setblocking(False)
    while True:
        client, _ = await loop.sock_accept(listener)
        dialled = socket.socket()
        dialled.setblocking(False)
        await loop.sock_connect(dialled, ("127.0.0.1", upstream))
        for each in (client, dialled):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if engine == "splice":
            relay_by_splice(client, dialled)
        else:
            relay_by_readiness(client, dialled, tls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("loop", choices=("uvloop", "asyncio"))
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--listener", type=int, required=True, help="an inherited descriptor")
    parser.add_argument("--upstream", type=int, required=True, help="a port")
    parser.add_argument("--certificate", help="terminate TLS with this certificate and key")
    args = parser.parse_args()
    tls = None
    if args.certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(args.certificate)
    serving = serve(args.engine, socket.socket(fileno=args.listener), args.upstream, tls)
    if args.loop == "uvloop":
        import uvloop

        uvloop.run(serving)
    else:
        asyncio.run(serving)


if __name__ == "__main__":
    main()
