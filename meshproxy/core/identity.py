"""Who asked, and through whom: the header fields that tell the upstream.

    identity = Identity(Forwarded(trusted=(ip_network("10.0.0.0/8"),)))
    said = identity.of("192.0.2.7", believed=False, peer=None)          # once for a connection, here a plain one
    said.lines                                    # what is written to the upstream
    said.more                                     # None, or what depends on the request

A client that is not believed cannot say who it is: whatever it sends of these fields is dropped.  One that is believed
(another proxy) is: its fields are kept, and added to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meshproxy.core.client_cert import element
from meshproxy.core.peer import Peer
from meshproxy.model.http import Forwarded
from meshproxy.wire.h1 import RequestHead, encode

CLAIMS = frozenset(
    b"forwarded x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port x-forwarded-prefix "
    b"x-forwarded-server x-forwarded-scheme x-forwarded-ssl x-original-forwarded-for x-real-ip x-client-ip "
    b"true-client-ip x-request-id x-forwarded-client-cert".split()
)
"""What a client may not say of itself.  `Via` is not among them: it says nothing that anybody trusts."""
ADDED_TO = frozenset((b"via", b"x-request-id"))
"""What those who are believed have said goes on as it is."""
PSEUDONYM = b"meshproxy"
MOST_ADDED_TO = 4096
"""Bytes of a list that is kept and added to; beyond it, the list begins anew with us."""

More = Callable[[RequestHead], bytes]


@dataclass(frozen=True, slots=True)
class Said:
    """Of the peer of a connection."""

    lines: bytes
    more: More | None
    before_id: bytes
    """The lines, and the beginning of one for an id of ours; empty if none is written."""
    keeps_id: bool
    """Whether an id that a request brings is kept instead."""


class Identity:
    def __init__(self, said: Forwarded) -> None:
        self._written = frozenset(name.encode("ascii") for name in said.headers)
        self.replaced = self._written - ADDED_TO
        """What is left out of the requests of those who are believed, since it is written anew with what they said."""

    def of(self, source: str | None, *, believed: bool, peer: Peer | None) -> Said:
        """`source` is its address, if it has one, and `peer` who it is, if it speaks TLS."""
        written = self._written
        scheme = b"http" if peer is None else b"https"
        proof = element(peer) if peer is not None and b"x-forwarded-client-cert" in written else b""
        address = b"unknown" if source is None else source.encode("ascii")
        node = b'"[%b]"' % address if b":" in address else address
        via = encode.line(b"Via", b"1.1 " + PSEUDONYM) if b"via" in written else b""
        label = b"X-Request-Id: " if b"x-request-id" in written else b""
        names_host = not written.isdisjoint((b"x-forwarded-host", b"forwarded"))
        if not believed:
            lines = via
            if b"x-forwarded-for" in written:
                lines += b"X-Forwarded-For: %b\r\n" % address
            if b"x-forwarded-proto" in written:
                lines += b"X-Forwarded-Proto: %b\r\n" % scheme
            if proof:
                lines += b"X-Forwarded-Client-Cert: %b\r\n" % proof
            more = self._of_host(node, scheme) if names_host else None
            return Said(lines, more, label and lines + label, False)
        added_to = self._added_to(address, node, scheme, proof) if self.replaced else None
        return Said(via, added_to, label and via + label, True)

    def _of_host(self, node: bytes, scheme: bytes) -> More:
        written = self._written

        def more(head: RequestHead) -> bytes:
            host = head.authority.text
            lines = b""
            if b"x-forwarded-host" in written and host:
                lines += b"X-Forwarded-Host: %b\r\n" % host
            if b"forwarded" in written:
                lines += b"Forwarded: %b\r\n" % _element(node, scheme, host)
            return lines

        return more

    def _added_to(self, address: bytes, node: bytes, scheme: bytes, proof: bytes) -> More:
        written = self._written

        def more(head: RequestHead) -> bytes:
            host = head.authority.text
            lines = b""
            if b"x-forwarded-for" in written:
                lines += b"X-Forwarded-For: %b\r\n" % _after(head.get(b"x-forwarded-for"), address)
            if b"x-forwarded-proto" in written:
                lines += b"X-Forwarded-Proto: %b\r\n" % (head.get(b"x-forwarded-proto") or scheme)
            if b"x-forwarded-host" in written and (host or b"x-forwarded-host" in head.shape.positions):
                lines += b"X-Forwarded-Host: %b\r\n" % (head.get(b"x-forwarded-host") or host)
            if b"forwarded" in written:
                lines += b"Forwarded: %b\r\n" % _after(head.get(b"forwarded"), _element(node, scheme, host))
            if b"x-forwarded-client-cert" in written:
                before = head.get(b"x-forwarded-client-cert")
                if proofs := _after(before, proof) if proof else before:
                    lines += b"X-Forwarded-Client-Cert: %b\r\n" % proofs
            return lines

        return more


def _element(node: bytes, scheme: bytes, host: bytes) -> bytes:
    element = b"for=%b;proto=%b" % (node, scheme)
    if not host:
        return element
    return element + (b';host="%b"' % host if b":" in host else b";host=" + host)


def _after(before: bytes | None, last: bytes) -> bytes:
    return last if not before or len(before) > MOST_ADDED_TO else b"%b, %b" % (before, last)
