"""How proxies get to know each other: what this one says of itself, and who remembers what others say."""

from __future__ import annotations

from dataclasses import dataclass

from meshproxy.observe.peers import Peers


@dataclass(frozen=True, slots=True)
class Introduction:
    line: bytes
    """Nothing, where there is nothing to say."""
    peers: Peers
