"""What an operator can say of clients who name where they want to go: which places they may, and who they must be.

    connect: {allow: ["10.0.0.0/8:443", "*.example.com:443", "db.shop:5432", "[fd00::]/8:1-1024"]}

A place is a name, `*.suffix`, `*` (any name), an address or a network, and a port, some of them, or `*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from meshproxy.model.authenticate import HASHED, UserName
from meshproxy.model.host import labels
from meshproxy.model.matching import Found
from meshproxy.schema.kinds import Name, Scalar, SecretText, refuse
from meshproxy.schema.shapes import AT_LEAST_ONE

DIRECT = "direct"
"""The cluster that needs not be written: it goes where a client wants to go."""
MOST_PLACES = 1000
MOST_USERS = 1000
LONGEST_USER = 255
"""Bytes, as SOCKS5 has room for."""
HIGHEST_PORT = 65535

_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\](?:/[0-9]{1,3})?|[^\[\]:\s]{1,255}):(\*|[0-9]{1,5}(?:-[0-9]{1,5})?)")
_JSON = r"^(\[[0-9A-Fa-f:.]{2,45}\](/[0-9]{1,3})?|[^\[\]:\s]{1,255}):(\*|[0-9]{1,5}(-[0-9]{1,5})?)$"


@dataclass(frozen=True, slots=True)
class Place:
    """Where connections may be made to: a network, or a name; and the ports, both ends of which are counted."""

    network: IPv4Network | IPv6Network | None
    host: str
    """A name in small letters, `*.suffix` or `*`; empty: it is a network."""
    first: int
    last: int

    def __str__(self) -> str:
        host = self.host
        if self.network is not None:
            address, _, bits = str(self.network).partition("/")
            whole = int(bits) == self.network.max_prefixlen
            host = (f"[{address}]" if self.network.version == 6 else address) + ("" if whole else f"/{bits}")
        if (self.first, self.last) == (1, HIGHEST_PORT):
            return f"{host}:*"
        return f"{host}:{self.first}" if self.first == self.last else f"{host}:{self.first}-{self.last}"


def _read_place(value: object) -> Place:
    expected = "a place such as 10.0.0.0/8:443, *.example.com:443, db.shop:5432 or [fd00::]/8:1-1024"
    found = _PLACE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise refuse(expected, value)
    host, ports = found[1], found[2]
    low, _, high = ("1-65535" if ports == "*" else ports).partition("-")
    first, last = int(low), int(high or low)
    if not 1 <= first <= last <= HIGHEST_PORT:
        raise ValueError(f"{refuse(expected, value)}: ports are from 1 to {HIGHEST_PORT}")
    if host.startswith("[") or "/" in host or host.rpartition(".")[2].isdigit():
        try:
            return Place(ip_network(host.replace("[", "").replace("]", "")), "", first, last)
        except ValueError as why:
            raise ValueError(f"{refuse(expected, value)}: {why}") from None
    if host != "*":
        try:
            labels(host.removeprefix("*."))
        except ValueError as why:
            raise ValueError(f"{refuse(expected, value)}: {why}") from None
    return Place(None, host.lower().removesuffix("."), first, last)


AllowedPlace = Annotated[Place, Scalar("place", _read_place, str, {"type": "string", "pattern": _JSON})]


@dataclass(frozen=True, slots=True)
class ForwardUser:
    """Somebody who may, and a password."""

    name: Annotated[UserName, "the name that is said"]
    password: Annotated[SecretText, "the password, hashed, as `mosquitto_passwd` writes it: `$7$…` or `$6$…`"]


@dataclass(frozen=True, slots=True)
class Forward:
    """Connections go on to where their clients name, within bounds; see docs/forward-proxy.md."""

    allow: Annotated[
        tuple[AllowedPlace, ...],
        AT_LEAST_ONE,
        "where they may go, and nowhere else: `host:port`, where the host is a name, `*.suffix`, `*`, an address or a "
        "network, and the port a number, `first-last` or `*`",
    ]
    cluster: Annotated[
        Name,
        "how they go: a cluster with `original: true`, or one whose endpoints they go to in any case; `direct` needs "
        "not be written",
    ] = DIRECT
    users: Annotated[tuple[ForwardUser, ...], "who may, by name and password; empty: everybody who is let in"] = ()


def problems(said: Forward) -> Found:
    """What is wrong, each with its place in it.  Clusters are for others to look up."""
    for key, most in (("allow", MOST_PLACES), ("users", MOST_USERS)):
        if len(getattr(said, key)) > most:
            yield (key,), f"`{key}` has more than {most} entries"
    yield from _user_problems(said.users)


def _user_problems(users: tuple[ForwardUser, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    seen: set[str] = set()
    for index, user in enumerate(users):
        if user.name in seen:
            yield ("users", index, "name"), f"`name` {user.name} is there twice"
        seen.add(user.name)
        if ":" in user.name or len(user.name.encode()) > LONGEST_USER:
            yield ("users", index, "name"), f"`name` must have no colon, and at most {LONGEST_USER} bytes"
        text = user.password.text
        if text is not None and not HASHED(text):
            yield ("users", index, "password"), "`password` is not hashed: `$7$…` or `$6$…` is what it begins with"
