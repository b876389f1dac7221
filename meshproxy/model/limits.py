"""What an operator can say about limits: of connections, of requests, of bytes, and who keeps count.

    decode(By, "source")                                            # By(of="source")
    decode(Redis, {"address": "10.0.0.5:6379", "key": "shop"})
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

from meshproxy.model.address import EndpointAddress, Named
from meshproxy.schema.kinds import (
    SIZE,
    Name,
    PositiveDuration,
    Scalar,
    SecretText,
    Text,
    choice,
    read_size,
    show_size,
    string,
    whole,
)

MOST = 10_000_000
MOST_BY_KEY = 32
"""Limits by a value in one configuration: each has a part of a memory that is made before there is one."""
SLOWEST = 8192
"""Bytes per second: below it, the little that is in hand would take longer than many clients wait."""

Count = Annotated[int, whole(1, MOST)]
Token = Annotated[str, string("name", "a name as of a header or a cookie", r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", 253)]
OnError = Annotated[Literal["local", "allow", "refuse"], choice("local", "allow", "refuse")]


def _read_speed(value: object) -> int:
    size = read_size(value)
    if not SLOWEST <= size <= 1 << 40:
        raise ValueError(f"must be from {show_size(SLOWEST)} to 1024GiB each second")
    return size


Speed = Annotated[int, Scalar("size", _read_speed, show_size, SIZE.json)]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many connections (for udp: sessions) in a time; more are refused."""

    connections: Annotated[Count, "how many"]
    per: Annotated[PositiveDuration, "in which time"] = 1.0
    burst: Annotated[Count | None, "how many may come at once; absent: as many as `connections`"] = None


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """So many bytes each second, in each direction; who is faster is read and written more slowly."""

    up: Annotated[Speed | None, "from clients, each second; absent: no limit"] = None
    down: Annotated[Speed | None, "to clients, each second; absent: no limit"] = None
    per: Annotated[
        Literal["connection", "listener"],
        choice("connection", "listener"),
        "for each connection, or for all of the listener together, on all workers",
    ] = "connection"


@dataclass(frozen=True, slots=True)
class RouteBandwidth:
    """So many bytes each second, in each direction, for the requests of a rule."""

    up: Annotated[Speed | None, "of requests, each second; absent: no limit"] = None
    down: Annotated[Speed | None, "of answers, each second; absent: no limit"] = None
    per: Annotated[
        Literal["route", "request"],
        choice("route", "request"),
        "for all requests of the rule together, on all workers, or for each",
    ] = "route"


@dataclass(frozen=True, slots=True)
class By:
    """What has a limit of its own: each value of one thing that requests have."""

    CHOICE: ClassVar[bool] = True
    SHORTHAND: ClassVar[str] = "of"

    of: Annotated[
        Literal["source", "path", "identity"] | None,
        choice("source", "path", "identity"),
        "`source`: the client's address, of IPv6 the first 64 bits; `path`: regular and without the query; `identity`: "
        "what the client has proved; those who have proved nothing are one",
    ] = None
    header: Annotated[Token | None, "the value of this header; those without it are one"] = None
    cookie: Annotated[Token | None, "the value of this cookie; those without it are one"] = None

    def __str__(self) -> str:
        return self.of or next(
            f"{field.name} {said}" for field in fields(self) if (said := getattr(self, field.name)) is not None
        )


@dataclass(frozen=True, slots=True)
class Redis:
    """A Redis that keeps count for many proxies."""

    address: Annotated[EndpointAddress, "`host:port`, where the host may be a name, `[v6]:port` or `unix:/path`"]
    key: Annotated[Name, "what the limit is called there: proxies that say the same have it together"]
    username: Annotated[Text | None, "who asks; absent: the default user"] = None
    password: Annotated[SecretText | None, "absent: none is asked for"] = None
    database: Annotated[int, whole(0, 65535), "its number"] = 0
    timeout: Annotated[PositiveDuration, "how long an answer may take, before `on_error` says what happens"] = 0.1
    on_error: Annotated[
        OnError, "while it does not answer: `local`, the same limit for this proxy alone; `allow`; `refuse`"
    ] = "local"

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts that have to be resolved."""
        return (self.address.host,) if isinstance(self.address, Named) else ()
