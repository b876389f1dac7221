"""Messages between two processes of the proxy, with sockets if they like, over a unix socket that keeps packets apart.

    channel = Channel(loop, sock)
    channel.open(on_message, on_closed)
    channel.send("pass", sockets=[accepted], place="127.0.0.1:80")

A packet stays small whatever it carries: a body travels as a descriptor of memory that both ends can read.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from meshproxy.wire import control

MOST_SOCKETS = 40
"""In one message: the kernel takes 253 descriptors, and a packet as many of the longest names."""
SMALL_BODY = 4096
"""Bytes that travel in the packet itself."""
MOST_WAITING = 1000
"""Messages that a peer may leave unread before it is given up."""


class Message(NamedTuple):
    kind: str
    fields: dict[str, Any]
    body: bytes = b""
    sockets: tuple[socket.socket, ...] = ()
    cut: bool = False
    """This process had no room for the descriptors, and so it has neither body nor sockets."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


class Channel:
    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._waiting: deque[tuple[bytes, list[int]]] = deque()
        self._on_message: Callable[[Message], None] = lambda _: None
        self._on_closed: Callable[[], None] = lambda: None
        self.closed = False

    def open(self, on_message: Callable[[Message], None], on_closed: Callable[[], None]) -> None:
        """From now on messages arrive.  `on_closed` is called once, when the other end is gone or is given up."""
        self._on_message = on_message
        self._on_closed = on_closed
        self._loop.add_reader(self._sock.fileno(), self._readable)

    def send(
        self, kind: str, /, *, body: bytes = b"", sockets: Sequence[socket.socket] = (), **fields: Any
    ) -> bool:
        """Takes the sockets over.  False if the other end is gone; `on_closed` tells of it too.

        OSError if there is no descriptor left for a large body.
        """
        small = len(body) <= SMALL_BODY
        if body and small:
            fields["text"] = body.decode("latin-1")
        packet = control.encode(kind, fields, 0 if small else len(body))
        shared = [] if small else [_shared_memory(body)]
        descriptors = [*(sock.detach() for sock in sockets), *shared]
        if self.closed:
            _close(descriptors)
            return False
        self._waiting.append((packet, descriptors))
        if len(self._waiting) == 1:
            return self._flush()
        if len(self._waiting) == MOST_WAITING:
            # Not at once: whoever sends is in the middle of something.
            self._loop.call_soon(self._lost)
        return True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.remove_reader(self._sock.fileno())
            self._drop_waiting()
            self._sock.close()

    def _flush(self) -> bool:
        while self._waiting:
            packet, descriptors = self._waiting[0]
            try:
                socket.send_fds(self._sock, [packet], descriptors)
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._sock.fileno(), self._flush)
                return True
            except (BrokenPipeError, ConnectionResetError):
                # The end itself is seen by the reader, after what the peer had still to say.
                self._drop_waiting()
                return False
            except OSError:
                # There is no room for it.  Half of what was said is worse than a peer that begins anew.
                self._drop_waiting()
                self._loop.call_soon(self._lost)
                return False
            self._waiting.popleft()
            _close(descriptors)
        self._loop.remove_writer(self._sock.fileno())
        return True

    def _drop_waiting(self) -> None:
        self._loop.remove_writer(self._sock.fileno())
        while self._waiting:
            _close(self._waiting.popleft()[1])

    def _readable(self) -> None:
        descriptors: list[int] = []
        try:
            packet, descriptors, cut = _receive(self._sock)
            message = _message(packet, descriptors, cut) if packet else None
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, control.Malformed):
            _close(descriptors)
            message = None
        if message is None:
            self._lost()
        else:
            self._on_message(message)

    def _lost(self) -> None:
        if not self.closed:
            self.close()
            self._on_closed()


def _receive(sock: socket.socket) -> tuple[bytes, list[int], bool]:
    room = socket.CMSG_SPACE((MOST_SOCKETS + 1) * array.array("i").itemsize)
    packet, ancillary, flags, _ = sock.recvmsg(control.LARGEST, room, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    if flags & socket.MSG_TRUNC:
        _close(descriptors)
        raise control.Malformed
    return packet, list(descriptors), bool(flags & socket.MSG_CTRUNC)


def _message(packet: bytes, descriptors: list[int], cut: bool) -> Message:
    """Takes out of `descriptors` what it has made something of."""
    kind, fields, size = control.decode(packet)
    if cut:
        _close(descriptors)
        descriptors.clear()
        return Message(kind, fields, cut=True)
    body = str(fields.pop("text", "")).encode("latin-1")
    if size:
        if not descriptors:
            raise control.Malformed
        with open(descriptors.pop(), "rb") as memory:
            memory.seek(0)
            body = memory.read(size)
    sockets = tuple(socket.socket(fileno=descriptor) for descriptor in descriptors)
    descriptors.clear()
    for sock in sockets:
        # Whether a socket blocks is the same for all who hold it, but each Python object has an opinion of its own.
        sock.setblocking(False)
    return Message(kind, fields, body, sockets)


def _shared_memory(body: bytes) -> int:
    descriptor = os.memfd_create("meshproxy", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as memory:
        memory.write(body)
    return descriptor


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with suppress(OSError):
            os.close(descriptor)
