"""What an operator can say of tunnels: ways to other proxies that many connections share, and ways through proxies.

    tunnels:
      centre: {dial: [centre.example:8443], tls: {certificate: edge.pem, key: edge.key, ca: mesh.pem}}
      edge-7: {accept: [shop/edge-7], listener: from-edges}
      out: {through: socks5, server: 10.0.0.9:1080}
      either: {among: [out, {tunnel: other, weight: 3}]}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from meshproxy.model.address import EndpointAddress, Named
from meshproxy.model.authenticate import FilePath
from meshproxy.model.tls import ClientTls, Identity
from meshproxy.schema.kinds import LARGEST_INTEGER, Bool, Name, PositiveDuration, SecretText, Text, choice, size, whole
from meshproxy.schema.shapes import Items, Keyed

Streams = Annotated[int, whole(1, 100_000)]
Tier = Annotated[int, whole(0, 7)]
Share = Annotated[int, whole(1, 1000)]
Turns = Annotated[int, whole(1, 65535)]


@dataclass(frozen=True, slots=True)
class TunnelClass:
    """Streams that are equals in what they may send before others."""

    name: Annotated[Name, "what clusters call it"]
    tier: Annotated[Tier, "0 goes first, and the next one while nothing is waiting before it"] = 0
    weight: Annotated[Share, "its share among those of its tier"] = 1
    rate: Annotated[int | None, size(1, LARGEST_INTEGER), "bytes in a second, and no more; absent: no limit"] = None
    compress: Annotated[Bool, "whether its streams are compressed, where the tunnel says how"] = True


@dataclass(frozen=True, slots=True)
class Among:
    """One of several tunnels; a plain name is short for one of weight 1."""

    SHORTHAND: ClassVar[str] = "tunnel"

    tunnel: Annotated[Name, "one with `through`"]
    weight: Annotated[Turns, "its share of new connections"] = 1


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One way to somewhere else."""

    name: Annotated[Name, "the key under `tunnels`"]
    dial: Annotated[
        tuple[EndpointAddress, ...], Items(one=True), "where the other proxy is; several: other ways to the same one"
    ] = ()
    accept: Annotated[
        tuple[Identity, ...] | None, "who may be the other proxy, where that dials: by a listener of protocol tunnel"
    ] = None
    through: Annotated[
        Literal["connect", "h2", "socks5"] | None,
        choice("connect", "h2", "socks5"),
        "a proxy that makes connections for us: by CONNECT of HTTP/1.1, or of HTTP/2, or by SOCKS5",
    ] = None
    among: Annotated[
        tuple[Among, ...],
        "tunnels with `through` that take turns; where the proxy of one is not reached, the next is tried",
    ] = ()
    server: Annotated[EndpointAddress | None, "where that proxy is"] = None
    user: Annotated[Text | None, "who we are there, by name"] = None
    password: Annotated[SecretText | None, "and by this"] = None
    tls: Annotated[ClientTls | None, "how that one is spoken to; a tunnel to another proxy needs it"] = None
    listener: Annotated[
        Name | None, "who serves streams that the other proxy opens, as its connections; absent: they are refused"
    ] = None
    datagrams: Annotated[
        Name | None, "the same for datagrams: a listener of `protocol: udp`; absent: they are refused"
    ] = None
    transport: Annotated[
        Literal["tcp", "quic", "race"],
        choice("tcp", "quic", "race"),
        "what it is dialled by; race: by both, and who is there first is taken",
    ] = "tcp"
    links: Annotated[int, whole(1, 16), "connections to the other proxy at a time"] = 1
    mode: Annotated[
        Literal["standby", "bonded", "classes"],
        choice("standby", "bonded", "classes"),
        "of several links: the one that answers fastest carries everything; or all of them do; or each has classes of "
        "its own, by their order",
    ] = "standby"
    resume: Annotated[PositiveDuration, "how long streams wait while there is no connection"] = 60.0
    dead: Annotated[PositiveDuration, "silence after which a connection is given up"] = 15.0
    streams: Annotated[Streams, "of the other proxy, at a time"] = 1000
    classes: Annotated[
        tuple[TunnelClass, ...], Keyed("name"), "who goes first; the first in their order is for who names none"
    ] = ()
    compress: Annotated[
        Literal["off", "zstd"], choice("off", "zstd"), "how streams are compressed where the other proxy says it too"
    ] = "off"
    dictionary: Annotated[
        FilePath | None, "with zstd: a file that both ends have, of what streams often say; absent: there is none"
    ] = None

    @property
    def by_proxies(self) -> bool:
        """Whether it needs no other meshproxy: connections are made by proxies of any kind."""
        return self.through is not None or bool(self.among)

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts that have to be resolved."""
        where = (*self.dial, *((self.server,) if self.server is not None else ()))
        return tuple(dict.fromkeys(each.host for each in where if isinstance(each, Named)))

    @property
    def lanes(self) -> dict[str, int]:
        """The place of each class; the one that is named `default` where none is."""
        return {each.name: place for place, each in enumerate(self.classes)} or {"default": 0}
