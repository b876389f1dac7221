"""What the other side of a session has shown of itself."""

from __future__ import annotations

from functools import lru_cache

from meshproxy.net.tls.faults import Broken
from meshproxy.net.tls.session import Session
from meshproxy.wire import x509

_read = lru_cache(maxsize=256)(x509.read)
"""Peers come again."""


def proof(session: Session, now: float) -> x509.Certificate | None:
    """Its certificate, if there is one and its signatures have been verified; raises `Broken`.

    A session that is resumed was verified when it began, so the time is looked at anew.
    """
    der = session.ssl.getpeercert(binary_form=True)
    if not der:
        return None
    try:
        certificate = _read(der)
    except x509.Unreadable as why:
        raise Broken("invalid", str(why)) from None
    if certificate.not_after < now:
        raise Broken("expired")
    return certificate
