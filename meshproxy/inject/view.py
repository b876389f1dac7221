"""What is looked at of a pod before it gets a proxy.  The rest of it is passed over, and stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from meshproxy.dialects.smi.kinds import FreeText, ResourceName, TargetPort
from meshproxy.dialects.smi.kubernetes import ContainerPort, Labels, Object
from meshproxy.schema.kinds import LARGEST_INTEGER, Bool, Port, Scalar, refuse, same, whole
from meshproxy.schema.shapes import Key


def _read_text(value: object) -> str:
    if not isinstance(value, str):
        raise refuse("a string", value)
    return value


AnyText = Annotated[str, Scalar("string", _read_text, same, {"type": "string"})]
Number = Annotated[int, whole(0, LARGEST_INTEGER)]


# Probes -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Header(Object):
    name: FreeText
    value: FreeText = ""


@dataclass(frozen=True, slots=True)
class HttpGet(Object):
    port: TargetPort
    path: FreeText = "/"
    host: FreeText = ""
    scheme: FreeText = "HTTP"
    headers: Annotated[tuple[Header, ...], Key("httpHeaders")] = ()


@dataclass(frozen=True, slots=True)
class TcpSocket(Object):
    port: TargetPort
    host: FreeText = ""


@dataclass(frozen=True, slots=True)
class Grpc(Object):
    port: Port
    service: FreeText = ""


@dataclass(frozen=True, slots=True)
class Asked(Object):
    """Who is asked, and for what: of a probe, or of a hook."""

    http: Annotated[HttpGet | None, Key("httpGet")] = None
    tcp: Annotated[TcpSocket | None, Key("tcpSocket")] = None
    grpc: Annotated[Grpc | None, Key("grpc")] = None
    timeout: Annotated[Number, Key("timeoutSeconds")] = 1


@dataclass(frozen=True, slots=True)
class Lifecycle(Object):
    post_start: Annotated[Asked, Key("postStart")] = Asked()
    pre_stop: Annotated[Asked, Key("preStop")] = Asked()


# Pods ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capabilities(Object):
    add: tuple[FreeText, ...] = ()


@dataclass(frozen=True, slots=True)
class Security(Object):
    user: Annotated[Number | None, Key("runAsUser")] = None
    group: Annotated[Number | None, Key("runAsGroup")] = None
    privileged: Bool = False
    capabilities: Capabilities = Capabilities()


@dataclass(frozen=True, slots=True)
class Container(Object):
    name: ResourceName
    ports: tuple[ContainerPort, ...] = ()
    liveness: Annotated[Asked | None, Key("livenessProbe")] = None
    readiness: Annotated[Asked | None, Key("readinessProbe")] = None
    startup: Annotated[Asked | None, Key("startupProbe")] = None
    lifecycle: Lifecycle = Lifecycle()
    restart: Annotated[FreeText, Key("restartPolicy")] = ""
    security: Annotated[Security, Key("securityContext")] = Security()

    @property
    def probes(self) -> Iterator[tuple[str, Asked]]:
        named = {"livenessProbe": self.liveness, "readinessProbe": self.readiness, "startupProbe": self.startup}
        return ((key, probe) for key, probe in named.items() if probe is not None)


@dataclass(frozen=True, slots=True)
class Volume(Object):
    name: ResourceName


@dataclass(frozen=True, slots=True)
class System(Object):
    name: FreeText = "linux"


@dataclass(frozen=True, slots=True)
class PodSpec(Object):
    containers: tuple[Container, ...]
    init_containers: Annotated[tuple[Container, ...], Key("initContainers")] = ()
    volumes: tuple[Volume, ...] = ()
    host_network: Annotated[Bool, Key("hostNetwork")] = False
    restart: Annotated[FreeText, Key("restartPolicy")] = "Always"
    grace: Annotated[Number, Key("terminationGracePeriodSeconds")] = 30
    security: Annotated[Security, Key("securityContext")] = Security()
    system: Annotated[System, Key("os")] = System()


@dataclass(frozen=True, slots=True)
class Metadata(Object):
    labels: Labels = ()
    annotations: tuple[tuple[str, AnyText], ...] = ()


@dataclass(frozen=True, slots=True)
class Head(Object):
    """What is asked first: somebody may not want to be looked at."""

    metadata: Metadata = Metadata()


@dataclass(frozen=True, slots=True)
class Pod(Object):
    spec: PodSpec
    metadata: Metadata = Metadata()
