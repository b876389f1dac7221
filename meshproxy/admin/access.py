"""Who may use the admin side, decided by the head of a request.

A browser on this machine can be made to send requests by any page it shows, so a foreign `Host` (DNS rebinding)
or `Origin` is refused.  A change needs the token where one is configured, and cannot be had without one off
loopback.  On a unix socket the kernel says who asks: the proxy's own user and root need no token.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple

from meshproxy.admin.http import Request
from meshproxy.model import Address

READ_ONLY = ("GET", "HEAD")
ROOT = 0


class Denied(NamedTuple):
    status: int
    words: str


@dataclass(frozen=True, slots=True)
class Access:
    """The rule for one admin address; `uid` is the user that the proxy runs as."""

    listen: Address
    token: str | None = field(repr=False)
    uid: int

    def denied(self, request: Request) -> Denied | None:
        host = request.headers.get("host", "")
        if self._is_inet and self.listen.is_local and not self._is_ours(host):
            return Denied(403, f"Host: {host!r} is not a name of the loopback, where this is served")
        origin = request.headers.get("origin")
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            return Denied(403, f"Origin: {origin!r} is another site than {host!r}")
        if not self._is_inet and request.peer_uid in (ROOT, self.uid):
            return None
        if self.token is not None:
            return self._wrong_token(request.headers.get("authorization", ""), self.token)
        if request.method in READ_ONLY:
            return None
        if not self._is_inet:
            return Denied(403, f"user {request.peer_uid} may not change this proxy: only {self.uid} and root may")
        if not self.listen.is_local:
            return Denied(403, "changes are refused: admin is not on loopback and no admin.token is configured")
        return None

    @property
    def _is_inet(self) -> bool:
        return self.listen.kind != "unix"

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if name.lower() == "localhost":
            return True
        try:
            return ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
        except ValueError:
            return False

    def _wrong_token(self, authorization: str, token: str) -> Denied | None:
        scheme, _, given = authorization.partition(" ")
        right = hmac.compare_digest(given.strip().encode(), token.encode())
        if scheme.lower() == "bearer" and right:
            return None
        return Denied(401, "Authorization: a bearer token is needed, and this request has none or a wrong one")
