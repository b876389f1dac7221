"""CONNECT, where a rule admits it: the client is led to where it says, by a tunnel.

    who it is, by `Proxy-Authorization` -> whether it may -> the addresses of the name -> a connection -> 200
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from meshproxy.cluster.cluster import CONNECT_FAILED
from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Answer
from meshproxy.core.reply import Reply, of_failure
from meshproxy.core.targets import Refused, read
from meshproxy.errors import Failure
from meshproxy.relay.forward import UNPROVEN, Forwarder
from meshproxy.relay.http.failures import BAD_TARGET
from meshproxy.relay.http.handling import Asked, Handling, Share
from meshproxy.wire.h1 import RequestHead

SAID: Mapping[Failure, Reply] = {
    UNPROVEN: Reply(
        UNPROVEN.status,
        ((b"Proxy-Authenticate", b'Basic realm="meshproxy", charset="UTF-8"'), (b"Content-Type", b"text/plain")),
        b"proxy authentication\n",
    ),
    # It is not for us that nobody is there.
    CONNECT_FAILED: of_failure(502, CONNECT_FAILED.reason),
}
"""Failures of which a client who wants a tunnel is told in another way."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Forwarded(Handling):
    only: Share
    forwarder: Forwarder

    def begin(self, asked: Asked, x: Exchange) -> None:
        x.cluster, x.tell = self.only
        host, port = x.request.authority.host.decode("ascii"), x.request.authority.port
        try:
            target = read(host, port or 0)
        except Refused:
            asked.fail(x, BAD_TARGET)
            return
        user, password = credentials(x.request)
        asked.wait(self.forwarder.admit(x, user, password, target), partial(self._admitted, asked, x))

    @staticmethod
    def _admitted(asked: Asked, x: Exchange, answer: Answer) -> None:
        if answer is None:
            asked.attempt(x)
        else:
            assert isinstance(answer, Failure)
            asked.fail(x, answer)


def told(asked: Asked, x: Exchange, failure: Failure) -> bool:
    """A `Fallback`."""
    reply = SAID.get(failure)
    if reply is not None:
        asked.reply(x, reply)
    return reply is not None


def credentials(head: RequestHead) -> tuple[str | None, bytes | None]:
    """What `Proxy-Authorization: Basic` says (RFC 7617), if it says anything that can be read."""
    scheme, _, said = (head.get(b"proxy-authorization") or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None, None
    try:
        name, colon, password = b64decode(said.strip(b" "), validate=True).partition(b":")
        return (name.decode(), password) if colon else (None, None)
    except (binascii.Error, UnicodeDecodeError):
        return None, None
