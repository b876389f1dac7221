"""Datagrams: a bound socket that receives from anybody, and a connected one that talks to one peer."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from meshproxy.model import Address
from meshproxy.net.address import new_socket, sockaddr

LARGEST = 65535
DATAGRAMS_A_TURN = 64
"""So that one busy socket does not starve the others."""

LOST_HERE = {errno.EAGAIN, errno.EMSGSIZE, errno.ENOBUFS}
"""What became of a datagram, as datagrams may be lost; it says nothing of the peer."""

IP_PKTINFO = 8
NOTE_SPACE = socket.CMSG_SPACE(20)


class User(Protocol):
    """Who answers through a door, and has nothing to do without it."""

    def drain(self) -> None: ...


class Peer(Protocol):
    """Who is talked to by datagrams."""

    def send(self, data: bytes) -> bool:
        """False: it is lost."""

    def close(self) -> None: ...


class DatagramDoor:
    """Live: one address, bound while it is in use, whatever is served behind it; perhaps by other workers alone.

    Whom it serves is told a datagram and its source, to which it can reply; each source is another conversation.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sockets: Sequence[socket.socket]) -> None:
        self._loop = loop
        self._sockets = sockets
        self._serve: Callable[[bytes, Any], None] | None = None
        self.goal: tuple[str, int] | None = None
        """Nobody says where else its datagrams are to go."""
        self._users: set[User] = set()
        self._receive, self._send = _receive, _send
        if any(ipaddress.ip_address(sock.getsockname()[0]).is_unspecified for sock in sockets):
            self._receive, self._send = _receive_at, _send_from
            for sock in sockets:
                _ask_where(sock)

    def serve(self, serve: Callable[[bytes, Any], None]) -> None:
        first = self._serve is None
        self._serve = serve
        if first:
            for sock in self._sockets:
                self._loop.add_reader(sock.fileno(), self._readable, sock)

    def reply(self, data: bytes, source: Any) -> bool:
        """False if the datagram was lost here, as datagrams may be."""
        try:
            self._send(self._sockets[0], data, source)
        except OSError:
            return False
        return True

    def joined(self, user: User) -> None:
        self._users.add(user)

    def left(self, user: User, _lost: bool = False) -> None:
        """Whoever else uses it goes on."""
        self._users.discard(user)

    @property
    def closed(self) -> bool:
        return not self._sockets

    @property
    def local(self) -> tuple[str, int]:
        """Where it is bound; not to which of all addresses somebody has spoken."""
        host, port, *_ = self._sockets[0].getsockname()
        return host, port

    def peer(self, source: Any) -> tuple[str, int]:
        """Whose address a source has."""
        host, port, *_ = source[0] if isinstance(source[0], tuple) else source
        return host, port

    def retire(self, grace: float) -> None:
        self.close()

    def close(self) -> None:
        for user in tuple(self._users):
            user.drain()
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets = ()

    def _readable(self, sock: socket.socket) -> None:
        assert self._serve is not None
        for _ in range(DATAGRAMS_A_TURN):
            try:
                data, source = self._receive(sock)
            except OSError:
                return
            self._serve(data, source)


# At an address of its own a socket replies from there, and a source is the peer's address.


def _receive(sock: socket.socket) -> tuple[bytes, Any]:
    return sock.recvfrom(LARGEST)


def _send(sock: socket.socket, data: bytes, source: Any) -> None:
    sock.sendto(data, source)


# At all addresses of a host the kernel would reply from the one that it likes best, which may not be the one that was
# spoken to.  So a source is both: the peer's address, and a note to the kernel from where to send.


def _ask_where(sock: socket.socket) -> None:
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


def _receive_at(sock: socket.socket) -> tuple[bytes, Any]:
    data, notes, _, peer = sock.recvmsg(LARGEST, NOTE_SPACE)
    return data, (peer, tuple((level, kind, _from_there(level, info)) for level, kind, info in notes))


def _from_there(level: int, info: bytes) -> bytes:
    """The same address without the interface, since the way back may be another; a group is nobody's address."""
    if level == socket.IPPROTO_IP:
        return bytes(4) + info[4:8] + bytes(4)
    return bytes(20) if info[0] == 0xFF else info[:16] + bytes(4)


def _send_from(sock: socket.socket, data: bytes, source: Any) -> None:
    peer, notes = source
    sock.sendmsg((data,), notes, 0, peer)


class DatagramPeer:
    """A socket connected to one address.  `on_error` hears what the network says of it; nothing comes after that."""

    __slots__ = ("_loop", "_on_data", "_on_error", "_sock")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        on_data: Callable[[bytes], None],
        on_error: Callable[[OSError], None],
    ) -> None:
        self._loop = loop
        self._on_data = on_data
        self._on_error = on_error
        self._sock = new_socket(address, socket.SOCK_DGRAM)
        try:
            self._sock.connect(sockaddr(address))
        except OSError:
            self._sock.close()
            raise
        loop.add_reader(self._sock.fileno(), self._readable)

    def send(self, data: bytes) -> bool:
        try:
            self._sock.send(data)
        except OSError as error:
            if error.errno not in LOST_HERE:
                self._on_error(error)
            return False
        return True

    def close(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    def _readable(self) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            try:
                data = self._sock.recv(LARGEST)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._on_error(error)
                return
            self._on_data(data)
            if self._sock.fileno() < 0:
                return
