"""Who it is at the other end of TLS, where a test says so and nobody speaks it."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.core.peer import Peer
from meshproxy.relay.http.service import HttpService
from meshproxy.relay.origin import Origin
from meshproxy.wire.x509 import Certificate

BOOKBUYER = "spiffe://cluster.local/ns/shop/sa/bookbuyer"
BOOKTHIEF = "spiffe://cluster.local/ns/shop/sa/bookthief"


def certificate(*uris: str, dns: tuple[str, ...] = (), subject: str = "CN=a", common_name: str = "a") -> Certificate:
    return Certificate(1, subject, "CN=ca", common_name, 0, 1, dns, uris, (), False, "ab" * 32)


def peer(*uris: str, own: str = "", **names: Any) -> Peer:
    return shown(certificate(*uris, **names), own)


def shown(certificate: Certificate | None, own: str = "") -> Peer:
    return Peer(certificate, None, own, Unspoken())


class Unspoken:
    """TLS that nobody speaks."""

    def version(self) -> str:
        return "TLSv1.3"

    def cipher(self) -> tuple[str, str, int]:
        return ("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128)

    def selected_alpn_protocol(self) -> None:
        """None was agreed on."""


class Proof:
    """What every connection that comes from now on has proved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.peer: Peer | None = None
        made = Origin.__init__

        def prove(origin: Origin, *args: Any, **named: Any) -> None:
            made(origin, *args, **named)
            origin.peer = self.peer

        monkeypatch.setattr(Origin, "__init__", prove)
        # There is no TLS in the configuration either.
        monkeypatch.setattr(HttpService, "behind", lambda service, _: service)
