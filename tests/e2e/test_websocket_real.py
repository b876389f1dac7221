"""WebSockets of real libraries in every pairing of HTTP/1.1 and HTTP/2, before the proxy and behind it.

    client --h1, h2--> `near` --h1--> the server of `websockets`
    client --h1, h2--> `far`  --h2--> `hop` --h1--> the same
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h2")
pytest.importorskip("websockets")

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import CLIENT, Protocol
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve
from websockets.uri import parse_uri

from tests.e2e.conftest import LONGEST, Start, poll

ONE_LOOP = True
"""What is shown here is the same on both."""

Address = tuple[str, int]
MIB = 1 << 20
PAIRS = [("near", "h1"), ("near", "h2"), ("far", "h1"), ("far", "h2")]


def dialled(address: Address) -> socket.socket:
    """Who says its frames one by one does not wait until each of them is acknowledged."""
    sock = socket.create_connection(address, LONGEST)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Line:
    """A connection of HTTP/1.1 that is becoming a WebSocket."""

    def __init__(self, address: Address) -> None:
        self.sock = dialled(address)
        offering = ClientProtocol(parse_uri("ws://{}:{}/".format(*address)), max_size=None)
        offering.send_request(offering.connect())
        self.protocol: Protocol = offering
        self.flush()
        self.frames: list[Frame] = []
        while self.protocol.state.name == "CONNECTING":
            self.hear()
        assert offering.handshake_exc is None

    def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.sock.sendall(data)

    def hear(self) -> None:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        self.take(data)

    def take(self, data: bytes) -> None:
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        self.frames += [event for event in self.protocol.events_received() if isinstance(event, Frame)]
        self.flush()

    def frame(self) -> Frame:
        while not self.frames:
            assert self.protocol.state.name != "CLOSED", self.protocol.close_exc
            self.hear()
        return self.frames.pop(0)

    def message(self) -> tuple[Opcode, bytes]:
        first = frame = self.frame()
        pieces = [frame.data]
        while not frame.fin:
            frame = self.frame()
            pieces.append(frame.data)
        return first.opcode, b"".join(pieces)

    def raw(self, *frames: tuple[int, bool, bytes]) -> None:
        """Whatever frames, right or wrong."""
        for opcode, last, data in frames:
            self.protocol.send_frame(Frame(Opcode(opcode), data, fin=last))
        self.flush()

    def closed(self) -> Close | None:
        """What the server says at the end, and the end itself."""
        while self.protocol.close_rcvd is None and self.protocol.state.name != "CLOSED":
            self.hear()
        return self.protocol.close_rcvd

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def leave(self) -> None:
        self.sock.close()


class Shared:
    """A connection of HTTP/2 with many WebSockets."""

    def __init__(self, address: Address) -> None:
        self.sock = dialled(address)
        config = H2Configuration(client_side=True, validate_outbound_headers=False)
        self.h2 = H2Connection(config)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(MIB)
        self.heard: dict[int, list[bytes]] = defaultdict(list)
        self.status: dict[int, bytes] = {}
        self.flush()

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def hear(self) -> None:
        data = self.sock.recv(65536)
        assert data, "ended"
        for event in self.h2.receive_data(data):
            match event:
                case ResponseReceived():
                    self.status[event.stream_id] = dict(event.headers)[b":status"]
                case DataReceived():
                    self.heard[event.stream_id].append(event.data)
                    if event.flow_controlled_length:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case StreamEnded() | StreamReset():
                    self.heard[event.stream_id].append(b"")
        self.flush()


class StreamLine(Line):
    """A stream of HTTP/2 that has become a WebSocket."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.protocol = Protocol(CLIENT, max_size=None)
        self.frames = []
        self.stream = shared.h2.get_next_available_stream_id()
        fields = [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/"),
            (":authority", "chat"), ("sec-websocket-version", "13"),
        ]  # fmt: skip
        shared.h2.send_headers(self.stream, fields)
        shared.flush()

    def agreed(self) -> StreamLine:
        while self.stream not in self.shared.status:
            self.shared.hear()
        assert self.shared.status[self.stream] == b"200"
        return self

    def flush(self) -> None:
        h2 = self.shared.h2
        for data in self.protocol.data_to_send():
            at = 0
            while at < len(data):
                if room := min(h2.local_flow_control_window(self.stream), h2.max_outbound_frame_size):
                    h2.send_data(self.stream, data[at : at + room])
                    at += room
                    self.shared.flush()
                else:
                    self.shared.hear()

    def hear(self) -> None:
        heard = self.shared.heard[self.stream]
        while not heard:
            self.shared.hear()
        self.take(heard.pop(0))

    def reset(self) -> None:
        self.shared.h2.reset_stream(self.stream, 8)
        self.shared.flush()

    def leave(self) -> None:
        self.shared.sock.close()


@pytest.fixture(scope="module")
def chat() -> Iterator[Address]:
    """It says what it is told, unless it is told how to close."""

    def echo(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                message = connection.recv()
                if isinstance(message, str) and message.startswith("close "):
                    connection.close(int(message.split()[1]), "as you like")
                elif message == "pieces":
                    connection.send(iter(["a", "", "bc"]))
                else:
                    connection.send(message)

    with serve(echo, "127.0.0.1", 0, max_size=None, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, chat: Address) -> Iterator[Any]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    directory: Path = tmp_path_factory.mktemp("websocket")
    hop = f"unix:{directory}/hop"
    start = Start(directory, request.param)

    def listener(name: str, listen: str, routes: str) -> dict[str, Any]:
        return {"name": name, "listen": listen, "protocol": "http", "routes": routes}

    running = start(
        {
            "listeners": [
                listener("near", "127.0.0.1:0", "chat"),
                listener("far", "127.0.0.2:0", "hop"),
                listener("hop", hop, "chat"),
            ],
            "routes": {"chat": [{"cluster": "chat"}], "hop": [{"cluster": "hop"}]},
            "clusters": {
                "chat": {"endpoints": ["{}:{}".format(*chat)]},
                "hop": {"endpoints": [hop], "http": {"version": "h2"}, "pool": {"idle": "300ms"}},
            },
        }
    )
    try:
        yield running
        poll(lambda: all_left(running), "all connections are counted out")
        assert "Traceback" not in running.log.read_text()
    finally:
        start.end()


def all_left(running: Any) -> bool:
    listeners = running.ask("GET", "/listeners?format=json")[1]
    clusters = running.ask("GET", "/clusters?format=json")[1]
    return not any(each["connections"] for each in listeners) and not any(
        endpoint["connections"] for cluster in clusters for endpoint in cluster["endpoints"]
    )


@pytest.fixture(params=PAIRS, ids="-".join)
def line(request: pytest.FixtureRequest, running: Any) -> Iterator[Line]:
    listener, version = request.param
    address = running.address(listener)
    made = Line(address) if version == "h1" else StreamLine(Shared(address)).agreed()
    yield made
    made.leave()


TEXT, BINARY, CONTINUATION, PING = 1, 2, 0, 9
SIZES = (0, 1, 125, 126, 127, 65535, 65536, MIB)
SOUND: dict[str, list[tuple[int, bool, bytes]]] = {
    **{f"binary-{size}": [(BINARY, True, bytes(range(256)) * (size // 256) + bytes(size % 256))] for size in SIZES},
    **{f"text-{size}": [(TEXT, True, b"*" * size)] for size in SIZES},
    "fragments": [(TEXT, False, b"a"), (CONTINUATION, False, b""), (CONTINUATION, True, b"bc")],
    "ping-between-fragments": [(BINARY, False, b"a"), (PING, True, b"now"), (CONTINUATION, True, b"b")],
    "byte-by-byte": [(TEXT, False, b"a"), *[(CONTINUATION, False, b"b")] * 50, (CONTINUATION, True, b"c")],
    "a-character-in-two": [(TEXT, False, "κ".encode()[:1]), (CONTINUATION, True, "κ".encode()[1:])],
    "beyond-the-first-plane": [(TEXT, True, "\U0001f600\U0010ffff".encode())],
    "ping": [(PING, True, b""), (PING, True, b"x" * 125), (TEXT, True, b"after")],
    "answer-in-pieces": [(TEXT, True, b"pieces")],
}
UNSOUND: dict[str, list[tuple[int, bool, bytes]]] = {
    "no-utf-8": [(TEXT, True, b"\xce\xba\xe1\xff")],
    "a-surrogate": [(TEXT, True, b"\xed\xa0\x80")],
    "cut-character": [(TEXT, False, "κ".encode()[:1]), (CONTINUATION, True, b"")],
    "continues-nothing": [(CONTINUATION, True, b"x")],
    "begins-within": [(TEXT, False, b"x"), (TEXT, True, b"y")],
}


def answer(line: Line, frames: list[tuple[int, bool, bytes]]) -> list[tuple[Opcode, bool, bytes]]:
    """All frames up to the end of the message that answers."""
    line.raw(*frames)
    got: list[tuple[Opcode, bool, bytes]] = []
    while not got or got[-1][0] == Opcode.PONG or not got[-1][1]:
        frame = line.frame()
        got.append((frame.opcode, frame.fin, bytes(frame.data)))
    return got


@pytest.mark.parametrize("frames", SOUND.values(), ids=SOUND)
def test_frames_as_direct(line: Line, chat: Address, frames: list[tuple[int, bool, bytes]]) -> None:
    direct = Line(chat)
    assert answer(line, frames) == answer(direct, frames)
    direct.leave()


@pytest.mark.parametrize("frames", UNSOUND.values(), ids=UNSOUND)
def test_faults_as_direct(line: Line, chat: Address, frames: list[tuple[int, bool, bytes]]) -> None:
    direct = Line(chat)
    for each in line, direct:
        each.raw(*frames)
    closed = line.closed()
    assert closed is not None
    assert closed.code in (1002, 1007)
    assert closed == direct.closed()
    direct.leave()


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_close_codes_go_both_ways(line: Line, running: Any, code: int) -> None:
    line.protocol.send_text(f"close {code}".encode())
    line.flush()
    assert line.closed() == Close(code, "as you like")


def test_a_close_of_the_client_is_answered(line: Line) -> None:
    line.protocol.send_close(4001, "enough")
    line.flush()
    assert line.closed() == Close(4001, "enough")


def test_a_slow_reader(line: Line) -> None:
    data = bytes(range(256)) * (4 * MIB // 256)
    line.protocol.send_binary(data)
    line.flush()
    time.sleep(0.2)  # in which whatever may go has gone
    assert line.message() == (Opcode.BINARY, data)


@pytest.mark.parametrize("listener", ["near", "far"])
def test_a_hundred_at_once(running: Any, listener: str) -> None:
    shared = Shared(running.address(listener))
    lines: list[Line] = [each.agreed() for each in [StreamLine(shared) for _ in range(99)]]
    lines.append(Line(running.address(listener)))
    for turn in range(3):
        for number, line in enumerate(lines):
            line.protocol.send_text(b"%d of %d" % (number, turn))
            line.flush()
        for number, line in reversed([*enumerate(lines)]):
            assert line.message() == (Opcode.TEXT, b"%d of %d" % (number, turn))
    lines[0].leave()
    lines[-1].leave()


@pytest.mark.parametrize("listener", ["near", "far"])
def test_a_reset_in_the_middle_is_nobody_elses(running: Any, listener: str) -> None:
    address = running.address(listener)
    shared = Shared(address)
    lost, kept = StreamLine(shared).agreed(), StreamLine(shared).agreed()
    other = Line(address)
    for line in lost, other:
        line.raw((BINARY, False, b"x" * 100_000))
        line.reset()
    kept.protocol.send_text(b"still here")
    kept.flush()
    assert kept.message() == (Opcode.TEXT, b"still here")
    kept.leave()


@pytest.mark.parametrize("listener", ["near", "far"])
def test_a_whole_client_of_websockets(running: Any, listener: str) -> None:
    url = "ws://{}:{}/".format(*running.address(listener))
    with connect(url, proxy=None, max_size=None) as one, connect(url, proxy=None) as two:
        for message in "hello", "é" * 1000, b"\0\1", b"x" * MIB:
            one.send(message)
            assert one.recv(LONGEST) == message
        two.send("unmixed")
        assert two.recv(LONGEST) == "unmixed"
        assert one.ping().wait(LONGEST)
        one.close(4001, "enough")
        assert (one.close_code, one.close_reason) == (4001, "enough")
