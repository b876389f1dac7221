"""How the requests of a listener are read."""

from __future__ import annotations

import os
from typing import Literal, cast

from meshproxy import model
from meshproxy.errors import Invalid, Problem
from meshproxy.model.http import UpstreamHttp2
from meshproxy.relay.http.service import Engines
from meshproxy.wire import h2
from meshproxy.wire.h1 import Limits, RequestCodec, Strictness
from meshproxy.wire.h2 import Requests


def request_codec(
    said: model.Http, codec: Literal["own", "h11", "h2"], without: frozenset[bytes] = frozenset()
) -> RequestCodec:
    """`without` are fields, in lower case, that never go on."""
    limits, strictness, upgrades = request_limits(said), _strictness(said), _upgrades(said)
    if codec == "h11":
        # Who does not ask for it does not carry it.
        from meshproxy.wire.h1.reference import ReferenceCodec

        return ReferenceCodec(limits, strictness, upgrades, without)
    return RequestCodec(limits, strictness, upgrades, without)


def requests(said: model.Http, without: frozenset[bytes] = frozenset()) -> Requests:
    """The same for HTTP/2."""
    return Requests(request_limits(said), _strictness(said), _upgrades(said), without, key=lambda: os.urandom(16))


def engines(said: model.Listener) -> Engines | None:
    """What makes the engine of a client's connection of HTTP/2; None: that is not spoken."""
    http = said.http
    if "h2" not in http.versions:
        return None
    most = http.http2
    limits = h2.Limits(
        max_streams=most.max_streams,
        window=most.window,
        connection_window=most.connection_window,
        head=http.limits.head,
        fields=http.limits.fields,
    )
    kind = _reference(said.name) if said.codec == "h2" else h2.Engine
    return lambda hearer, now: kind(h2.Role.SERVER, hearer, limits, now)


def _reference(listener: str) -> type[h2.Engine]:
    try:
        # Who does not ask for it need not have it.
        from meshproxy.wire.h2.reference import ReferenceEngine
    except ImportError:
        message = "`codec: h2` needs the package h2, which is not there: install meshproxy[h2]"
        raise Invalid([Problem(f"listeners.{listener}.codec", message)]) from None
    return cast(type[h2.Engine], ReferenceEngine)


def carried_limits(said: UpstreamHttp2) -> h2.Limits:
    """For connections to endpoints."""
    return h2.Limits(
        max_streams=said.max_streams, window=said.window, connection_window=said.connection_window
    )


def _strictness(said: model.Http) -> Strictness:
    return Strictness(**dict.fromkeys(said.admit, True))


def _upgrades(said: model.Http) -> frozenset[bytes]:
    return frozenset(name.lower().encode("ascii") for name in said.upgrades)


def request_limits(said: model.Http) -> Limits:
    return Limits(said.limits.line, said.limits.head, said.limits.fields, said.limits.body)
