"""What does not fit together where a cluster says which HTTP it speaks to its endpoints, and in windows.

    clusters:
      api: {endpoints: [127.0.0.1:8080], http: {version: h2}}
      web: {endpoints: [10.0.0.7:443], http: {version: auto}, tls: {sni: web.example}}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from meshproxy.model.http import Http2, UpstreamHttp2
from meshproxy.schema.kinds import shown
from meshproxy.schema.shapes import Path

if TYPE_CHECKING:
    from meshproxy.model.config import Cluster

_OFFERED = {"h2": {"h2"}, "prior": {"h2"}, "auto": {"h2", "http/1.1"}}
_PLAIN = UpstreamHttp2()


def problems(said: Cluster) -> Iterator[tuple[Path, str]]:
    """Each with its place in the cluster."""
    version, tls, streams = said.http.version, said.tls, said.http.http2
    if version == "h1":
        if streams != _PLAIN:
            yield ("http", "http2"), "`http2` needs `version: h2`, prior or auto"
        return
    if tls is None:
        if version == "auto":
            yield ("http", "version"), "`version: auto` needs `tls`: endpoints choose by ALPN; say h1 or h2"
    elif tls.alpn and set(tls.alpn) != _OFFERED[version]:
        offered = " and ".join(sorted(_OFFERED[version]))
        yield ("tls", "alpn"), f"`http.version` {version} offers {offered}, not {shown(', '.join(tls.alpn))}"
    yield from windows(streams)


def windows(said: Http2 | UpstreamHttp2) -> Iterator[tuple[Path, str]]:
    """Of listeners too."""
    if said.connection_window < said.window:
        yield (
            ("http", "http2", "connection_window"),
            f"`connection_window` {said.connection_window} is less than `window` {said.window}",
        )
