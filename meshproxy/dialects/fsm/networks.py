"""Who may connect: addresses and networks, as far as both of two lists hold them.

    allowed = Networks(["10.0.0.7", "10.1.0.0/16"])
    allowed.all                     # ["10.0.0.7", "10.1.0.0/16"]
    allowed.within(["10.0.0.0/8"])  # the same: all of it lies in there
    allowed.within(["10.1.2.3/32"]) # ["10.1.2.3/32"]
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import cached_property
from ipaddress import ip_network
from operator import attrgetter
from typing import Any


def network(text: str) -> str:
    """As we write it: what is said of the bits of a host is masked away."""
    return str(ip_network(text, strict=False)) if "/" in text else text


class Networks:
    def __init__(self, said: Iterable[str]) -> None:
        self.all = list(dict.fromkeys(map(network, said)))

    @cached_property
    def _ordered(self) -> dict[int, list[Any]]:
        """By version; those that lie in another one follow it."""
        return {
            version: sorted(each for each in map(ip_network, self.all) if each.version == version)
            for version in (4, 6)
        }

    @cached_property
    def _known(self) -> frozenset[Any]:
        return frozenset(each for ordered in self._ordered.values() for each in ordered)

    @cached_property
    def _lengths(self) -> frozenset[int]:
        """Of prefixes: mostly one or two, however many networks there are."""
        return frozenset(each.prefixlen for each in self._known)

    def within(self, ranges: Iterable[str]) -> list[str]:
        """Of two networks that overlap one lies in the other."""
        found: dict[str, None] = {}
        for text in ranges:
            other = ip_network(text, strict=False)
            above = (other.supernet(new_prefix=length) for length in self._lengths if length <= other.prefixlen)
            if not self._known.isdisjoint(above):
                found[str(other)] = None
            else:
                ordered = self._ordered[other.version]
                end = bisect_right(ordered, other.broadcast_address, key=_first)
                found.update(dict.fromkeys(map(str, ordered[bisect_left(ordered, other) : end])))
        return list(found)


_first = attrgetter("network_address")
