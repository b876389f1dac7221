"""A check by gRPC's own protocol for that: one call over HTTP/2, and whether the service says that it serves.

    talk = GrpcTalk(said, host, scheme, now)
    conn.write(talk.says())                 # and again after each `feed`
    talk.feed(data)                         # a Result, or None: more is needed
"""

from __future__ import annotations

from collections.abc import Callable

from meshproxy.cluster.call import Call
from meshproxy.cluster.talk import AGENT, OK, Result
from meshproxy.model.health import GrpcCheck
from meshproxy.wire import grpc, grpc_health
from meshproxy.wire.grpc import Messages, Status, TooLong
from meshproxy.wire.grpc_health import Serving
from meshproxy.wire.h1 import encode
from meshproxy.wire.h2 import Block, Limits, request_block

LIMITS = Limits(max_streams=1, connection_window=64 * 1024, head=16 * 1024)
MOST_MESSAGE = 1024
COMPRESSED = 1


class GrpcTalk(Call):
    __slots__ = ("_messages", "_reader")

    def __init__(self, said: GrpcCheck, host: bytes, scheme: bytes, now: Callable[[], float]) -> None:
        super().__init__(LIMITS, now)
        self._reader = Messages(MOST_MESSAGE)
        self._messages: list[tuple[int, bytes]] = []
        engine = self._engine
        opening = b"POST %b HTTP/1.1\r\n" % grpc_health.PATH + encode.lines(
            [(b"Host", host), (b"Content-Type", b"application/grpc"), (b"TE", b"trailers"), (b"User-Agent", AGENT)]
        )
        stream = engine.open(request_block(opening, scheme), False, self)
        engine.data(stream, grpc.frame(grpc_health.check(said.service or "")), True)

    def headed(self, block: Block, last: bool) -> None:
        fields = _values(block)
        status = fields.get(b":status", b"")
        if status.startswith(b"1"):
            return
        if status != b"200":
            self._is(Result("status", status.decode("latin-1")))
        elif not grpc.speaks(fields.get(b"content-type")):
            self._is(Result("malformed", "no_grpc"))
        elif last:
            self._conclude(fields)

    def taken(self, data: bytes, last: bool) -> None:
        try:
            self._messages += self._reader.feed(data)
        except TooLong:
            self._is(Result("malformed", "too_long"))
        if last:
            self._is(Result("malformed", "no_status"))

    def trailed(self, block: Block) -> None:
        self._conclude(_values(block))

    def _conclude(self, fields: dict[bytes, bytes]) -> None:
        status = grpc.status(fields.get(b"grpc-status"))
        if status is not Status.OK:
            self._is(Result("status", status.word))
        elif len(self._messages) != 1 or self._messages[0][0] & COMPRESSED:
            self._is(Result("malformed", "no_message"))
        else:
            self._is(_found(self._messages[0][1]))


def _values(block: Block) -> dict[bytes, bytes]:
    return {name: value for name, value, _ in block.fields}


def _found(message: bytes) -> Result:
    try:
        serving = grpc_health.found(message)
    except ValueError:
        return Result("malformed", "no_message")
    return OK if serving is Serving.SERVING else Result("status", serving.name.lower().replace("_", "-"))
