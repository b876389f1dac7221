"""Which pages of other origins may use what a route offers: preflights are answered, and answers say who may see them.

What an upstream says of that does not go on: one that lets everybody in would undo what is said here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Hooks
from meshproxy.core.reply import Reply
from meshproxy.model.filters import Cors
from meshproxy.model.regex import matcher
from meshproxy.wire.h1 import encode

ALLOW_ORIGIN = b"Access-Control-Allow-Origin"
OURS = frozenset(
    b"access-control-allow-origin access-control-allow-credentials access-control-expose-headers "
    b"access-control-allow-methods access-control-allow-headers access-control-max-age".split()
)
VARY = encode.line(b"Vary", b"Origin")
VARY_PREFLIGHT = encode.line(b"Vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")

_shape = re.compile(rb"([a-z][a-z0-9+.-]*+)://([a-z0-9._-]++|\[[0-9a-f:.]++\])(:[0-9]{1,5})?").fullmatch
"""What a browser sends, in small letters.  `null`, which stands for a thousand different pages, is none."""

Takes = Callable[[bytes], bool]


def build(said: Cors) -> Hooks:
    takes = _taking(said)
    credentials = encode.line(b"Access-Control-Allow-Credentials", b"true") if said.credentials else b""
    expose = encode.lines(_listed(b"Access-Control-Expose-Headers", said.expose))
    granted = encode.lines(
        [
            *_listed(b"Access-Control-Allow-Methods", said.methods),
            *_listed(b"Access-Control-Allow-Headers", said.headers),
            *([(b"Access-Control-Max-Age", b"%d" % said.max_age)] if said.max_age is not None else []),
        ]
    )
    vary = VARY if takes is not None else b""
    to_anybody = encode.line(ALLOW_ORIGIN, b"*")
    refused = Reply(403, [(b"Content-Type", b"text/plain")], b"origin not allowed\n", added=VARY_PREFLIGHT)

    def request(x: Exchange) -> Reply | None:
        head = x.request
        origin = head.get(b"origin")
        if takes is None:
            allowed = to_anybody
        elif origin is not None and takes(origin):
            allowed = encode.line(ALLOW_ORIGIN, origin) + credentials
        else:
            allowed = b""
        preflight = (
            head.method == b"OPTIONS"
            and origin is not None
            and b"access-control-request-method" in head.shape.positions
        )
        if preflight:
            return Reply(204, added=allowed + granted + VARY_PREFLIGHT) if allowed else refused
        changes = x.response_changes
        changes.without |= OURS
        changes.lines += allowed + expose + vary if allowed else vary
        return None

    return Hooks(request=request)


def _taking(said: Cors) -> Takes | None:
    """None: anybody, whoever that is."""
    names = [origin.name.encode("ascii") for origin in said.origins if origin.name is not None]
    if b"*" in names:
        return None
    exact = frozenset(name for name in names if b"*" not in name)
    suffixes = frozenset(name for name in names if b"*" in name)
    expressions = tuple(matcher(origin.regex) for origin in said.origins if origin.regex is not None)

    def takes(origin: bytes) -> bool:
        if origin in exact:
            return True
        found = _shape(origin)
        if found is None:
            return False
        if suffixes:
            scheme, host, port = found.groups(b"")
            parts = host.split(b".")
            for at in range(1, len(parts)):
                if b"%b://*.%b%b" % (scheme, b".".join(parts[at:]), port) in suffixes:
                    return bool(all(parts[:at]))
        return any(matches(origin) for matches in expressions)

    return takes


def _listed(name: bytes, items: Iterable[str]) -> list[tuple[bytes, bytes]]:
    value = ", ".join(items)
    return [(name, value.encode("ascii"))] if value else []
