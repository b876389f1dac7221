"""What a hash is made of: the value of a header, a cookie or a parameter, the path, or the address of who connected.

    key = key_of((HashKey(header="x-user"), HashKey(source=True)))
    key(exchange)           # 32 bits: of the first of these that is there; None if there is none

CRC-32, spread by a multiplication: the same in every process, and a tenth of what a digest costs.  Who chooses keys can
choose those of one endpoint, as with any hash that all proxies know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

from meshproxy import model
from meshproxy.cluster.balance.base import Asking, Key
from meshproxy.core.condition import parameters

SPREAD = 0x9E3779B1
"""A prime near the golden ratio of 2**32, as Knuth advises."""

Value = Callable[[Any], bytes | None]
"""Of an exchange; or for `source` of whoever has a `client`."""


def no_key(asking: Asking) -> None:
    """Nothing is hashed."""


def hashed(value: bytes) -> int:
    return crc32(value) * SPREAD & 0xFFFF_FFFF


def key_of(said: Sequence[model.HashKey]) -> Key:
    values = [_value(each) for each in said]
    if len(values) != 1:
        return _first(values) if values else no_key
    (only,) = values

    def key(asking: Asking) -> int | None:
        value = only(asking)
        return None if value is None else crc32(value) * SPREAD & 0xFFFF_FFFF

    return key


def _first(values: Sequence[Value]) -> Key:
    def key(asking: Asking) -> int | None:
        for value_of in values:
            value = value_of(asking)
            if value is not None:
                return hashed(value)
        return None

    return key


def _value(said: model.HashKey) -> Value:
    if said.header is not None:
        name = said.header.lower().encode("ascii")
        return lambda x: x.request.get(name)
    if said.cookie is not None:
        return cookie(said.cookie)
    if said.query is not None:
        parameter = said.query.encode()
        return lambda x: parameters(x.request.target).get(parameter)
    if said.path:
        return lambda x: x.path
    if said.client_id:
        return lambda client: client.id.encode() or None
    return _source


def _source(asking: Asking) -> bytes | None:
    client = asking.client
    return None if client is None else client.encode("ascii")


def cookie(name: str) -> Value:
    """The value of a cookie; of several of the same name, the first."""
    find = re.compile(rb'(?:^|[;,][ \t]*)%b="?([^";,\s]*)' % re.escape(name.encode("ascii"))).search

    def value(x: Any) -> bytes | None:
        text = x.request.get(b"cookie")
        found = find(text) if text is not None else None
        return found[1] if found is not None else None

    return value
