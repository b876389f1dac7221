"""What an operator can say about MQTT with brokers, where the proxy has a session of its own with them.

decode(UpstreamMqtt, {"version": "3.1.1", "user": "relay", "password": "..."})
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from meshproxy.schema.kinds import DURATION, PositiveDuration, Scalar, SecretText, Text, choice, refuse, show_duration
from meshproxy.schema.shapes import Path

LONGEST_KEEP_ALIVE = 65535.0

MqttVersion = Annotated[Literal["3.1.1", "5"], choice("3.1.1", "5")]


def _read_keep_alive(value: object) -> float:
    seconds: float = DURATION.read(value)
    if seconds != int(seconds) or not 1 <= seconds <= LONGEST_KEEP_ALIVE:
        raise refuse("whole seconds, from 1s to 65535s", value)
    return seconds


KeepAlive = Annotated[float, Scalar("duration", _read_keep_alive, show_duration, DURATION.json)]


@dataclass(frozen=True, slots=True)
class UpstreamMqtt:
    """How MQTT is spoken to brokers by the proxy itself, for a bridge say."""

    version: Annotated[
        MqttVersion | None, "of the protocol; absent: that of each client, and 5 in sessions of the proxy's own"
    ] = None
    user: Annotated[Text | None, "the user name that is said; absent: none"] = None
    password: Annotated[SecretText | None, "the password that goes with it"] = None
    keep_alive: Annotated[
        KeepAlive, "whole seconds: a broker that is silent for so long is asked, and left if it does not answer"
    ] = 60.0
    timeout: Annotated[PositiveDuration, "how long a broker may take to let us in, once it is connected to"] = 5.0

    @property
    def secret(self) -> bytes | None:
        """The password as it is said."""
        text = self.password.text if self.password is not None else None
        return text.encode() if text is not None else None


PLAIN_UPSTREAM_MQTT = UpstreamMqtt()


def upstream_mqtt_problems(said: UpstreamMqtt) -> Iterator[tuple[Path, str]]:
    if said.password is not None and said.user is None and said.version == "3.1.1":
        yield ("password",), "`password` needs a `user` in version 3.1.1"
