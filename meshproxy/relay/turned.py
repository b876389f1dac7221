"""Connections that are turned away before anything of them is relayed: of those of one second the first are told of.

    turned = Turned("web", clock.now, told)
    turned.tell(conn, origin, REFUSED["no_chain"])      # while the connection can be asked for its addresses

All of them are counted, by who turns them away.  When thousands come to be refused, that is no time to describe each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshproxy.errors import Failure
from meshproxy.net.conn import Conn
from meshproxy.observe.telling import Told
from meshproxy.relay.origin import Origin
from meshproxy.relay.passed import Passed, Spot

MOST = 100
"""In a second, of one listener."""

REFUSED: Mapping[str, Failure] = {
    "limit": Failure("limit", flag="OM"),
    "overload": Failure("overload", flag="OM"),
    "rate_limit": Failure("rate_limit", flag="RL"),
    "no_chain": Failure("no_chain", flag="NR"),
    "loop": Failure("loop", flag="NR"),
    "authorize": Failure("authorize", flag="AZ"),
    "proxy_protocol": Failure("proxy_protocol", flag="DPE"),
    "protocol": Failure("protocol", flag="DPE"),
}
"""By the word by which they are counted."""
GONE = Failure("closed", flag="DC")
LATE = Failure("timeout", flag="DT")
DRAINED = Failure("drained", flag="DR")

_OF_CERTIFICATES = frozenset((
    "expired", "not_yet_valid", "revoked", "unknown_ca", "wrong_name", "crl", "invalid", "no_certificate",
))  # fmt: skip


def without_tls(word: str) -> Failure:
    """No TLS has come about, for what a handshake is counted by."""
    reason = f"tls_{word}"
    if word in _OF_CERTIFICATES:
        return Failure(reason, flag="AZ")
    if word == "timeout":
        return Failure(reason, flag="DT")
    return Failure(reason, flag="DC") if word == "closed" else Failure(reason, flag="DPE")


class Turned:
    __slots__ = ("_left", "_now", "_spot", "_told", "_until")

    def __init__(self, listener: str, now: Callable[[], float], told: Told) -> None:
        self._spot = Spot(listener)
        self._now = now
        self._told = told
        self._left = 0
        self._until = 0.0

    def tell(
        self, conn: Conn | None, origin: Origin, why: Failure, *, since: float | None = None, status: int = 0,
        protocol: str = "TCP",
    ) -> None:  # fmt: skip
        """`since`: when it came, where that was not just now; `status`: with which it was answered."""
        now = self._now()
        if now >= self._until:
            self._until = now + 1.0
            self._left = MOST
        if not self._left:
            return
        self._left -= 1
        if origin.conn is None:
            origin.conn = conn
        began = now if since is None else since
        self._told.tell(
            Passed(
                origin, self._spot, began, now - began, 0, 0, why, flags=why.flag, protocol=protocol, status=status,
            )
        )  # fmt: skip
