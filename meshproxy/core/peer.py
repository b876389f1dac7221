"""Who it is at the other end of a TLS connection, and how that is spoken.

    peer.identity           # "spiffe://cluster.local/ns/shop/sa/books", proved by a certificate that has been verified
    spoken(peer.identity)   # the same as bytes that may stand in a header
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol
from urllib.parse import quote

from meshproxy.wire.x509 import Certificate

PLAIN = "!#$&'()*+,/:;<=>?@[]^`{|}"
"""Beside letters, digits and `_.-~`: what stands in a header as it is.  Not quotes, and nothing that escapes."""


class Agreement(Protocol):
    """How TLS is spoken, such as `ssl.SSLObject`."""

    def version(self) -> str | None: ...

    def cipher(self) -> tuple[str, str, int] | None: ...

    def selected_alpn_protocol(self) -> str | None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Peer:
    certificate: Certificate | None
    """What it has shown, and a CA that is believed has signed; None: nothing."""
    name: str | None
    """The server name that a client has asked for, where it matters."""
    own: str
    """Who we have shown to be."""
    agreed: Agreement
    by_subject: bool = False
    """Whether the common name alone says who it is."""
    identity: str = field(init=False, default="")
    """Nothing, if it has shown nothing."""

    def __post_init__(self) -> None:
        # Asked for with every request: found once.
        if self.certificate is not None:
            said = self.certificate.by_subject if self.by_subject else self.certificate.identity
            object.__setattr__(self, "identity", said)


@lru_cache(maxsize=1024)
def spoken(identity: str) -> bytes:
    """As bytes that can be seen; what could end a value, or hide in one, is percent-encoded.  Nothing for nobody."""
    return quote(identity, PLAIN, errors="replace").encode("ascii")
