"""What an operator can say about HTTP on a listener: limits, what is admitted, paths, and who is believed."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal

from meshproxy.schema.kinds import Bool, Duration, Scalar, Size, choice, read_network, size, string, whole
from meshproxy.schema.shapes import AT_LEAST_ONE

Peer = Annotated[
    IPv4Network | IPv6Network | Literal["unix"],
    Scalar(
        "network \\| `unix`",
        lambda value: "unix" if value == "unix" else read_network(value),
        str,
        {"type": "string", "maxLength": 64},
    ),
]
ADMISSIBLE = ("bare_lf", "obs_fold", "raw_target", "underscores", "bare_status")
"""The switches of `wire.h1.Strictness`."""
WRITABLE = (
    "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via", "x-request-id",
    "x-forwarded-client-cert",
)

Admitted = Annotated[
    Literal["bare_lf", "obs_fold", "raw_target", "underscores", "bare_status"], choice(*ADMISSIBLE)
]
Identifying = Annotated[
    Literal[
        "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via", "x-request-id",
        "x-forwarded-client-cert",
    ],
    choice(*WRITABLE),
]
HttpVersion = Annotated[Literal["h1", "h2"], choice("h1", "h2")]
WindowSize = Annotated[int, size(16 * 1024, 2**31 - 1)]
Token = Annotated[str, string("protocol", "a protocol such as websocket", r"[A-Za-z0-9][A-Za-z0-9._/-]*", 64)]


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """How much of a request is taken."""

    line: Annotated[Size, "the request line; longer: 414"] = 8 * 1024
    head: Annotated[Size, "all of the head; longer: 431"] = 60 * 1024
    fields: Annotated[int, whole(1, 1000), "fields of a head; more: 431"] = 100
    body: Annotated[Size | None, "a body; longer: 413; absent: no limit, for none is ever held"] = None


@dataclass(frozen=True, slots=True)
class PathRules:
    """How a path is made regular before it is matched; what is matched is what is sent on."""

    dot_segments: Annotated[
        Literal["resolve", "refuse"], choice("resolve", "refuse"), "`/a/../b`, also where it is percent-encoded"
    ] = "resolve"
    slashes: Annotated[
        Literal["merge", "keep", "refuse"], choice("merge", "keep", "refuse"), "`//`, which many servers take for `/`"
    ] = "merge"
    escaped_slashes: Annotated[
        Literal["refuse", "keep"], choice("refuse", "keep"), "`%2F` and `%5C`, which some servers take for a slash"
    ] = "refuse"


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The header fields that say who asked, and through whom."""

    trusted: Annotated[
        tuple[Peer, ...], "peers whose own such fields are kept and added to; from all others they are dropped"
    ] = ()
    headers: Annotated[tuple[Identifying, ...], "which are written"] = (
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-request-id",
    )


@dataclass(frozen=True, slots=True)
class Http2:
    """How much one connection of HTTP/2 may ask of us at a time."""

    max_streams: Annotated[int, whole(1, 10_000), "exchanges at a time on one connection; more are refused"] = 100
    window: Annotated[WindowSize, "of a body, how much may come before it has gone on"] = 64 * 1024
    connection_window: Annotated[
        WindowSize, "the same for all bodies of a connection: what it may make the proxy hold"
    ] = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Http:
    """How a listener speaks HTTP."""

    versions: Annotated[
        tuple[HttpVersion, ...],
        AT_LEAST_ONE,
        "what is spoken: told apart by ALPN, or by how a plain connection begins",
    ] = ("h1", "h2")
    http2: Annotated[Http2, "for HTTP/2"] = Http2()

    limits: Annotated[HttpLimits, "how much is taken"] = HttpLimits()
    admit: Annotated[tuple[Admitted, ...], "what is refused by default, and taken here; see docs/http1.md"] = ()
    path: Annotated[PathRules, "how paths are made regular"] = PathRules()
    upgrades: Annotated[tuple[Token, ...], "protocols that a connection may change to"] = ("websocket",)
    forwarded: Annotated[Forwarded, "who asked"] = Forwarded()
    grpc_metrics: Annotated[Bool, "whether calls of gRPC are counted by method and status; see docs/grpc.md"] = False


@dataclass(frozen=True, slots=True)
class UpstreamHttp2:
    """How connections of HTTP/2 to endpoints are used."""

    max_streams: Annotated[
        int, whole(1, 10_000), "exchanges at a time on one connection, or fewer where the endpoint says so"
    ] = 100
    window: Annotated[WindowSize, "of an answer, how much may come before it has gone on"] = 64 * 1024
    connection_window: Annotated[WindowSize, "the same for all answers of a connection"] = 1024 * 1024
    ping: Annotated[
        Duration, "how long one that is in use may be silent before it is asked whether it is there, 0: for ever"
    ] = 30.0


@dataclass(frozen=True, slots=True)
class UpstreamHttp:
    """How endpoints are spoken to in HTTP."""

    version: Annotated[
        Literal["h1", "h2", "prior", "auto"],
        choice("h1", "h2", "prior", "auto"),
        "`h2` without TLS is spoken at once, with TLS the endpoint has to choose it by ALPN; `prior`: it is spoken "
        "also where the endpoint chooses nothing; `auto`: what the endpoint chooses, which needs `tls`",
    ] = "h1"
    http2: Annotated[UpstreamHttp2, "for HTTP/2"] = UpstreamHttp2()


PLAIN_HTTP = Http()
PLAIN_UPSTREAM_HTTP = UpstreamHttp()
