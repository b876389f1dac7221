"""Who may connect: addresses and networks, as far as both of two lists hold them.

    allowed = Networks(["10.0.0.7", "10.1.0.0/16"])
    allowed.all                     # ["10.0.0.7", "10.1.0.0/16"]
    allowed.within(["10.0.0.0/8"])  # the same: all of it lies in there
    allowed.within(["10.1.2.3/32"]) # ["10.1.2.3/32"]
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network


def network(text: str) -> str:
    """As we write it: what is said of the bits of a host is masked away."""
    return str(ip_network(text, strict=False)) if "/" in text else text


class Networks:
    def __init__(self, said: Iterable[str]) -> None:
        self.all = list(dict.fromkeys(map(network, said)))

    @cached_property
    def _all(self) -> list[IPv4Network | IPv6Network]:
        return [ip_network(each) for each in self.all]

    @cached_property
    def _known(self) -> frozenset[IPv4Network | IPv6Network]:
        return frozenset(self._all)

    def within(self, ranges: Iterable[str]) -> list[str]:
        found: list[str] = []
        for text in ranges:
            other = ip_network(text, strict=False)
            if other in self._known:
                found.append(str(other))
                continue
            # Of two networks that overlap one lies in the other.
            both = [each for each in self._all if each.version == other.version and each.overlaps(other)]
            found += [str(each if each.prefixlen > other.prefixlen else other) for each in both]
        return list(dict.fromkeys(found))
