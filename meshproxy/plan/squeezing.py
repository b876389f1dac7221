"""How the streams of a tunnel may be compressed, compiled: by what its two ends know, and by nothing.

    codings_of(tunnel, papers)              # {"zstd:1f0c...": Zstd, "zstd": Zstd}, the best first
"""

from __future__ import annotations

from collections.abc import Mapping

from meshproxy import model
from meshproxy.core.jwk import bytes_of
from meshproxy.net.mux.zstd import Zstd
from meshproxy.net.tls.context import Unusable
from meshproxy.plan.tls import told_at
from meshproxy.wire.mux.squeeze import Coding


def codings_of(said: model.Tunnel, papers: Mapping[str, str]) -> dict[str, Coding]:
    """Raises Invalid."""
    if said.compress == "off":
        return {}
    with told_at(f"tunnels.{said.name}", {}):
        plain = Zstd()
        if said.dictionary is None:
            return {plain.name: plain}
        known = Zstd(bytes_of(papers[said.dictionary]))
        return {known.name: known, plain.name: plain}


def unusable_dictionary(text: str) -> str:
    """Why what stands in its file cannot be used, or nothing."""
    try:
        Zstd(bytes_of(text))
    except Unusable as why:
        return str(why)
    return ""
