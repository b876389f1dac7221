"""paho-mqtt within WebSocket, through ours, to mosquitto, which knows nothing of that."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshproxy.net.conn import Conn
from meshproxy.relay.origin import Origin
from tests.relay.mqtt.test_websocket import Room, Session

client = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed: nobody connects")
enums = pytest.importorskip("paho.mqtt.enums")

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]
LARGE = os.urandom(300_000)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """The port of mosquitto."""
    binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    if not Path(binary).exists():
        pytest.skip("mosquitto is not installed")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen([binary, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 5
    while not answers(port):
        assert time.monotonic() < deadline, "mosquitto does not answer"
        time.sleep(0.01)
    yield port
    process.kill()
    process.wait()


def answers(port: int) -> bool:
    with socket.socket() as sock:
        return not sock.connect_ex(("127.0.0.1", port))


class Carrying(Room):
    """Every session goes on to the broker as it is."""

    port: int

    def start(self, conn: Conn, origin: Origin) -> None:
        super().start(conn, origin)
        self.carried = asyncio.ensure_future(self.carry(conn, self.sessions[-1]))

    async def carry(self, conn: Conn, session: Session) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(session.data)
        conn.read_to(writer.write)
        while data := await reader.read(65536):
            conn.write(data)
        conn.end()
        writer.close()


def converse(address: tuple[str, int], version: Any) -> list[bytes]:
    """What a client hears of what it says itself."""
    got: list[bytes] = []
    paho = client.Client(
        enums.CallbackAPIVersion.VERSION2, client_id="boat", protocol=version, transport="websockets"
    )
    paho.ws_set_options(path="/mqtt")
    paho.on_message = lambda _client, _data, message: got.append(message.payload)
    subscribed: list[int] = []
    paho.on_subscribe = lambda *_: subscribed.append(1)
    paho.connect(*address, keepalive=60)
    paho.loop_start()
    deadline = time.monotonic() + 10
    while not paho.is_connected():
        assert time.monotonic() < deadline, "it is not connected"
        time.sleep(0.005)
    paho.subscribe("a/#", qos=2)
    while not subscribed:
        assert time.monotonic() < deadline, "it is not subscribed"
        time.sleep(0.005)
    for qos, payload in enumerate((b"", b"x" * 200, LARGE)):
        paho.publish("a/b", payload, qos=qos).wait_for_publish(10)
    while len(got) < 3:
        assert time.monotonic() < deadline, f"only {len(got)} messages"
        time.sleep(0.005)
    paho.disconnect()
    paho.loop_stop()
    return got


@pytest.mark.parametrize("version", [4, 5])
def test_a_client(run: Run, monkeypatch: pytest.MonkeyPatch, clock: Any, broker: int, version: int) -> None:
    async def scenario() -> None:
        room = Carrying(monkeypatch, clock)
        room.port = broker
        await room.open()
        got = await asyncio.to_thread(converse, room.w.address(), version)
        assert sorted(got, key=len) == [b"", b"x" * 200, LARGE]
        (session,) = room.sessions
        await room.w.until(lambda: session.events)
        await room.carried

    run(scenario())
