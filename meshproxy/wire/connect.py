"""CONNECT (RFC 9110 9.3.6), as who asks a forward proxy speaks it: over HTTP/1.1 as text, over HTTP/2 as a block.

    asking = Connect(b"10.1.0.5:80", fields)
    socket.write(asking.opening())
    asking.feed(data)                           until asking.rest is not None: what came behind the head; raises Refused

    engine.open(connect_block(b"10.1.0.5:80", fields), False, user)
    refuse(RESPONSES.head(block, last, b"CONNECT").status)

Any 2xx makes a tunnel of what carried it, and nothing else does.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence

from meshproxy.wire.asking import Refused, Why
from meshproxy.wire.h1 import Limits, Malformed, ResponseCodec, encode
from meshproxy.wire.h1.encode import PHRASES, Field
from meshproxy.wire.h2 import Responses
from meshproxy.wire.hpack import field

METHOD = b"CONNECT"
LIMITS = Limits(line=1024, head=16 * 1024, fields=64, interim=4)
"""A proxy that agrees has little to say, and one that refuses is not listened to for long."""
RESPONSES = Responses(LIMITS)
_CODEC = ResponseCodec(LIMITS)


def authority(host: str, port: int) -> bytes:
    """Without a zone, which means nothing elsewhere."""
    plain = host.partition("%")[0]
    return f"[{plain}]:{port}".encode() if ":" in plain else f"{plain}:{port}".encode()


def basic(user: str, password: str) -> Field:
    """RFC 7617.  Raises ValueError: a user with a colon would be another one."""
    if ":" in user:
        raise ValueError("a user has no colon")
    return b"Proxy-Authorization", b"Basic " + b64encode(f"{user}:{password}".encode())


def forwarded(client: str) -> Field:
    """On whose behalf (RFC 7239)."""
    plain = client.partition("%")[0]
    return b"Forwarded", f'for="[{plain}]"'.encode() if ":" in plain else f"for={plain}".encode()


_WHY = {
    401: Why.UNKNOWN,
    403: Why.FORBIDDEN,
    404: Why.UNREACHABLE,
    405: Why.UNSUPPORTED,
    407: Why.UNKNOWN,
    501: Why.UNSUPPORTED,
    502: Why.UNREACHABLE,
    504: Why.EXPIRED,
}
"""Any other is a refusal."""


def refuse(status: int) -> None:
    """Raises Refused, unless the proxy has agreed.  Its own words are nobody's business: the usual ones are told."""
    if not 200 <= status < 300:
        phrase = PHRASES.get(status, b"").decode()
        raise Refused(_WHY.get(status, Why.REFUSED), f"{status} {phrase}".strip())


def malformed(fault: Malformed) -> Refused:
    return Refused(Why.MALFORMED, f"no answer of HTTP: {fault.reason.value}")


class Connect:
    """Satisfies `Asking`."""

    __slots__ = ("_opening", "_reader", "rest")

    def __init__(self, to: bytes, fields: Iterable[Field] = ()) -> None:
        """Raises ValueError where something cannot be said."""
        self._opening = encode.request(METHOD, to, ((b"Host", to), *fields))
        self._reader = _CODEC.reader()
        self._reader.expect(METHOD)
        self.rest: bytes | None = None

    def opening(self) -> bytes:
        return self._opening

    def feed(self, data: bytes) -> bytes:
        reader = self._reader
        try:
            head = reader.feed(data)
            while head is not None and head.interim:
                head = reader.feed(reader.rest) if reader.rest else None
        except Malformed as fault:
            raise malformed(fault) from None
        if head is not None:
            refuse(head.status)
            self.rest = reader.rest
        return b""


def connect_block(to: bytes, fields: Sequence[Field] = ()) -> bytes:
    """Neither a scheme nor a path (RFC 9113 8.5)."""
    own = (field(b":method", METHOD), field(b":authority", to))
    return b"".join([*own, *[field(name.lower(), value) for name, value in fields]])
