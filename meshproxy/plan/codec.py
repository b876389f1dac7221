"""How the requests of a listener are read."""

from __future__ import annotations

from meshproxy import model
from meshproxy.wire.h1 import Limits, RequestCodec, Strictness


def request_codec(said: model.Http) -> RequestCodec:
    limits = Limits(said.limits.line, said.limits.head, said.limits.fields, said.limits.body)
    strictness = Strictness(**dict.fromkeys(said.admit, True))
    return RequestCodec(limits, strictness, frozenset(name.lower().encode("ascii") for name in said.upgrades))
