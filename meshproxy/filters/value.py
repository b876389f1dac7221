"""One thing of a request, by which requests are told apart.

    value = value_of(By(header="x-api-key"))
    value(exchange)             # b"4711"; nothing, where there is no such header
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address

from meshproxy.core.exchange import Exchange
from meshproxy.core.peer import spoken
from meshproxy.model.limits import By

Value = Callable[[Exchange], bytes]

_NETWORK = 8
"""Bytes of an IPv6 address that one customer has; what follows it may choose at will, for each request anew."""


def value_of(by: By) -> Value:
    if by.header is not None:
        name = by.header.lower().encode("ascii")
        return lambda x: x.request.get(name) or b""
    if by.cookie is not None:
        return _cookie(by.cookie.encode("ascii"))
    if by.of == "path":
        return lambda x: x.path
    if by.of == "identity":
        return lambda x: spoken(x.identity)
    return lambda x: _network(x.client)


def _cookie(name: bytes) -> Value:
    find = re.compile(rb"(?:^|;)[ \t]*" + re.escape(name) + rb"=([^;]*)").search

    def value(x: Exchange) -> bytes:
        cookies = x.request.get(b"cookie")
        found = find(cookies) if cookies else None
        return found[1].strip() if found else b""

    return value


@lru_cache(maxsize=4096)
def _network(client: str | None) -> bytes:
    if client is None:
        return b""
    if ":" not in client:
        return client.encode("ascii")
    address = IPv6Address(client.partition("%")[0])
    mapped = address.ipv4_mapped
    return str(mapped).encode("ascii") if mapped is not None else address.packed[:_NETWORK]
