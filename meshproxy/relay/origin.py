"""Who connected, to what, and what is known of that so far."""

from __future__ import annotations

from typing import Any

from meshproxy.core.client import Address, read
from meshproxy.core.peer import Peer
from meshproxy.net.conn import Conn
from meshproxy.wire.client_hello import ClientHello
from meshproxy.wire.proxy_protocol import Endpoint


class Origin:
    """Who connected to which port, as far as there are addresses, and what was read to find that out."""

    __slots__ = (
        "_address", "_goal", "_kept", "conn", "destination", "early", "hello", "peer", "plain", "port", "source"
    )  # fmt: skip

    def __init__(
        self, source: Endpoint | None, port: int | None, destination: Endpoint | None = None, early: bytes = b""
    ) -> None:
        self.source = source
        self.port = port
        self.destination = destination
        """Told by a PROXY header, or by the kernel; else the connection's own local address is meant."""
        self.early = early
        self.conn: Conn | None = None
        """Once it is let in."""
        self.hello: ClientHello | None = None
        """How it begins TLS, where somebody has looked."""
        self.plain = False
        """Whether it is known that it does not."""
        self.peer: Peer | None = None
        """Who it is at the other end of TLS, once that is established; None: it is a plain connection."""
        self._address: Address | None = None
        self._goal: Address | None = None
        self._kept: dict[Any, Any] | None = None

    @property
    def identity(self) -> str | None:
        """Who it has proved to be, if it has proved anything."""
        return self.peer.identity or None if self.peer is not None else None

    @property
    def client(self) -> str | None:
        """The address of who connected; None for a unix socket."""
        return self.source[0] if self.source is not None else None

    @property
    def address(self) -> Address | None:
        """The same to compare with; read once, and only where somebody asks."""
        if self._address is None and self.source is not None:
            self._address = read(self.source[0])
        return self._address

    @property
    def goal(self) -> Address | None:
        """The address to which it was made, to compare with; None for a unix socket."""
        if self._goal is None and self.conn is not None:
            made_to = self.destination or self.conn.local
            self._goal = read(made_to[0]) if made_to is not None else None
        return self._goal

    @property
    def kept(self) -> dict[Any, Any]:
        """What was chosen for its first request and holds for those after it; made where somebody asks."""
        if self._kept is None:
            self._kept = {}
        return self._kept
