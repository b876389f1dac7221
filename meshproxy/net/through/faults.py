"""What a proxy has against a connection, as an error like any other of a connection that does not come about."""

from __future__ import annotations

import errno

from meshproxy.wire.asking import Refused, Why

ERRORS = {
    Why.REFUSED: errno.ECONNREFUSED,
    Why.FORBIDDEN: errno.EACCES,
    Why.UNKNOWN: errno.EACCES,
    Why.NO_NETWORK: errno.ENETUNREACH,
    Why.UNREACHABLE: errno.EHOSTUNREACH,
    Why.EXPIRED: errno.ETIMEDOUT,
    Why.UNSUPPORTED: errno.EOPNOTSUPP,
    Why.MALFORMED: errno.EPROTO,
}


class ProxyRefused(OSError):
    """`why` is a word to count and to log by."""

    def __init__(self, why: Why, said: str) -> None:
        super().__init__(ERRORS[why], f"the proxy: {said}")
        self.why = why


def as_error(refused: Refused) -> ProxyRefused:
    return ProxyRefused(refused.why, str(refused))
