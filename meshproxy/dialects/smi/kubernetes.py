"""Objects of Kubernetes, as far as they say who a workload is and where it is found. The rest of them is passed over.

    pod = decode(Pod, {"metadata": {"name": "books-0", "labels": {"app": "books"}}, "spec": {...}, "status": {...}})
    pod.account             # "books"
    pod.ips                 # ("10.1.0.7",)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from meshproxy.dialects.smi.kinds import ClusterIp, FreeText, Ip, LabelKey, ResourceName, TargetPort
from meshproxy.schema.kinds import Bool, Port
from meshproxy.schema.shapes import Key

Labels = tuple[tuple[LabelKey, FreeText], ...]
ZONE = "topology.kubernetes.io/zone"
OF_SERVICE = "kubernetes.io/service-name"


class Object:
    """Part of an object of Kubernetes: null is absent, and what is not known is passed over."""

    __slots__ = ()
    FOREIGN: ClassVar[bool] = True
    OPEN: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Metadata(Object):
    name: ResourceName
    namespace: ResourceName = "default"
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class ServiceAccount(Object):
    metadata: Metadata


# Pods ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContainerPort(Object):
    number: Annotated[Port, Key("containerPort")]
    name: FreeText = ""


@dataclass(frozen=True, slots=True)
class Container(Object):
    ports: tuple[ContainerPort, ...] = ()


@dataclass(frozen=True, slots=True)
class PodSpec(Object):
    account: Annotated[ResourceName, Key("serviceAccountName")] = "default"
    containers: tuple[Container, ...] = ()

    def ports_named(self, name: str) -> Iterator[int]:
        for container in self.containers:
            for port in container.ports:
                if port.name == name:
                    yield port.number


@dataclass(frozen=True, slots=True)
class Condition(Object):
    type: FreeText = ""
    status: FreeText = ""


@dataclass(frozen=True, slots=True)
class PodIp(Object):
    ip: Ip


@dataclass(frozen=True, slots=True)
class PodStatus(Object):
    phase: FreeText = ""
    conditions: tuple[Condition, ...] = ()
    ip: Annotated[Ip | None, Key("podIP")] = None
    more_ips: Annotated[tuple[PodIp, ...], Key("podIPs")] = ()


@dataclass(frozen=True, slots=True)
class Pod(Object):
    metadata: Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ips(self) -> tuple[str, ...]:
        found = (self.status.ip, *(more.ip for more in self.status.more_ips))
        return tuple(dict.fromkeys(ip for ip in found if ip is not None))

    @property
    def ready(self) -> bool:
        """A pod that was written by hand has no conditions, and is meant to be there."""
        over = self.status.phase in ("Succeeded", "Failed")
        return not over and all(each.status == "True" for each in self.status.conditions if each.type == "Ready")


@dataclass(frozen=True, slots=True)
class TemplateMetadata(Object):
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Template(Object):
    metadata: TemplateMetadata = TemplateMetadata()
    spec: PodSpec = PodSpec()


@dataclass(frozen=True, slots=True)
class WorkloadSpec(Object):
    template: Template = Template()


@dataclass(frozen=True, slots=True)
class Workload(Object):
    """A Deployment, StatefulSet or DaemonSet: pods that are not yet there, or not told of."""

    metadata: Metadata
    spec: WorkloadSpec = WorkloadSpec()


# Services -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServicePort(Object):
    port: Port
    name: FreeText = ""
    protocol: FreeText = "TCP"
    app_protocol: Annotated[FreeText, Key("appProtocol")] = ""
    said_target: Annotated[TargetPort | None, Key("targetPort")] = None

    @property
    def target(self) -> int | str:
        return self.port if self.said_target is None else self.said_target


@dataclass(frozen=True, slots=True)
class ServiceSpec(Object):
    type: FreeText = "ClusterIP"
    selector: Labels = ()
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: Annotated[ClusterIp, Key("clusterIP")] = ""
    cluster_ips: Annotated[tuple[ClusterIp, ...], Key("clusterIPs")] = ()


@dataclass(frozen=True, slots=True)
class Service(Object):
    metadata: Metadata
    spec: ServiceSpec = ServiceSpec()

    @property
    def ips(self) -> tuple[str, ...]:
        found = (self.spec.cluster_ip, *self.spec.cluster_ips)
        return tuple(dict.fromkeys(ip for ip in found if ip not in ("", "None")))

    @property
    def headless(self) -> bool:
        return self.spec.cluster_ip == "None"


# Endpoints ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reference(Object):
    kind: FreeText = ""
    name: FreeText = ""


@dataclass(frozen=True, slots=True)
class EndpointPort(Object):
    port: Port | None = None
    name: FreeText = ""


@dataclass(frozen=True, slots=True)
class EndpointAddress(Object):
    ip: Ip
    target: Annotated[Reference, Key("targetRef")] = Reference()


@dataclass(frozen=True, slots=True)
class Subset(Object):
    addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoints(Object):
    metadata: Metadata
    subsets: tuple[Subset, ...] = ()


@dataclass(frozen=True, slots=True)
class SliceConditions(Object):
    ready: Bool = True


@dataclass(frozen=True, slots=True)
class SliceEndpoint(Object):
    addresses: tuple[FreeText, ...]
    conditions: SliceConditions = SliceConditions()
    target: Annotated[Reference, Key("targetRef")] = Reference()
    said_zone: Annotated[FreeText, Key("zone")] = ""
    topology: Labels = ()

    @property
    def zone(self) -> str:
        return self.said_zone or dict(self.topology).get(ZONE, "")


@dataclass(frozen=True, slots=True)
class EndpointSlice(Object):
    metadata: Metadata
    address_type: Annotated[FreeText, Key("addressType")] = "IPv4"
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    @property
    def service(self) -> str | None:
        return dict(self.metadata.labels).get(OF_SERVICE)
