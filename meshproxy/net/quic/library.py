"""All that is known here of aioquic beyond what it promises; it is loaded when somebody has to do with QUIC.

The library asks no client for a certificate, has no name for what a peer has shown, does not say how much of a stream
it has sent, and tells late of an end.  What this module touches instead may go away in another version: then nobody
has shown a certificate, and every connection is refused.
"""

from __future__ import annotations

import logging
import ssl
from typing import Any

from meshproxy.net.tls.context import Terms, Unusable

ALPN = "meshproxy-mux"
LARGEST_DATAGRAM_FRAME = 65535
CID_SIZE = 8
CURVES = ("secp256r1", "secp384r1")
"""Beside keys of other kinds: with another one aioquic would show no certificate, and not say why."""
WINDOW = 4 << 20
"""Bytes that a peer may send beyond those that have come in their turn, of all streams together."""
MISSING = "needs the library aioquic: pip install 'meshproxy[quic]'"


class Missing(Exception):
    """The library is not there."""


def configuration(terms: Terms, *, dials: bool) -> Any:
    """What both ends say of themselves; whom they believe is looked at by `Trust`.  Raises Unusable and Missing."""
    if terms.pair is None:
        raise Unusable("certificate", "is missing: both ends of QUIC show one")
    try:
        from aioquic.quic.configuration import QuicConfiguration
        from aioquic.tls import load_pem_private_key, load_pem_x509_certificates
    except ImportError:
        raise Missing(MISSING) from None
    # It would say to the standard error what peers do wrong.
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    found: Any = QuicConfiguration(
        is_client=dials,
        alpn_protocols=[ALPN],
        connection_id_length=CID_SIZE,
        max_datagram_frame_size=LARGEST_DATAGRAM_FRAME,
        # By `Trust`, at both ends and before anything else is said.
        verify_mode=ssl.CERT_NONE,
    )
    try:
        found.certificate, *found.certificate_chain = load_pem_x509_certificates(terms.pair.certificate.encode())
    except ValueError:
        raise Unusable("certificate", "has no certificate that can be read") from None
    try:
        found.private_key = load_pem_private_key(terms.pair.key.encode())
    except (ValueError, TypeError):
        raise Unusable("key", "has no key that can be read") from None
    if found.private_key.public_key() != found.certificate.public_key():
        raise Unusable("key", "is not the key of its certificate")
    curve = getattr(found.private_key, "curve", None)
    if curve is not None and curve.name not in CURVES:
        raise Unusable("key", f"is of the curve {curve.name}, with which QUIC does not sign: {' and '.join(CURVES)} do")
    return found


def dialled(configuration: Any) -> Any:
    from aioquic.quic.connection import QuicConnection

    return QuicConnection(configuration=configuration)


def accepted(configuration: Any, original: bytes, retried: bytes | None) -> Any:
    """One that asks for a certificate; `original` is the ID to which the client spoke first."""
    from aioquic.quic.connection import QuicConnection

    connection: Any = QuicConnection(
        configuration=configuration, original_destination_connection_id=original, retry_source_connection_id=retried
    )
    begin = connection._initialize

    def initialize(peer_cid: bytes) -> None:
        begin(peer_cid)
        connection.tls._request_client_certificate = True

    connection._initialize = initialize
    return connection


class Window:
    """How far a peer may go.  The library's own widens as bytes come, in whatever order.

    Who leaves a gap would fill the memory with what comes behind it.
    """

    __slots__ = ("_value", "frame_type", "name", "sent", "taken", "used")

    def __init__(self, before: Any) -> None:
        self.frame_type: int = before.frame_type
        self.name: str = before.name
        self.used: int = before.used
        self.sent = self._value = WINDOW
        self.taken = 0
        """Bytes that have come in their turn."""

    @property
    def value(self) -> int:
        return self._value

    @value.setter
    def value(self, _wider: int) -> None:
        """Once more than half of it has been used, before each packet."""
        if self.taken + WINDOW - self._value >= WINDOW // 2:
            self._value = self.taken + WINDOW


def bounded(connection: Any) -> Window:
    connection._local_max_data = window = Window(connection._local_max_data)
    return window


def head(data: bytes) -> Any:
    """What a datagram says before all that is secret.  Raises ValueError."""
    from aioquic import buffer
    from aioquic.quic.packet import pull_quic_header

    whole: Any = buffer
    return pull_quic_header(whole.Buffer(data=data), host_cid_length=CID_SIZE)


def shown(connection: Any) -> list[Any]:
    """The certificates of the peer, its own first: it has signed the handshake with the key of that."""
    own = getattr(connection.tls, "_peer_certificate", None)
    return [] if own is None else [own, *connection.tls._peer_certificate_chain]


def closed_by_peer(connection: Any) -> Any:
    """What it has said to end it, or None: the library tells only when nothing of it can be on its way any more."""
    return connection._close_event if connection._state.name == "DRAINING" else None


def sent(connection: Any, stream: int) -> int:
    """Bytes of a stream that have been in a packet."""
    found: int = connection._streams[stream].sender.highest_offset
    return found


def waiting(connection: Any) -> int:
    """Bytes of datagrams that have been in none."""
    return sum(map(len, connection._datagrams_pending))
