"""The proxies between MQTT's clients and a broker, and mosquitto as that broker."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks import process
from benchmarks.mqtt.memory import CLIENTS
from benchmarks.peers import HAProxy, Meshproxy, Peer, said

SPARE = 100
"""Descriptors beside those of clients."""


class MqttMeshproxy(Meshproxy):
    """Looks at each message, and lets through what a client may publish."""

    policy: ClassVar[dict[str, object]] = {"authorize": [{"publish": ["bench/#"], "subscribe": ["bench/#"]}]}

    def relay(self) -> dict[str, object]:
        listener = {"name": "in", "listen": f"127.0.0.1:{self.port}", "protocol": "mqtt"}
        return {
            "listeners": [{**listener, "mqtt": "bench", "cluster": "broker"}],
            "mqtt": {"bench": self.policy},
            "clusters": {"broker": {"endpoints": [f"127.0.0.1:{self.upstream}"]}},
        }


class FanInMeshproxy(MqttMeshproxy):
    """Carries all its clients over two connections to the broker."""

    name = "meshproxy-fan-in"
    policy = {**MqttMeshproxy.policy, "fan_in": {"connections": 2}}


class SpoolingMeshproxy(MqttMeshproxy):
    """Keeps on disk what cannot be published now."""

    spool: Path

    def furnish(self, directory: Path) -> None:
        self.spool = directory / "spool"
        super().furnish(directory)

    def relay(self) -> dict[str, object]:
        spool = {"dir": str(self.spool), "size": "256MiB", "full": "drop_oldest"}
        return {**super().relay(), "mqtt": {"bench": {**self.policy, "spool": spool}}}


class CrowdedHAProxy(HAProxy):
    """Relays bytes for as many clients as will come; the pipes of splice would need descriptors too."""

    def config(self) -> str:
        splicing = ("    option splice-request\n", "    option splice-response\n")
        config = super().config().replace("maxconn 4096", f"maxconn {CLIENTS + SPARE}")
        return config.replace(splicing[0], "").replace(splicing[1], "")


class Mosquitto(Peer):
    name = program = "mosquitto"
    file = "mosquitto.conf"

    def __init__(self, core: int) -> None:
        super().__init__(process.free_port(), core)

    @classmethod
    def version(cls) -> str:
        return said("mosquitto", "-h").split()[2]

    def config(self) -> str:
        return f"""listener {self.port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
log_dest stderr
log_type error
"""

    def command(self, config: Path) -> list[str]:
        return ["mosquitto", "-c", str(config)]


RELAYS: tuple[type[Peer], ...] = (MqttMeshproxy, HAProxy)
FANNING: tuple[type[Peer], ...] = (MqttMeshproxy, FanInMeshproxy, HAProxy)
CROWDED: tuple[type[Peer], ...] = (MqttMeshproxy, CrowdedHAProxy)
