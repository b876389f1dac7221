"""The PROXY header that endpoints are sent, by what a cluster says of it."""

from __future__ import annotations

from collections.abc import Mapping

from meshproxy.relay.tcp import Announce
from meshproxy.wire import proxy_protocol

ANNOUNCE: Mapping[str | None, Announce | None] = {
    "v1": proxy_protocol.encode_v1, "v2": proxy_protocol.encode_v2, None: None
}  # fmt: skip
