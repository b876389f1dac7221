"""Two proxies with TLS between them, one beside the clients and one beside the upstreams, and what they are told.

    with TunnelPair(Site(), {"echo": 7001}, mesh, core) as pair:
        load(pair.ports["echo"]); cpu_ns(pair.pids)

Each role of the upstream has a port of its own beside the clients.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from types import TracebackType
from typing import ClassVar, Self

from benchmarks import process
from benchmarks.badlink import V4
from benchmarks.harness import OURS
from benchmarks.hosts import Lab
from benchmarks.peers import Meshproxy, Peer
from benchmarks.pki import CLIENT, SERVER, Mesh
from benchmarks.tls.gateways import shown

PATIENCE = "15s"
"""For a connection over a bad link: its packets may be lost, several times."""
TUNNEL = "tunnel"
"""Both ends call it so."""
CLASSES = {"interactive": {"tier": 0}, "bulk": {"tier": 1}}
LASTING: Mapping[str, object] = {"dead": "2s", "streams": 2000, "classes": CLASSES}
"""What is said of a tunnel at both ends."""
BULK = frozenset(("source", "sink"))
"""The roles whose streams are not in a hurry."""


@dataclass(frozen=True, slots=True)
class Site:
    """On which hosts they are, and where the far one listens."""

    near: Callable[[], AbstractContextManager[None]] = nullcontext
    far: Callable[[], AbstractContextManager[None]] = nullcontext
    address: str = "127.0.0.1"

    @classmethod
    def of(cls, lab: Lab) -> Site:
        """Over the bad link between its hosts."""
        return cls(lab["edge"].inside, lab["centre"].inside, V4[1])


class End(Meshproxy):
    """One of the two."""

    def __init__(self, document: dict[str, object], core: int) -> None:
        super().__init__(0, core)
        self.document = document

    def relay(self) -> dict[str, object]:
        return self.document


class Near(End):
    """The one beside the clients: nobody comes through it until its tunnel is there, if it has one."""

    def ready(self) -> bool:
        if not super().ready():
            return False
        tunnels: dict[str, dict[str, int]] = json.loads(self.ask("GET", "/stats")[1])["tunnels"]
        return all(tunnel["links"] for tunnel in tunnels.values())


class Pair(ABC):
    name: ClassVar[str]
    resumes: ClassVar[bool]
    """Whether a stream outlives the connection that carries it."""

    def __init__(self, site: Site, upstreams: Mapping[str, int], mesh: Mesh, core: int) -> None:
        self.site, self.upstreams, self.mesh = site, upstreams, mesh
        with site.near():
            self.ports = {role: process.free_port() for role in upstreams}
        with site.far():
            self._port = process.free_port()
            self._far: Peer = self.beside_upstreams(core)
        with site.near():
            self._near: Peer = self.beside_clients(core)
        self._stack = ExitStack()

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run here, or None."""
        return Meshproxy.missing()

    @abstractmethod
    def beside_clients(self, core: int) -> Peer: ...

    @abstractmethod
    def beside_upstreams(self, core: int) -> Peer: ...

    @property
    def ends(self) -> tuple[Peer, Peer]:
        return self._near, self._far

    @property
    def pids(self) -> list[int]:
        return [pid for end in self.ends for pid in end.pids]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for inside, end in ((self.site.far, self._far), (self.site.near, self._near)):
                with inside():
                    stack.enter_context(end)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()


class Meshproxies(Pair):
    def entrances(self) -> list[dict[str, object]]:
        """Where clients connect to."""
        return [
            {"name": role, "listen": f"127.0.0.1:{port}", "protocol": "tcp", "cluster": role}
            for role, port in self.ports.items()
        ]

    def calling(self) -> dict[str, object]:
        own = self.mesh.client
        return {**shown(own), "ca": str(own.ca), "names": [SERVER]}

    def called(self) -> dict[str, object]:
        own = self.mesh.ecdsa
        return {**shown(own), "client_ca": str(own.ca)}


class TunnelPair(Meshproxies):
    """All streams in one tunnel, which the one beside the clients dials."""

    name = OURS
    resumes = True
    gate = "tunnel"
    """What the one beside the upstreams listens for."""
    by: ClassVar[Mapping[str, object]] = {}
    """How it is dialled."""
    lasting: ClassVar[Mapping[str, object]] = LASTING

    def beside_clients(self, core: int) -> Peer:
        centre = {
            **self.lasting,
            **self.by,
            "dial": [f"{self.site.address}:{self._port}"],
            "tls": self.calling(),
        }
        clusters = {
            role: {
                "via": TUNNEL,
                "lane": "bulk" if role in BULK else "interactive",
                "endpoints": [f"127.0.0.1:{port}"],
                "connect_timeout": PATIENCE,
            }
            for role, port in self.upstreams.items()
        }
        return Near({"tunnels": {TUNNEL: centre}, "listeners": self.entrances(), "clusters": clusters}, core)

    def beside_upstreams(self, core: int) -> Peer:
        edge = {**self.lasting, "accept": [CLIENT], "listener": "streams"}
        tunnels = {
            "name": "tunnels",
            "listen": f"{self.site.address}:{self._port}",
            "protocol": self.gate,
            "tls": self.called(),
        }
        streams = {"name": "streams", "listen": [], "protocol": "tcp", "transparent": True, "cluster": "wherever"}
        clusters = {"wherever": {"original": True}}
        return End({"tunnels": {TUNNEL: edge}, "listeners": [tunnels, streams], "clusters": clusters}, core)


class ApartPair(TunnelPair):
    """Each class has a connection of its own."""

    name = f"{OURS}-classes"
    by: ClassVar[Mapping[str, object]] = {"links": len(CLASSES)}
    lasting: ClassVar[Mapping[str, object]] = {**LASTING, "mode": "classes"}


class QuicPair(TunnelPair):
    """One connection of QUIC."""

    name = f"{OURS}-quic"
    gate = "quic"
    by: ClassVar[Mapping[str, object]] = {"transport": "quic"}

    @classmethod
    def missing(cls) -> str | None:
        return None if find_spec("aioquic") else "the library aioquic is not installed"


class QuicApartPair(QuicPair):
    """One for each class."""

    name = f"{OURS}-quic-classes"
    by: ClassVar[Mapping[str, object]] = {**QuicPair.by, **ApartPair.by}
    lasting: ClassVar[Mapping[str, object]] = ApartPair.lasting


class TlsPair(Meshproxies):
    """A TLS connection for each stream: two of our own relays."""

    name = "meshproxy-tls"
    resumes = False

    def __init__(self, site: Site, upstreams: Mapping[str, int], mesh: Mesh, core: int) -> None:
        with site.far():
            self._doors = {role: process.free_port() for role in upstreams}
        super().__init__(site, upstreams, mesh, core)

    def beside_clients(self, core: int) -> Peer:
        clusters = {
            role: {
                "endpoints": [f"{self.site.address}:{port}"],
                "tls": self.calling(),
                "connect_timeout": PATIENCE,
            }
            for role, port in self._doors.items()
        }
        return Near({"listeners": self.entrances(), "clusters": clusters}, core)

    def beside_upstreams(self, core: int) -> Peer:
        listeners = [
            {
                "name": role,
                "listen": f"{self.site.address}:{port}",
                "protocol": "tcp",
                "cluster": role,
                "tls": self.called(),
            }
            for role, port in self._doors.items()
        ]
        clusters = {role: {"endpoints": [f"127.0.0.1:{port}"]} for role, port in self.upstreams.items()}
        return End({"listeners": listeners, "clusters": clusters}, core)
