"""gRPC-Web to gRPC: what pages cannot say or hear is put into words for them, piece by piece.

    application/grpc-web+proto          ->  application/grpc+proto, `te: trailers`
    application/grpc-web-text+proto     ->  the same, and the body is base64 in both directions
    trailers                            ->  the last frame of the body, with the flag 0x80

An answer that has its status in its head goes on with that in its head: a page can read it there.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, b2a_base64

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Hooks
from meshproxy.relay.http.grpc import CONTENT_TYPE, TRAILERS, WEB, bounded
from meshproxy.wire import grpc
from meshproxy.wire.h1 import Malformed, Reason

_CALL = "grpc_web_call"
_padded = re.compile(rb"[^=]*+={0,2}").findall
"""Each may end with padding: who encodes piece by piece pads each of them."""


class _Call:
    __slots__ = ("answered", "held", "text")

    def __init__(self, *, text: bool) -> None:
        self.text = text
        self.held = b""
        """Of the request, what makes no whole byte yet."""
        self.answered = False
        """Whether the answer is one of gRPC."""


def _call(x: Exchange) -> _Call | None:
    """None: it is none, and none of our business."""
    found = grpc.web(x.request.get(b"content-type"))
    if found is None:
        return None
    facts = x.facts
    call: _Call | None = facts.get(_CALL)
    if call is None:
        kind, text = found
        facts[WEB] = _kind(kind, text=text)
        call = facts[_CALL] = _Call(text=text)
    return call


def _kind(suffix: bytes, *, text: bool) -> bytes:
    return b"application/grpc-web%b%b" % (b"-text" if text else b"", suffix)


def _request(x: Exchange) -> None:
    if _call(x) is None:
        return
    suffix, _ = grpc.web(x.request.get(b"content-type")) or (b"", False)
    changes = x.request_changes
    changes.set(b"content-type", CONTENT_TYPE + suffix)
    changes.set(b"te", b"trailers")
    changes.remove(b"x-grpc-web")
    changes.remove(b"accept")
    if b"grpc-timeout" in x.request.shape.positions:
        x.patience = bounded(x.request, x.patience)


def _request_data(x: Exchange, data: bytes, last: bool) -> bytes:
    call = _call(x)
    if call is None or not call.text:
        return data
    data = call.held + data
    whole = len(data) & ~3
    call.held = data[whole:]
    if last and call.held:
        raise Malformed(Reason.BAD_BASE64)
    try:
        return b"".join([a2b_base64(piece, strict_mode=True) for piece in _padded(data[:whole]) if piece])
    except Error:
        raise Malformed(Reason.BAD_BASE64) from None


def _response(x: Exchange) -> None:
    call, head = _call(x), x.response
    if call is not None and head is not None and grpc.speaks(head.get(b"content-type")):
        call.answered = True
        x.response_changes.set(b"content-type", x.facts[WEB])


def _response_data(x: Exchange, data: bytes, last: bool) -> bytes:
    call = _call(x)
    if call is None or not call.answered:
        return data
    trailers = getattr(x, "trailers", ())
    if last and trailers:
        data += grpc.web_trailers(trailers)
        x.facts[TRAILERS] = trailers
        x.trailers = ()
    return b2a_base64(data, newline=False) if call.text else data


HOOKS = Hooks(request=_request, request_data=_request_data, response=_response, response_data=_response_data)
