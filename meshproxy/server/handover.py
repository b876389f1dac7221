"""A hot restart: a running proxy gives its sockets to its successor, and drains when that one serves.

    successor ── take ──► running        "sockets", as many as there are
    successor ── ready ─► running        it drains; or the successor goes away before that, and nothing has happened

Both accept from the same sockets while they overlap, so nobody is refused.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from meshproxy.errors import Invalid, Problem
from meshproxy.net.address import peer_of
from meshproxy.net.channel import Channel, Message
from meshproxy.net.doors import Inherited, Place, Sockets
from meshproxy.server.peer import Gone, Peer, placed
from meshproxy.wire.control import VERSION

TAKE_WITHIN = 10.0
READY_WITHIN = 60.0
"""Seconds that a successor may take to come up; then it is on its own, and the running proxy goes on."""


class Running(NamedTuple):
    """What an offer needs of the proxy that makes it."""

    copies: Callable[[], Iterable[tuple[Place, Sockets]]]
    """Of all its sockets."""
    files: Callable[[], list[str]]
    """The addresses of unix sockets whose files are its own to remove."""
    hold: Callable[[bool], None]
    """Take no change while a successor is coming up."""
    leave: Callable[[int], None]
    """The successor, by its process id, serves."""


class Offer:
    """Waits for a successor, at a socket that only the same user can use."""

    def __init__(self, path: Path, running: Running) -> None:
        self._loop = asyncio.get_running_loop()
        self._running = running
        self._successor: Peer | None = None
        self._held = False
        """A successor has the sockets, and is coming up."""
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        # Put in the place of the predecessor's at one stroke, so that there is always one to ask.
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        with suppress(FileNotFoundError):
            fresh.unlink()
        self._sock.bind(str(fresh))
        fresh.chmod(0o600)
        self._sock.listen(1)
        fresh.rename(path)
        self._loop.add_reader(self._sock.fileno(), self._asked)

    def close(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        if self._successor is not None:
            self._successor.close()

    def _asked(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return
        who = peer_of(sock)
        if self._successor is not None or who.uid not in (0, os.getuid()):
            sock.close()
            return
        sock.setblocking(False)

        async def take(message: Message) -> bytes:
            if message.fields.get("version") != VERSION:
                raise Invalid([Problem("", f"the running proxy speaks version {VERSION} of this")])
            self._held = True
            self._running.hold(True)
            peer.tell_sockets((place, sock) for place, sockets in self._running.copies() for sock in sockets)
            return json.dumps(self._running.files()).encode()

        async def ready(_message: Message) -> None:
            deadline.cancel()
            self._held = False
            self._running.leave(who.pid)

        def gone() -> None:
            deadline.cancel()
            self._successor = None
            if self._held:
                self._held = False
                self._running.hold(False)

        def late() -> None:
            peer.tell("late")
            peer.close()
            gone()

        deadline = self._loop.call_later(READY_WITHIN, late)
        peer = self._successor = Peer(Channel(self._loop, sock), {"take": take, "ready": ready}, gone)


class Predecessor:
    """The running proxy, as its successor sees it."""

    def __init__(self, sock: socket.socket, inherited: Inherited) -> None:
        self._inherited = inherited
        self._peer = Peer(
            Channel(asyncio.get_running_loop(), sock),
            {"sockets": self._take_sockets, "late": self._be_late},
            lambda: None,
        )
        self.files: frozenset[str] = frozenset()
        self._late = False

    @classmethod
    async def find(cls, path: Path, inherited: Inherited) -> Predecessor | None:
        """Have its sockets, if there is one.  Raises Invalid if it does not give them."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            sock.connect(str(path))
        except OSError:
            sock.close()
            return None
        found = cls(sock, inherited)
        try:
            files = await found._peer.ask("take", within=TAKE_WITHIN, version=VERSION)
        except (Gone, TimeoutError):
            found._peer.close()
            raise Invalid([Problem("", f"the proxy that runs at {path} does not give its sockets")]) from None
        found.files = frozenset(json.loads(files))
        return found

    async def relieve(self) -> None:
        """We serve; it may go.  Raises Invalid if it goes on without us."""
        with suppress(Gone, TimeoutError):  # it is gone already, or as good as that
            await self._peer.ask("ready", within=TAKE_WITHIN)
        self._peer.close()
        if self._late:
            raise Invalid([Problem("", f"it took more than {READY_WITHIN:g} s; the running proxy goes on")])

    def _be_late(self, _message: Message) -> None:
        self._late = True

    def _take_sockets(self, message: Message) -> None:
        for place, sock in placed(message):
            self._inherited.add(place, sock)
