"""Who is compared with whom."""

from __future__ import annotations

from benchmarks.tunnel.peers import ApartPair, Pair, QuicApartPair, QuicPair, TlsPair, TunnelPair
from benchmarks.tunnel.ssh import SshPair

PAIRS: tuple[type[Pair], ...] = (TunnelPair, TlsPair)
"""Where a link is not the matter."""
OVER_A_LINK: tuple[type[Pair], ...] = (TunnelPair, ApartPair, QuicPair, QuicApartPair, TlsPair, SshPair)
"""Where it is."""
