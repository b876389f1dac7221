"""`Host` and the authority of a target: a name or an IP address, and a port.

RFC 3986 allows more in a name than any host has (`!$&'()*+,;=` and percent-encoding), and every one of these has been
read differently by two servers; they are refused, as is user information.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from meshproxy.wire.h1.faults import Malformed, Reason

_split = re.compile(rb"([A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::(0|[1-9][0-9]{0,4}))?").fullmatch

HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Authority:
    host: bytes
    """In lower case; an IPv6 address keeps its brackets."""
    port: int | None
    text: bytes
    """Both, as they are written in `Host`."""

    @classmethod
    def of(cls, host: bytes, port: int | None) -> Authority:
        return cls(host, port, host if port is None else b"%b:%d" % (host, port))


NOBODY = Authority.of(b"", None)
"""What an HTTP/1.0 request without Host is addressed to."""


def parse(value: bytes) -> Authority:
    found = _split(value)
    if found is None:
        raise Malformed(Reason.BAD_HOST)
    host, port = found[1].lower(), int(found[2]) if found[2] else None
    if port is not None and port > HIGHEST_PORT:
        raise Malformed(Reason.BAD_HOST)
    if host.startswith(b"["):
        try:
            ipaddress.IPv6Address(host[1:-1].decode("ascii"))
        except ValueError:
            raise Malformed(Reason.BAD_HOST) from None
    return Authority.of(host, port)
