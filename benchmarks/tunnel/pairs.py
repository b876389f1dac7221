"""Who is compared with whom."""

from __future__ import annotations

from benchmarks.tunnel.peers import ApartPair, Pair, QuicApartPair, QuicPair, TlsPair, TunnelPair
from benchmarks.tunnel.ssh import SshPair

PAIRS: tuple[type[Pair], ...] = (TunnelPair, TlsPair)
"""In memory."""
CARRYING: tuple[type[Pair], ...] = (TunnelPair, QuicPair, TlsPair, SshPair)
"""In what they carry, and at what cost."""
OVER_A_LINK: tuple[type[Pair], ...] = (TunnelPair, ApartPair, QuicPair, QuicApartPair, TlsPair, SshPair)
"""Over a link that loses packets, or is away."""
