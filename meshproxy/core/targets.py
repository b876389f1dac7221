"""Where a client may go that names the place itself: what is written down, and nothing that only looks like it.

    targets = Targets(forward.allow)
    target = read("db.shop", 5432)              # raises Refused: a zone, port 0, an address that is nobody's
    targets.admits(target)                      # before anybody is asked for the name
    targets.reachable(target, addresses)        # of the addresses that the name turned out to have

A name leads to addresses of the public internet alone, unless a network that is written admits them: whoever owns a
name says what addresses it has, and may say 127.0.0.1.  What was looked at is connected to; nobody asks again.
An address is admitted by networks alone, whatever it is written like: IPv4 within IPv6 is that IPv4 address.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

from meshproxy.model.forward import Place
from meshproxy.model.host import labels

IP = IPv4Address | IPv6Address

_GLOBAL_SIX = IPv6Network("2000::/3")
"""All that is routed in public; what is not in it is of one host, link or site, or stands for something in IPv4."""
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_NOWHERE = (IPv4Network("0.0.0.0/8"), IPv4Network("224.0.0.0/3"), IPv6Network("ff00::/8"), IPv6Network("::/96"))
"""This host under another name, everybody, or nobody; `::1` apart, which is written as what it is."""
_LOOPBACK = IPv6Address("::1")


class Refused(ValueError):
    """It is no place to which anybody could want to go in good faith."""


@dataclass(frozen=True, slots=True)
class Target:
    ip: IP | None
    """None: it is a name."""
    name: str
    """In small letters, without a final dot; empty: it is an address."""
    port: int


def read(host: str, port: int) -> Target:
    """`host` as it was said: a name, or an address, of IPv6 in brackets or not."""
    if not 0 < port < 65536:
        raise Refused("no port")
    if host.startswith("[") or ":" in host:
        try:
            within = host[1:-1] if host[0] + host[-1] == "[]" else host
            return Target(_plain(IPv6Address(within)), "", port)
        except AddressValueError:
            raise Refused("no IPv6 address") from None
    if _is_number(host.removesuffix(".").rpartition(".")[2]):
        # As a browser reads them: no name ends in a number.  127.1 and 0x7f000001 are for resolvers that know more.
        try:
            return Target(_plain(IPv4Address(host)), "", port)
        except AddressValueError:
            raise Refused("no IPv4 address") from None
    try:
        labels(host)
    except ValueError as why:
        raise Refused(str(why)) from None
    return Target(None, host.lower().removesuffix("."), port)


def _is_number(label: str) -> bool:
    return label.isdigit() or label[:2].lower() == "0x"


def _plain(ip: IP) -> IP:
    """The address that is meant."""
    if ip.version == 6:
        if ip.scope_id is not None:
            raise Refused("a zone is of another host")
        ip = ip.ipv4_mapped or ip
    if ip != _LOOPBACK and any(ip in network for network in _NOWHERE if network.version == ip.version):
        raise Refused("nobody's address")
    return ip


def is_public(ip: IP) -> bool:
    """Whether it is somebody's on the internet, by itself and by what is hidden in it."""
    if ip.version == 4:
        return ip.is_global
    return ip in _GLOBAL_SIX and ip.is_global and ip not in _SIX_TO_FOUR and ip not in _TEREDO


class Targets:
    """An allow-list."""

    __slots__ = ("_any_name", "_names", "_networks", "_suffixes")

    def __init__(self, allowed: Iterable[Place]) -> None:
        allowed = tuple(allowed)
        self._networks = [place for place in allowed if place.network is not None]
        named = [place for place in allowed if place.network is None]
        self._any_name = [place for place in named if place.host == "*"]
        self._names: dict[str, list[Place]] = {}
        self._suffixes: dict[str, list[Place]] = {}
        for place in named:
            if place.host.startswith("*."):
                self._suffixes.setdefault(place.host[2:], []).append(place)
            elif place.host != "*":
                self._names.setdefault(place.host, []).append(place)

    def admits(self, target: Target) -> bool:
        """Of a name this is half of the answer: its addresses have to be looked at too."""
        return self._has_name(target) if target.ip is None else self._has_address(target.ip, target.port)

    def reachable(self, target: Target, addresses: Iterable[str]) -> tuple[str, ...]:
        """Those to which an admitted name may lead, in their order."""
        found: list[str] = []
        for address in addresses:
            try:
                ip = read(address, target.port).ip
            except Refused:
                continue
            if ip is not None and (is_public(ip) or self._has_address(ip, target.port)):
                found.append(str(ip))
        return tuple(dict.fromkeys(found))

    def _has_name(self, target: Target) -> bool:
        name, port = target.name, target.port
        if _opens(self._names.get(name), port) or _opens(self._any_name, port):
            return True
        while dot := name.find(".") + 1:
            name = name[dot:]
            if _opens(self._suffixes.get(name), port):
                return True
        return False

    def _has_address(self, ip: IP, port: int) -> bool:
        return any(
            place.first <= port <= place.last and place.network is not None and ip in place.network
            for place in self._networks
        )


def _opens(places: list[Place] | None, port: int) -> bool:
    return places is not None and any(place.first <= port <= place.last for place in places)
