"""What an operator can say of names: who is asked for them, and which of them the proxy itself answers.

    dns:
      servers: [10.0.0.10, 10.0.0.11]
      names:
        books.shop: [10.0.0.1, "fd00::1"]
        "*.dev.shop": 10.0.0.9
        _mqtt._tcp.shop: {srv: {target: broker.shop, port: 1883}}
        db.example.com: virtual
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated, ClassVar, Literal

from meshproxy.model.address import ServerAddress
from meshproxy.model.host import labels
from meshproxy.model.limits import Count
from meshproxy.schema.kinds import (
    Network,
    Port,
    PositiveDuration,
    Scalar,
    choice,
    read_duration,
    refuse,
    same,
    show_duration,
    size,
    whole,
)
from meshproxy.schema.shapes import Items

VIRTUAL = "virtual"
LONGEST_TTL = 2**31 - 1
MOST_NAMES = 100_000
MOST_RECORDS = 200
"""Of a name: as many as one message holds, however long the names are in them."""
MOST_SERVERS = 8
VIRTUAL_NETWORKS: tuple[Network, ...] = (IPv4Network("240.240.0.0/16"), IPv6Network("fd00:240::/64"))

IP = IPv4Address | IPv6Address


def _host(value: object) -> str:
    """In small letters and without the final dot: two that differ in these are one."""
    if not isinstance(value, str):
        raise refuse("a name such as books.shop", value)
    try:
        labels(value)
    except ValueError as why:
        raise ValueError(f"{refuse('a name such as books.shop', value)}: {why}") from None
    return value.lower().removesuffix(".")


def _read_pattern(value: object) -> str:
    """As it is written, since two keys that are one name are to be told apart."""
    if isinstance(value, str) and value != "*":
        _host(value.removeprefix("*."))
    elif value != "*":
        raise refuse("a name such as books.shop, or `*.suffix`", value)
    return str(value)


def _read_address(value: object) -> str:
    if value == VIRTUAL:
        return VIRTUAL
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        return str(ip_address(value))
    except ValueError:
        raise refuse("an IP address such as 10.0.0.1, or `virtual`", value) from None


def _read_seconds(value: object) -> int:
    """A TTL has no fractions."""
    seconds = read_duration(value)
    if seconds != int(seconds) or seconds > LONGEST_TTL:
        raise refuse("a duration in whole seconds, such as 30s", value)
    return int(seconds)


_NAME = r"(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?"
_NAME_JSON = {"type": "string", "pattern": rf"^(?:\*|{_NAME})$", "maxLength": 256}
_ADDRESS_JSON = {"type": "string", "pattern": r"^(virtual|[0-9a-fA-F:.]+)$"}
_TTL_JSON = {"anyOf": [{"const": 0}, {"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,6})?(ms|s|m|h|d)$"}]}

HostName = Annotated[str, Scalar("name", _host, same, _NAME_JSON)]
NamePattern = Annotated[str, Scalar("name", _read_pattern, same, _NAME_JSON)]
TableAddress = Annotated[str, Scalar("IP address \\| `virtual`", _read_address, same, _ADDRESS_JSON)]
Ttl = Annotated[int, Scalar("duration", _read_seconds, show_duration, _TTL_JSON)]
Unknown = Annotated[Literal["forward", "refuse"], choice("forward", "refuse")]


@dataclass(frozen=True, slots=True)
class Srv:
    """Where a service is: a host and a port."""

    target: Annotated[HostName, "the name of the host"]
    port: Annotated[Port, "its port"]
    priority: Annotated[int, whole(0, 65535), "the lowest is used first"] = 0
    weight: Annotated[int, whole(0, 65535), "its share among those of one priority"] = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that a name has; a plain address is short for that."""

    CHOICE: ClassVar[bool] = True
    SHORTHAND: ClassVar[str] = "address"

    address: Annotated[
        TableAddress | None, "an IPv4 or IPv6 address; `virtual`: one of its own out of `dns.virtual`, of each family"
    ] = None
    srv: Annotated[Srv | None, "where a service is"] = None


@dataclass(frozen=True, slots=True)
class DnsCache:
    """What is kept of answers, by each worker for itself."""

    entries: Annotated[Count, "answers that are kept at most"] = 10_000
    size: Annotated[int, size(1 << 16, 1 << 36), "memory that they may take"] = 16 << 20
    least: Annotated[Ttl, "for how long an answer is kept at least, whatever its TTL"] = 0
    most: Annotated[Ttl, "for how long at most"] = 3600
    negative: Annotated[Ttl, "for how long it is kept at most that there is nothing"] = 300


@dataclass(frozen=True, slots=True)
class Dns:
    """Who is asked for names, and what listeners of `protocol: dns` answer themselves."""

    servers: Annotated[
        tuple[ServerAddress, ...], "name servers in their order, each with a port or at port 53; empty: the system's"
    ] = ()
    timeout: Annotated[
        PositiveDuration, "for listeners of dns: how long a server may take; then the next one is asked, twice in all"
    ] = 2.0
    pending: Annotated[
        Count, "for listeners of dns: questions at a time that wait for servers, in each worker; more fail"
    ] = 1024
    cache: Annotated[DnsCache, "what listeners of dns keep of answers"] = DnsCache()
    names: Annotated[
        tuple[tuple[NamePattern, Annotated[tuple[Record, ...], Items(one=True)]], ...],
        "what listeners of dns answer themselves: by a name, `*.suffix` (what is longer than the suffix) or `*`",
    ] = ()
    ttl: Annotated[Ttl, "for how long clients may keep what stands in `names`"] = 30
    search: Annotated[
        tuple[HostName, ...], "a name without dots is looked for in `names` in these domains too, in their order"
    ] = ()
    unknown: Annotated[
        Unknown, "what becomes of names that are not in `names`: servers are asked, or there is no such name"
    ] = "forward"
    virtual: Annotated[
        tuple[Network, ...], Items(one=True, least=1), "networks of addresses that nobody has, one of a family"
    ] = VIRTUAL_NETWORKS

    @property
    def virtual_names(self) -> tuple[str, ...]:
        """Those that have an address of their own, in small letters."""
        return tuple(spelled(name) for name, records in self.names if any(each.address == VIRTUAL for each in records))


PLAIN_DNS = Dns()


def spelled(name: str) -> str:
    """A name as it is compared."""
    return name.lower().removesuffix(".")


def virtual_addresses(said: Dns) -> Mapping[str, tuple[IP, ...]]:
    """By name.  The same for everybody who has the same names; a name that comes or goes moves hardly another one."""
    found: dict[str, tuple[IP, ...]] = {}
    taken: set[IP] = set()
    for name in sorted(set(said.virtual_names)):
        addresses = tuple(_free(name, network, taken) for network in said.virtual)
        taken.update(addresses)
        found[name] = addresses
    return found


def _free(name: str, network: Network, taken: set[IP]) -> IP:
    """The hash says where to begin; of two names that begin at one address the later in the alphabet has the next."""
    most = room(network)
    start = int.from_bytes(sha256(name.encode()).digest()[:16]) % most
    steps = (network[1 + (start + step) % most] for step in range(most))
    return next(address for address in steps if address not in taken)


def room(network: Network) -> int:
    """Without the first and the last, which are no host's."""
    return max(network.num_addresses - 2, 0)
