"""`X-Forwarded-Client-Cert`: whom a client has proved to be, in the format of Envoy.

    element(peer)   # b'By=spiffe://mesh/ns/shop/sa/b;Hash=9f86...;Subject="CN=a,O=Shop";URI=spiffe://mesh/ns/shop/sa/a'

Quotes, backslashes and whatever cannot be seen are percent-encoded, and so is the percent sign.  Envoy writes `\\"` for
a quote; there are readers who know nothing of that, and a certificate must not say more to them than to others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

from meshproxy.core.peer import PLAIN, Peer
from meshproxy.wire.x509 import Certificate

LONGEST = 4096
"""Bytes of an element; what does not go into it is left out, one name after the other."""

_separates = re.compile("[,;= ]").search


def element(peer: Peer) -> bytes:
    """Nothing, if it has shown no certificate."""
    if peer.certificate is None:
        return b""
    text = ""
    for key, value in _pairs(peer.own, peer.certificate):
        written = quote(value, PLAIN + " ", errors="replace")
        quoted = f'"{written}"' if key == "Subject" or _separates(written) else written
        pair = f"{';' if text else ''}{key}={quoted}"
        if len(text) + len(pair) <= LONGEST:
            text += pair
    return text.encode("ascii")


def _pairs(own: str, certificate: Certificate) -> Iterator[tuple[str, str]]:
    if own:
        yield "By", own
    yield "Hash", certificate.sha256
    yield "Subject", certificate.subject
    for uri in certificate.uris:
        yield "URI", uri
    for name in certificate.dns:
        yield "DNS", name
