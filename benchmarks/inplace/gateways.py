"""Two sidecars of a kind, to which everything is redirected: one beside the client, one beside the application.

Each listens at its port of the usual two, asks the kernel where a connection was made to, and runs as the user whose
traffic is left alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.gateways import HttpEnvoy, HttpMeshproxy
from benchmarks.hosts import somebody
from benchmarks.peers import Peer
from benchmarks.pki import CLIENT, SERVER, Credential
from benchmarks.tls.gateways import envoy_tls, shown

UID = 1500
OUTBOUND, INBOUND = 15001, 15003


class InPlace(Peer):
    """Redirected to, at `port`; all of it goes on to one place."""

    def __init__(self, port: int, to: str, core: int, credential: Credential) -> None:
        super().__init__(0, core)
        self.port = port
        self.to = to
        self.credential = credential

    @property
    def calls(self) -> bool:
        """Whether it is the one beside the client."""
        return self.port == OUTBOUND

    def command(self, config: Path) -> list[str]:
        return somebody(UID, super().command(config))


class InPlaceMeshproxy(InPlace, HttpMeshproxy):
    def __init__(self, port: int, to: str, core: int, credential: Credential) -> None:
        super().__init__(port, to, core, credential)
        self.workers, self.admin, self.given = 1, 15000, None

    def relay(self) -> dict[str, object]:
        return {
            "listeners": [
                {
                    "name": "in",
                    "listen": f"0.0.0.0:{self.port}",
                    "transparent": True,
                    "protocol": "http",
                    "routes": "web",
                    **self.listener(),
                }
            ],
            "routes": {"web": [self.rule()]},
            "clusters": {"up": {"endpoints": [self.to], **self.cluster()}},
        }

    def listener(self) -> dict[str, object]:
        return {} if self.calls else {"tls": {**shown(self.credential), "client_ca": str(self.credential.ca)}}

    def rule(self) -> dict[str, object]:
        guarded = {"authorize": [{"identities": [CLIENT], "methods": ["GET"]}]}
        return {**super().rule(), **({} if self.calls else guarded)}

    def cluster(self) -> dict[str, object]:
        tls = {**shown(self.credential), "ca": str(self.credential.ca), "names": [SERVER]}
        return {"tls": tls} if self.calls else {}


class InPlaceEnvoy(InPlace, HttpEnvoy):
    def config(self) -> str:
        said: dict[str, Any] = json.loads(super().config())
        (listener,) = said["static_resources"]["listeners"]
        (cluster,) = said["static_resources"]["clusters"]
        host, _, port = self.to.rpartition(":")
        listener["address"]["socket_address"]["address"] = "0.0.0.0"
        kind = "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst"
        listener["listener_filters"] = [
            {"name": "envoy.filters.listener.original_dst", "typed_config": {"@type": kind}}
        ]
        (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
        endpoint["endpoint"]["address"]["socket_address"] = {"address": host, "port_value": int(port)}
        return json.dumps(said)

    def chain(self) -> dict[str, object]:
        return {} if self.calls else {"transport_socket": envoy_tls("Downstream", self.credential, CLIENT)}

    def cluster(self) -> dict[str, object]:
        return {"transport_socket": envoy_tls("Upstream", self.credential, SERVER)} if self.calls else {}


IN_PLACE: tuple[type[InPlace], ...] = (InPlaceMeshproxy, InPlaceEnvoy)
