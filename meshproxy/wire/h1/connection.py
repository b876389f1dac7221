"""The `Connection` field: whether the connection lasts, and which fields are for this hop alone."""

from __future__ import annotations

from dataclasses import dataclass

from meshproxy.wire.h1.faults import Malformed, Reason
from meshproxy.wire.h1.grammar import OWS, token

PEER = b"x-meshproxy-peer"
"""Who a meshproxy says it is, for the next one alone: `wire.introduction`."""

HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"http2-settings", PEER)
)
"""Never passed on.  `Transfer-Encoding` is one too by RFC 9110, but goes with the chunks, which are passed on as they
came; who decodes them removes it."""

NOT_FOR_UPSTREAMS = frozenset((b"proxy",))
"""Taken out of requests: CGI makes HTTP_PROXY of it, where programs look for a proxy of their own (CVE-2016-5385)."""

END_TO_END = frozenset(
    # framing, and what the body is
    b"content-length transfer-encoding trailer content-type content-encoding content-range range expect "
    # routing, and who asks on whose behalf
    b"host via forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-port x-real-ip x-request-id "
    b"x-forwarded-client-cert "
    b"max-forwards location "
    # who may, and who must not
    b"authorization proxy-authorization www-authenticate cookie set-cookie origin strict-transport-security "
    b"content-security-policy x-frame-options x-content-type-options access-control-allow-origin "
    # which answer may serve whom
    b"cache-control vary date age".split()
)
"""Kept even if `Connection` names them: to name one is to ask a proxy to change what the next server believes."""


@dataclass(frozen=True, slots=True)
class Options:
    lasts: tuple[bool, bool]
    """Whether the sender goes on with the connection, by the minor version of the message."""
    upgrade: bool
    named: frozenset[bytes]
    """Other fields that are not to be passed on, in lower case."""


NO_OPTIONS = Options((False, True), False, frozenset())


def parse(value: bytes) -> Options:
    names = {part.strip(OWS).lower() for part in value.split(b",")} - {b""}
    if not all(map(token, names)):
        raise Malformed(Reason.BAD_CONNECTION)
    named = frozenset(names - {b"close"} - HOP_BY_HOP - END_TO_END)
    close = b"close" in names
    return Options((b"keep-alive" in names and not close, not close), b"upgrade" in names, named)
