"""A peer that speaks HTTP/2 by the `h2` library, word for word where that matters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

WITHIN = 5.0

h2_connection = pytest.importorskip("h2.connection", reason="the h2 library is not installed")
h2_config = pytest.importorskip("h2.config")
h2_events = pytest.importorskip("h2.events")

Fields = list[tuple[str, str]]


class Speaker:
    """One end of a connection; events are kept until they are asked for."""

    def __init__(self, peer: Any, *, client: bool) -> None:
        self.peer = peer
        self.h2 = h2_connection.H2Connection(
            h2_config.H2Configuration(client_side=client, header_encoding="utf-8", validate_outbound_headers=False)
        )
        # To the library any GOAWAY is the end; to RFC 9113 6.8 what was asked before is still answered.
        states, inputs = h2_connection.ConnectionState, h2_connection.ConnectionInputs
        goes_on = {(state, inputs.RECV_GOAWAY): (None, state) for state in (states.CLIENT_OPEN, states.SERVER_OPEN)}
        self.h2.state_machine._transitions = {**self.h2.state_machine._transitions, **goes_on}
        self.h2.initiate_connection()
        self.events: list[Any] = []
        self.ended = False

    async def flush(self) -> None:
        if data := self.h2.data_to_send():
            await self.peer.send(data)

    async def event(self, kind: str, stream: int | None = None) -> Any:
        """The next of a kind, and of a stream."""
        async with asyncio.timeout(WITHIN):
            while True:
                for at, event in enumerate(self.events):
                    if type(event).__name__ == kind and stream in (None, getattr(event, "stream_id", None)):
                        return self.events.pop(at)
                await self.read()

    async def read(self) -> None:
        await self.flush()
        data = await self.peer.recv()
        assert data, f"ended, with {self.events}"
        self.events += self.h2.receive_data(data)
        await self.flush()

    # Requests

    async def ask(
        self, path: str = "/", *more: tuple[str, str], method: str = "GET", body: bytes | None = None, last: bool = True
    ) -> int:
        stream: int = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path), *more]
        self.h2.send_headers(stream, fields, end_stream=body is None and last)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=last)
        await self.flush()
        return stream

    async def answer(self, stream: int, *, gives_window: bool = True) -> tuple[int, dict[str, str], bytes, Fields]:
        """The status, the fields, the body and the trailers."""
        head = await self.event("ResponseReceived", stream)
        fields = dict(head.headers)
        body, trailers = b"", []
        async with asyncio.timeout(WITHIN):
            while True:
                for event in [each for each in self.events if getattr(each, "stream_id", None) == stream]:
                    self.events.remove(event)
                    match type(event).__name__:
                        case "DataReceived":
                            body += event.data
                            if gives_window and event.flow_controlled_length:
                                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                        case "TrailersReceived":
                            trailers = list(event.headers)
                        case "StreamEnded":
                            return int(fields[":status"]), fields, body, trailers
                        case "StreamReset":
                            raise AssertionError(f"reset: {event.error_code}")
                await self.read()


async def speaking(connect: Callable[[], Any]) -> Speaker:
    """A client that has said how it begins."""
    client = Speaker(await connect(), client=True)
    await client.flush()
    return client
