"""A check by HTTP/2: one request, and its answer told as HTTP/1.1 to who knows what a good one is.

    talk = H2Talk(request, method, inner, scheme, now)
    conn.write(talk.says())                 # and again after each `feed`
    talk.feed(data)                         # a Result, or None: more is needed
"""

from __future__ import annotations

from collections.abc import Callable

from meshproxy.cluster.call import Call
from meshproxy.cluster.talk import Result, Talk
from meshproxy.wire.h1 import Malformed
from meshproxy.wire.h2 import Block, FramedBody, Limits, Responses, request_block

LIMITS = Limits(max_streams=1, connection_window=64 * 1024)


class H2Talk(Call):
    __slots__ = ("_body", "_inner", "_method", "_responses")

    def __init__(self, request: bytes, method: bytes, inner: Talk, scheme: bytes, now: Callable[[], float]) -> None:
        """`request` is the text of one without a body, in HTTP/1.1."""
        super().__init__(LIMITS, now)
        self._method = method
        self._inner = inner
        self._responses = Responses()
        self._body: FramedBody | None = None
        self._engine.open(request_block(request[:-2], scheme), True, self)

    def headed(self, block: Block, last: bool) -> None:
        try:
            head = self._responses.head(block, last, self._method)
        except Malformed as fault:
            self._refuse(fault)
            return
        assert head.plain is not None, "it is made with its text"
        if head.status >= 200:
            self._body = FramedBody(head.body, self._responses.limits)
        self._tell(head.plain + b"\r\n", last)

    def taken(self, data: bytes, last: bool) -> None:
        body = self._body
        if body is None:
            return
        try:
            passed = body.feed(data)
            if last:
                passed += body.finish()
        except Malformed as fault:
            self._refuse(fault)
        else:
            self._tell(passed, last)

    def trailed(self, block: Block) -> None:
        self.taken(b"", True)

    def _tell(self, text: bytes, last: bool) -> None:
        if self._result is None:
            try:
                result = self._inner.feed(text) if text else None
                if result is None and last:
                    result = self._inner.end()
            except Malformed as fault:
                self._refuse(fault)
            else:
                if result is not None:
                    self._is(result)

    def _refuse(self, fault: Malformed) -> None:
        self._is(Result("malformed", fault.reason.value))
