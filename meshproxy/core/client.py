"""Who asks: the peer of a connection, or whom a peer that is believed names.

    who = asker(Forwarded(trusted=(ip_network("10.0.0.0/8"),)))
    who(exchange)                           # IPv4Address("192.0.2.7"), or None: a unix socket, or nobody knows
    within([ip_network("192.0.2.0/24")])    # a function of such an address

Of `X-Forwarded-For` each proxy has written the end.  So it is read from the end, for as long as whoever is named there
is believed as well: who comes next cannot have been invented by the client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Protocol

from meshproxy.model.http import Forwarded

MOST_HOPS = 32
"""Beyond so many nobody knows."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Peer(Protocol):
    @property
    def address(self) -> Address | None: ...


class Request(Protocol):
    def get(self, name: bytes, /) -> bytes | None: ...


class Asking(Protocol):
    @property
    def origin(self) -> Peer: ...

    @property
    def request(self) -> Request: ...


Who = Callable[[Asking], Address | None]
Within = Callable[[Address | None], bool]


def asker(said: Forwarded) -> Who:
    if not said.trusted:
        return lambda x: x.origin.address
    believed = within(peer for peer in said.trusted if peer != "unix")
    believes_unix = "unix" in said.trusted

    def who(x: Asking) -> Address | None:
        address = x.origin.address
        if not (believed(address) if address is not None else believes_unix):
            return address
        named = x.request.get(b"x-forwarded-for")
        if named is None:
            return address
        for hop in reversed(named.rsplit(b",", MOST_HOPS)):
            name = hop.strip()
            if name:
                address = _read(name)
                if not believed(address):
                    break
        return address

    return who


def within(networks: Iterable[Network]) -> Within:
    """Asked once for each length of a prefix, however many there are.  Who is not known is nowhere."""
    by_length: dict[tuple[int, int], set[int]] = {}
    for network in networks:
        shift = network.max_prefixlen - network.prefixlen
        by_length.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)
    four = tuple((shift, frozenset(prefixes)) for (version, shift), prefixes in by_length.items() if version == 4)
    six = tuple((shift, frozenset(prefixes)) for (version, shift), prefixes in by_length.items() if version == 6)

    def found(address: Address | None) -> bool:
        if address is None:
            return False
        number = int(address)
        for shift, prefixes in four if address.version == 4 else six:  # noqa: SIM110 - any() takes twice as long
            if number >> shift in prefixes:
                return True
        return False

    return found


def read(text: str) -> Address:
    """ValueError if it is none.  An IPv4 address within IPv6 is that IPv4 address, for whoever writes rules."""
    address = ip_address(text.partition("%")[0])
    return address if address.version == 4 else address.ipv4_mapped or address


def _read(name: bytes) -> Address | None:
    """Perhaps with a port, as some write it."""
    if name.startswith(b"["):
        name = name[1:].partition(b"]")[0]
    elif name.count(b":") == 1:
        name = name.partition(b":")[0]
    try:
        return read(name.decode("ascii"))
    except ValueError:
        return None
