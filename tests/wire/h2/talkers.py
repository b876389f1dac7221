"""A side of a connection, spoken by our engine or by the `h2` library: both say and hear the same words.

What was heard of a stream is a list of `("head", fields)`, `("data", bytes)`, `("trailers", fields)`, `("end",)` and
`("reset",)`; neighbouring data is one.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import Any, Protocol

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from meshproxy.wire.h2 import Engine, Fault, Limits, Role
from meshproxy.wire.h2.reference import ReferenceEngine
from meshproxy.wire.hpack import Block, field

Fields = list[tuple[bytes, bytes]]


class Transcript(defaultdict[int, list[tuple[Any, ...]]]):
    def __init__(self) -> None:
        super().__init__(list)

    def add(self, stream: int, word: str, *more: Any) -> None:
        heard = self[stream]
        if word == "data":
            if not more[0]:
                return
            if heard and heard[-1][0] == "data":
                more = (heard.pop()[1] + more[0],)
        heard.append((word, *more))


class Talker(Protocol):
    heard: Transcript

    def open(self, fields: Fields, last: bool) -> int: ...

    def head(self, stream: int, fields: Fields, last: bool) -> None: ...

    def data(self, stream: int, data: bytes, last: bool) -> None: ...

    def trailers(self, stream: int, fields: Fields) -> None: ...

    def reset(self, stream: int) -> None: ...

    def ping(self) -> None: ...

    def resize(self, window: int) -> None: ...

    def feed(self, data: bytes) -> None: ...

    def written(self) -> bytes: ...


def block(fields: Fields) -> bytes:
    return b"".join(field(name, value) for name, value in fields)


class Ours:
    """The owner of an engine, and the user of all of its streams: each gets an object of its own from `of`."""

    def __init__(
        self, role: Role, limits: Limits, engine: type[Engine] | type[ReferenceEngine] = Engine
    ) -> None:
        self.heard = Transcript()
        self.said = 0
        self.engine = engine(role, self, limits, lambda: 0.0)

    def of(self, stream: int) -> _User:
        return _User(self.heard, stream)

    def opened(self, stream: int, block: Block, last: bool) -> _User:
        user = self.of(stream)
        user.headed(block, last)
        return user

    def went(self, last_id: int, code: int) -> None:
        raise AssertionError("went")

    def settled(self) -> None: ...

    def pong(self) -> None:
        self.said -= 1

    def broken(self, fault: Fault) -> None:
        raise AssertionError(fault)

    def counted(self, word: str) -> None:
        raise AssertionError(word)

    def open(self, fields: Fields, last: bool) -> int:
        user = self.of(0)
        user.stream = self.engine.open(block(fields), last, user)
        return user.stream

    def head(self, stream: int, fields: Fields, last: bool) -> None:
        self.engine.head(stream, block(fields), last)

    def data(self, stream: int, data: bytes, last: bool) -> None:
        self.engine.data(stream, data, last)

    def trailers(self, stream: int, fields: Fields) -> None:
        self.engine.trailers(stream, block(fields))

    def reset(self, stream: int) -> None:
        self.engine.reset(stream, 8)

    def ping(self) -> None:
        self.said += 1
        self.engine.ping()

    def resize(self, window: int) -> None:
        """An engine says its windows once; a full socket is the other thing that moves what it sends."""
        if window & 1:
            self.engine.block()
        else:
            self.engine.unblock()

    def feed(self, data: bytes) -> None:
        self.engine.feed(data)

    def written(self) -> bytes:
        data = b"".join(self.engine.out)
        self.engine.out.clear()
        return data


class _User:
    def __init__(self, heard: Transcript, stream: int) -> None:
        self.heard = heard
        self.stream = stream
        self.held = False

    def headed(self, block: Block, last: bool) -> None:
        self.heard.add(self.stream, "head", [field[:2] for field in block.fields])
        if last:
            self.heard.add(self.stream, "end")

    def taken(self, data: bytes, last: bool) -> None:
        self.heard.add(self.stream, "data", data)
        if last:
            self.heard.add(self.stream, "end")

    def trailed(self, block: Block) -> None:
        self.heard.add(self.stream, "trailers", [field[:2] for field in block.fields])
        self.heard.add(self.stream, "end")

    def reset(self, code: int) -> None:
        self.heard.add(self.stream, "reset")

    def refused(self) -> None:
        raise AssertionError("refused")

    def hold(self) -> None:
        assert not self.held
        self.held = True

    def release(self) -> None:
        assert self.held
        self.held = False


class Theirs:
    def __init__(self, role: Role) -> None:
        config = h2.config.H2Configuration(client_side=role is Role.CLIENT, header_encoding=None)
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.heard = Transcript()
        self.waiting: dict[int, tuple[bytes, bool, Fields | None]] = {}
        """Data of a stream, whether it ends then, and with which trailers."""

    def open(self, fields: Fields, last: bool) -> int:
        stream: int = self.connection.get_next_available_stream_id()
        self.head(stream, fields, last)
        return stream

    def head(self, stream: int, fields: Fields, last: bool) -> None:
        self.connection.send_headers(stream, fields, end_stream=last)

    def data(self, stream: int, data: bytes, last: bool) -> None:
        kept = self.waiting.get(stream, (b"", False, None))
        self.waiting[stream] = kept[0] + data, last, None
        self._send()

    def trailers(self, stream: int, fields: Fields) -> None:
        self.waiting[stream] = self.waiting.get(stream, (b"", False, None))[0], True, fields
        self._send()

    def _send(self) -> None:
        connection = self.connection
        for stream, (kept, last, trailers) in list(self.waiting.items()):
            data = kept
            while data:
                size = min(len(data), connection.local_flow_control_window(stream), connection.max_outbound_frame_size)
                if size <= 0:
                    break
                part, data = data[:size], data[size:]
                connection.send_data(stream, part, end_stream=last and trailers is None and not data)
            if data:
                self.waiting[stream] = data, last, trailers
                continue
            del self.waiting[stream]
            if trailers is not None:
                connection.send_headers(stream, trailers, end_stream=True)
            elif last and not kept:
                connection.end_stream(stream)

    def reset(self, stream: int) -> None:
        self.waiting.pop(stream, None)
        self.connection.reset_stream(stream, 8)

    def ping(self) -> None:
        self.connection.ping(b"12345678")

    def resize(self, window: int) -> None:
        self.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})

    def feed(self, data: bytes) -> None:
        for event in self.connection.receive_data(data):
            self._hears(event)
        self._send()

    def _hears(self, event: h2.events.Event) -> None:
        match event:
            case (
                h2.events.RequestReceived() | h2.events.ResponseReceived() | h2.events.InformationalResponseReceived()
            ):
                self.heard.add(event.stream_id, "head", list(map(tuple, event.headers)))
            case h2.events.DataReceived():
                self.heard.add(event.stream_id, "data", event.data)
                with suppress(h2.exceptions.StreamClosedError):
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                self.heard.add(event.stream_id, "trailers", list(map(tuple, event.headers)))
            case h2.events.StreamEnded():
                self.heard.add(event.stream_id, "end")
            case h2.events.StreamReset():
                self.waiting.pop(event.stream_id, None)
                self.heard.add(event.stream_id, "reset")
            case h2.events.ConnectionTerminated():
                raise AssertionError(event)

    def written(self) -> bytes:
        data: bytes = self.connection.data_to_send()
        return data
