"""Where a connection was made to, before the kernel redirected it to us.

    original(sock)      # ("10.1.2.3", 80), or the local address if nobody has redirected it

`REDIRECT` and `DNAT` of netfilter leave that with the connection for as long as they know it: ask when it is accepted.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Any

SO_ORIGINAL_DST = 80
"""Python has no name for it.  It is the same number at the level of IPv4 and at that of IPv6."""
_FOUR = struct.Struct("!2xH4s8x")
_SIX = struct.Struct("!2xH4x16s")
_SCOPE = struct.Struct("I")

Destination = tuple[str, int]


def original(sock: socket.socket) -> Destination:
    try:
        if sock.family == socket.AF_INET6:
            return _six(sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, _SIX.size + _SCOPE.size))
        return _four(sock.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, _FOUR.size))
    except OSError:
        # ENOENT: not redirected; ENOPROTOOPT: nobody could; a sandbox has words of its own for the same.
        name = sock.getsockname()
        return name[0], name[1]


def _four(name: bytes) -> Destination:
    port, address = _FOUR.unpack(name)
    return str(ipaddress.IPv4Address(address)), port


def _six(name: bytes) -> Destination:
    port, address = _SIX.unpack_from(name)
    (scope,) = _SCOPE.unpack_from(name, _SIX.size)
    found = str(ipaddress.IPv6Address(address))
    return f"{found}%{scope}" if scope else found, port


def is_here(host: str) -> bool:
    """Whether this host has the address; nothing is sent."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    name: Any = (host, 0)
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(name)
        except OSError:
            return False
    return True
