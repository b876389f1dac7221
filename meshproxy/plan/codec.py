"""How the requests of a listener are read."""

from __future__ import annotations

from typing import Literal

from meshproxy import model
from meshproxy.wire.h1 import Limits, RequestCodec, Strictness


def request_codec(
    said: model.Http, codec: Literal["own", "h11"], without: frozenset[bytes] = frozenset()
) -> RequestCodec:
    """`without` are fields, in lower case, that never go on."""
    limits = request_limits(said)
    strictness = Strictness(**dict.fromkeys(said.admit, True))
    upgrades = frozenset(name.lower().encode("ascii") for name in said.upgrades)
    if codec == "h11":
        # Who does not ask for it does not carry it.
        from meshproxy.wire.h1.reference import ReferenceCodec

        return ReferenceCodec(limits, strictness, upgrades, without)
    return RequestCodec(limits, strictness, upgrades, without)


def request_limits(said: model.Http) -> Limits:
    return Limits(said.limits.line, said.limits.head, said.limits.fields, said.limits.body)
