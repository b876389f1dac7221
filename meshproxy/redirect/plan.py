"""What is to be redirected: a value, and how its parts are read from words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeVar

from meshproxy.redirect import Refused
from meshproxy.redirect.layouts import Layout

MOST = 256
"""Entries of one list: each may be a rule that packets pass."""
PORTS = range(1, 65536)
IDS = range(2**32 - 1)
"""The last one stands for nobody."""

Network = IPv4Network | IPv6Network
Span = tuple[int, int]
"""From the first to the last port."""
Entry = TypeVar("Entry")

_INTERFACE = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,14}")


@dataclass(frozen=True, slots=True)
class Plan:
    layout: Layout
    outbound_port: int
    inbound_port: int
    uids: tuple[int, ...]
    """Of the proxy, whose traffic is left alone."""
    gids: tuple[int, ...] = ()
    dns_port: int | None = None
    outbound: bool = True
    inbound: bool = True
    tproxy: bool = False
    """Inbound keeps the address of its client."""
    own_calls: bool = False
    """What the proxy sends to an address of this host is inbound, as it is if it came from elsewhere."""
    families: tuple[int, ...] = (4, 6)
    inbound_ports: tuple[Span, ...] | None = None
    """None are all."""
    exclude_inbound_ports: tuple[Span, ...] = ()
    outbound_ports: tuple[Span, ...] | None = None
    exclude_outbound_ports: tuple[Span, ...] = ()
    outbound_cidrs: tuple[Network, ...] | None = None
    exclude_outbound_cidrs: tuple[Network, ...] = ()
    interfaces: tuple[str, ...] | None = None
    exclude_interfaces: tuple[str, ...] = ()
    exclude_uids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        ports = [port for port in (self.outbound_port, self.inbound_port, self.dns_port) if port is not None]
        if not self.outbound and not self.inbound and self.dns_port is None:
            raise Refused("nothing is left to redirect: neither outbound nor inbound nor DNS")
        if len(set(ports)) < len(ports):
            raise Refused("outbound, inbound and DNS need ports of their own: " + ", ".join(map(str, ports)))
        if self.tproxy and not self.inbound:
            raise Refused("tproxy is a way of inbound, which is not redirected")
        if "lo" in (self.interfaces or ()):
            raise Refused("what stays on this host is not redirected: lo is no interface to choose")
        if not self.uids and not self.gids:
            raise Refused("say a user or a group of the proxy: what it sends would be redirected to itself")

    @property
    def own_ports(self) -> tuple[Span, ...]:
        """Where the proxy listens for what is redirected; nobody has to come there by himself."""
        used = [self.outbound_port] * self.outbound + [self.inbound_port] * self.inbound
        return merged((port, port) for port in (*used, *self.layout.guarded))

    @property
    def passed_ports(self) -> tuple[Span, ...]:
        """Inbound ports that are never redirected."""
        return merged((*((port, port) for port in self.layout.passed), *self.exclude_inbound_ports))


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """In order, and what touches is one: so every way to say the same makes the same rules."""
    found: list[Span] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return tuple(found)


def port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 5 or int(text) not in PORTS:
        raise Refused(f"a port is a number from 1 to 65535, not {text!r}")
    return int(text)


def ports(text: str) -> tuple[Span, ...]:
    """Such as `80,8000-8100`."""

    def span(entry: str) -> Span:
        low, dash, high = entry.partition("-")
        found = port(low), port(high if dash else low)
        if found[0] > found[1]:
            raise Refused(f"a range of ports goes upwards, not {entry!r}")
        return found

    return merged(_list(text, span))


def cidrs(text: str) -> tuple[Network, ...]:
    """Such as `10.0.0.0/8,fd00::/8,192.0.2.1`."""

    def network(entry: str) -> Network:
        # A zone may be of any characters, which would be rules of their own; and no rule of the kernel knows one.
        if "%" in entry:
            raise Refused(f"{entry!r} has a zone, and a network is one of addresses alone")
        try:
            return ip_network(entry)
        except ValueError as error:
            raise Refused(f"{entry!r} is no network: {error}") from None

    return tuple(_list(text, network))


def interfaces(text: str) -> tuple[str, ...]:
    def interface(entry: str) -> str:
        if not _INTERFACE.fullmatch(entry):
            raise Refused(f"{entry!r} is no name of an interface")
        return entry

    return tuple(_list(text, interface))


def ids(text: str, number_of: Callable[[str], int]) -> tuple[int, ...]:
    """Of users or groups: numbers, or names that `number_of` knows, and else raises KeyError for."""

    def number(entry: str) -> int:
        try:
            found = int(entry) if entry.isascii() and entry.isdecimal() and len(entry) <= 10 else number_of(entry)
        except KeyError:
            raise Refused(f"this host knows nobody of the name {entry!r}: say a number") from None
        if found not in IDS:
            raise Refused(f"{entry} is no number of a user or group")
        return found

    return tuple(_list(text, number))


def _list(text: str, read: Callable[[str], Entry]) -> list[Entry]:
    entries = [entry.strip() for entry in text.split(",", MOST)]
    if len(entries) > MOST:
        raise Refused(f"a list has at most {MOST} entries")
    return list(dict.fromkeys(read(entry) for entry in entries))
