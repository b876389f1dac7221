"""Who connected, to what, and what is known of that so far."""

from __future__ import annotations

from typing import Any

from meshproxy.core.client import Address, read
from meshproxy.core.peer import Peer
from meshproxy.net.address import words
from meshproxy.net.conn import Conn
from meshproxy.wire.beginning import OTHER
from meshproxy.wire.client_hello import ClientHello
from meshproxy.wire.proxy_protocol import Endpoint


class Origin:
    """Who connected to which port, as far as there are addresses, and what was read to find that out."""

    __slots__ = (
        "_address", "_goal", "_kept", "_local", "begins", "conn", "destination", "early", "hello", "led", "peer",
        "plain", "port", "source", "spoken", "told", "vouched",
        "who",
    )  # fmt: skip

    def __init__(
        self, source: Endpoint | None, port: int | None, destination: Endpoint | None = None, early: bytes = b""
    ) -> None:
        self.source = source
        self.port = port
        self.destination = destination
        """Told by a PROXY header, or by the kernel; else the connection's own local address is meant."""
        self.led: tuple[Endpoint, ...] = ()
        """Where the client wants to go, if it says that itself: addresses, in their order."""
        self.early = early
        self.conn: Conn | None = None
        """Once it is let in."""
        self.hello: ClientHello | None = None
        """How it begins TLS, where somebody has looked."""
        self.plain = False
        """Whether it is known that it does not."""
        self.begins = OTHER
        """What is spoken on it, as far as somebody wanted to know that of its first bytes."""
        self.peer: Peer | None = None
        """Who it is at the other end of TLS, once that is established; None: it is a plain connection."""
        self.spoken = ""
        """The protocol, unless it is HTTP/1."""
        self.vouched = ""
        """Who it has proved to be elsewhere, as another proxy says: to be told, and not to be admitted by."""
        self.who = ""
        """The identity that was proved, else the address, else `unix`; once its service has it."""
        self.told: dict[Any, Any] = {}
        """What logs have written of it, for the next requests."""
        self._address: Address | None = None
        self._goal: Address | None = None
        self._local = ""
        self._kept: dict[Any, Any] | None = None

    @property
    def identity(self) -> str | None:
        """Who it has proved to be, if it has proved anything."""
        return self.peer.identity or None if self.peer is not None else None

    @property
    def client(self) -> str | None:
        """The address of who connected; None for a unix socket."""
        return self.source[0] if self.source is not None else None

    def elsewhere(self, tried: int) -> Endpoint | None:
        """Where else it is led, where so many have failed."""
        return self.led[tried] if tried < len(self.led) else None

    def called(self) -> None:
        """All is known of who it is."""
        self.who = self.identity or self.vouched or self.client or "unix"

    def look(self) -> None:
        """At what only an open connection can tell, for who asks when it is over."""
        _ = self.local

    @property
    def remote(self) -> str:
        """The address with its port."""
        return words(self.source) if self.source is not None else "unix"

    @property
    def local(self) -> str:
        """The address that was connected to, with its port; empty: it is closed, and nobody has looked before."""
        if not self._local:
            self._local = _made_to(self.destination, self.conn)
        return self._local

    @property
    def address(self) -> Address | None:
        """The same to compare with; read once, and only where somebody asks."""
        if self._address is None and self.source is not None:
            self._address = _read(self.source[0])
        return self._address

    @property
    def goal(self) -> Address | None:
        """The address to which it was made, to compare with; None for a unix socket, and for a name."""
        if self._goal is None:
            made_to = self.destination or (self.conn.local if self.conn is not None else None)
            self._goal = _read(made_to[0]) if made_to is not None else None
        return self._goal

    @property
    def kept(self) -> dict[Any, Any]:
        """What was chosen for its first request and holds for those after it; made where somebody asks."""
        if self._kept is None:
            self._kept = {}
        return self._kept


class Whence:
    """What is kept of an origin for as long as a session lasts, of which there may be ten thousand."""

    __slots__ = ("_conn", "_destination", "_port", "_vouched", "client", "peer")

    def __init__(self, origin: Origin) -> None:
        self.client = origin.client
        self._port = origin.source[1] if origin.source is not None else 0
        self.peer = origin.peer
        self._vouched = origin.vouched
        self._conn = origin.conn
        self._destination = origin.destination

    @property
    def told(self) -> dict[Any, Any]:
        """Nothing is kept for the next line: there is none."""
        return {}

    @property
    def who(self) -> str:
        return (self.peer.identity if self.peer is not None else "") or self._vouched or self.client or "unix"

    @property
    def remote(self) -> str:
        return words((self.client, self._port)) if self.client is not None else "unix"

    @property
    def local(self) -> str:
        return _made_to(self._destination, self._conn)


def _read(host: str) -> Address | None:
    try:
        return read(host)
    except ValueError:
        return None


def _made_to(told: Endpoint | None, conn: Conn | None) -> str:
    """Empty: it is closed, and nobody can be asked any more."""
    try:
        address = told or (conn.local if conn is not None else None)
    except OSError:
        return ""
    return words(address) if address is not None else "unix"
