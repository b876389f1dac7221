"""A sink that is a syslog daemon: at a unix socket, be it of datagrams or a stream, or at an address by UDP.

    SyslogSink(loop, clock, parse("unix:/dev/log"), local(134, tag="meshproxy", pid=42), Account("syslog", stats, log))

Its socket is our own and never blocks, so there is no thread: one message is one call, and a thread would have to wait
for the interpreter after each.  Some are sent between two events of anything else.  A daemon that reads too slowly is
waited for; one that is gone is connected to again.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from itertools import islice

from meshproxy.model import Address
from meshproxy.net.address import new_socket, sockaddr
from meshproxy.net.clock import Clock
from meshproxy.net.dial import bare
from meshproxy.net.sinks.waiting import Account, Waiting
from meshproxy.wire.syslog import Header

PAUSE = 1.0
"""Seconds from a failure to the next attempt."""
MESSAGES_A_TURN = 64
"""So that a full buffer does not hold up the loop."""


class SyslogSink(Waiting):
    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, address: Address, header: Header, account: Account
    ) -> None:
        super().__init__(clock, account)
        self._loop = loop
        self._address = address
        self._header = header
        self._sock: socket.socket | None = None
        self._streams = False
        self._awaits_room = False
        self._rest = b""
        """Of the first line, the beginning of which has been sent."""

    def _send(self) -> None:
        if self._closed:
            return
        try:
            sock = self._sock
            if sock is None:
                sock = self._sock = self._connected()
            self._send_some(sock)
        except OSError as error:
            self._disconnect()
            self._failed(bare(error), PAUSE)

    def _send_some(self, sock: socket.socket) -> None:
        self._await_no_room()
        header = self._header(self._clock.wall())
        sent = 0
        try:
            for line in islice(self._lines, MESSAGES_A_TURN):
                self._send_one(sock, self._rest or header + (line if self._streams else line.removesuffix(b"\n")))
                sent += 1
        except (BlockingIOError, InterruptedError):
            self._wrote(sent)
            self._await_room(sock)
            return
        except OSError as error:
            self._wrote(sent)
            if error.errno != errno.EMSGSIZE:
                raise
            self._fault(bare(error))
            self._drop(1)
        else:
            self._wrote(sent)
        if self._lines:
            self._loop.call_soon(self._send)
        else:
            self._over()

    def _send_one(self, sock: socket.socket, message: bytes) -> None:
        """Raises BlockingIOError where a part of it is left."""
        size = sock.send(message)
        self._rest = message[size:]
        if self._rest:
            raise BlockingIOError

    def _stop(self) -> None:
        self._disconnect()
        self._drop(len(self._lines))

    # The socket

    def _connected(self) -> socket.socket:
        try:
            return self._connect(socket.SOCK_DGRAM)
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
        return self._connect(socket.SOCK_STREAM)

    def _connect(self, kind: int) -> socket.socket:
        sock = new_socket(self._address, kind)
        try:
            sock.connect(sockaddr(self._address))
        except OSError:
            sock.close()
            raise
        self._streams = kind == socket.SOCK_STREAM
        return sock

    def _disconnect(self) -> None:
        self._await_no_room()
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        # The next one knows nothing of its beginning
        self._rest = b""

    def _await_room(self, sock: socket.socket) -> None:
        self._awaits_room = True
        self._loop.add_writer(sock.fileno(), self._send)

    def _await_no_room(self) -> None:
        if self._awaits_room and self._sock is not None:
            self._awaits_room = False
            self._loop.remove_writer(self._sock.fileno())
