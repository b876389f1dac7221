"""Real clients of MQTT in the hands of a test: paho, and mosquitto's commands."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Sequence
from typing import Any, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from meshproxy.wire.mqtt import V5, V311
from tests.e2e.conftest import LONGEST, poll

Address = tuple[str, int]

COMMAND_VERSIONS = {V311: "mqttv311", V5: "mqttv5"}


def properties(kind: int, **said: Any) -> Properties:
    """By the names that paho gives them."""
    made: Properties = Properties(kind)  # type: ignore[no-untyped-call]
    for name, value in said.items():
        setattr(made, name, value)
    return made


class Paho:
    """A client of paho on a thread of its own; it comes into a `with` when it is let in."""

    def __init__(
        self,
        address: Address,
        name: str = "",
        *,
        level: int = V5,
        transport: str = "tcp",
        clean: bool = True,
        will: tuple[str, str] | None = None,
        user: str | None = None,
        tls: tuple[str, str, str] | None = None,
    ) -> None:
        """`tls`: whom it trusts, its certificate and its key."""
        self.level, self._address = level, address
        kept = None if level == V5 else clean
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            name,
            clean_session=kept,
            protocol=MQTTProtocolVersion(level),
            transport="websockets" if transport == "websockets" else "tcp",
        )
        if transport == "websockets":
            self.client.ws_set_options(path="/mqtt")
        if will is not None:
            self.client.will_set(*will, qos=1)
        if user is not None:
            self.client.username_pw_set(user, "secret")
        if tls is not None:
            ca, certificate, key = tls
            self.client.tls_set(ca, certificate, key)
        self._clean = clean
        self.messages: list[paho.MQTTMessage] = []
        self.code: str | None = None
        """What the broker said to its CONNECT."""
        self.subscribed: list[int] = []
        self._heard = threading.Event()
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = lambda client, data, message: self.messages.append(message)

    def __enter__(self) -> Self:
        more: dict[str, Any] = {}
        if self.level == V5:
            more = {
                "clean_start": self._clean,
                "properties": properties(PacketTypes.CONNECT, SessionExpiryInterval=0 if self._clean else 300),
            }
        self.client.connect(*self._address, **more)
        self.client.loop_start()
        assert self._heard.wait(LONGEST), "no CONNACK came"
        return self

    def __exit__(self, *ignored: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, topic_filter: str, qos: int = 2) -> int:
        """What it was granted, or why it was not."""
        before = len(self.subscribed)
        self.client.subscribe(topic_filter, qos)
        poll(lambda: len(self.subscribed) > before, "SUBACK")
        return self.subscribed[-1]

    def publish(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False, **said: Any) -> None:
        """Until it is acknowledged."""
        more = properties(PacketTypes.PUBLISH, **said) if said else None
        self.client.publish(topic, payload, qos, retain, more).wait_for_publish(LONGEST)

    def message(self, number: int = 0) -> paho.MQTTMessage:
        poll(lambda: len(self.messages) > number, f"message {number}")
        return self.messages[number]

    def payloads(self, many: int) -> list[bytes]:
        """Of so many messages, when they are there."""
        self.message(many - 1)
        return [bytes(message.payload) for message in self.messages]

    def _on_connect(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        self.code = str(code)
        self._heard.set()

    def _on_subscribe(self, client: Any, data: Any, id: int, codes: Sequence[Any], properties: Any) -> None:
        self.subscribed.append(codes[0].value)


class Sub:
    """`mosquitto_sub`, which prints a line of topic, QoS, retain and payload for each message."""

    def __init__(self, address: Address, topic_filter: str, *options: str, level: int = V5, qos: int = 2) -> None:
        host, port = needed("mosquitto_sub", address)
        command = ["mosquitto_sub", "-h", host, "-p", str(port), "-V", COMMAND_VERSIONS[level], "-t", topic_filter]
        self.process = subprocess.Popen(
            [*command, "-q", str(qos), "-F", "%t %q %r %p", *options], stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.process.terminate()
        self.process.wait(LONGEST)
        assert self.process.stdout
        self.process.stdout.close()

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().rstrip("\n")


def pub(address: Address, topic: str, payload: str, *options: str, level: int = V5, qos: int = 1) -> None:
    """By `mosquitto_pub`, until it is acknowledged."""
    host, port = needed("mosquitto_pub", address)
    command = ["mosquitto_pub", "-h", host, "-p", str(port), "-V", COMMAND_VERSIONS[level], "-q", str(qos)]
    subprocess.run([*command, "-t", topic, "-m", payload, *options], check=True, timeout=LONGEST)


def needed(program: str, address: Address) -> Address:
    if shutil.which(program) is None:
        pytest.skip(f"no {program} here (scripts/install-peers)")
    return address
