"""What an operator can say of the probes of the application, which kubelet asks the proxy for.

    probes = decode(Probes, {"listen": "0.0.0.0:15021", "checks": [{"path": "/app/livez", "tcp": {"port": 5432}}]})
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, ClassVar, Literal

from meshproxy.model.address import Address, HostAddress, ListenAddress
from meshproxy.model.matching import Authority, Value
from meshproxy.model.routes import Location, field_problems
from meshproxy.schema.kinds import Port, PositiveDuration, Text, choice, string
from meshproxy.schema.shapes import AT_LEAST_ONE, Path

MOST_CHECKS = 256
WAYS = ("http", "tcp", "grpc")

ProbePath = Annotated[str, string("path", "a path such as /app-health/web/livez", r"/[A-Za-z0-9._~/-]*", 512)]


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """A GET, which has to be answered with 200 to 399."""

    port: Annotated[Port, "of the application"]
    path: Annotated[Location, "what is asked for"] = "/"
    scheme: Annotated[
        Literal["http", "https"], choice("http", "https"), "with https, nobody looks at the certificate"
    ] = "http"
    host: Annotated[Authority | None, "of which host; absent: the address and port that are asked"] = None
    headers: Annotated[tuple[tuple[str, Value], ...], "more fields of the request"] = ()


@dataclass(frozen=True, slots=True)
class TcpProbe:
    """It is enough to be connected."""

    SHORTHAND: ClassVar[str] = "port"

    port: Annotated[Port, "of the application"]


@dataclass(frozen=True, slots=True)
class GrpcProbe:
    """A call of `grpc.health.v1.Health/Check`, without TLS, which has to find that it serves."""

    port: Annotated[Port, "of the application"]
    service: Annotated[Text, "of which service; empty: of the server as a whole"] = ""


@dataclass(frozen=True, slots=True)
class AppCheck:
    """One way to ask the application how it is: by `http`, `tcp` or `grpc`."""

    path: Annotated[ProbePath, "what is asked of the proxy"]
    http: Annotated[HttpProbe | None, "by a request"] = None
    tcp: Annotated[TcpProbe | None, "by a connection"] = None
    grpc: Annotated[GrpcProbe | None, "by gRPC's protocol for checks"] = None
    timeout: Annotated[PositiveDuration, "how long it may take, from connecting to the end of the answer"] = 1.0
    address: Annotated[HostAddress, "where the application listens"] = "127.0.0.1"
    source: Annotated[
        HostAddress | None, "the local address from which it is asked, such as 127.0.0.6; absent: the system chooses"
    ] = None

    @property
    def port(self) -> int:
        said = self.http or self.tcp or self.grpc
        assert said is not None, "one of them is said"
        return said.port

    @property
    def target(self) -> Address:
        return Address("ipv6" if ":" in self.address else "ipv4", self.address, self.port)


@dataclass(frozen=True, slots=True)
class Probes:
    """A listener for kubelet: whoever asks for one of these paths is told how the application is. It is open to
    everybody who reaches it, and reaches nothing but what is said here."""

    listen: Annotated[ListenAddress, "where it answers"]
    checks: Annotated[tuple[AppCheck, ...], AT_LEAST_ONE, "what can be asked for; each path once"]


def probes_problems(said: Probes) -> Iterator[tuple[Path, str]]:
    if len(said.checks) > MOST_CHECKS:
        yield ("checks",), f"`checks` has {len(said.checks)} entries, more than {MOST_CHECKS}"
    first: dict[str, int] = {}
    for index, check in enumerate(said.checks):
        before = first.setdefault(check.path, index)
        if before != index:
            message = f"`path` {check.path} is said twice: first in `checks[{before}]`"
            yield ("checks", index, "path"), message
        for path, message in _check_problems(check, said.listen):
            yield ("checks", index, *path), message


def _check_problems(check: AppCheck, listen: Address) -> Iterator[tuple[Path, str]]:
    ways = [way for way in WAYS if getattr(check, way) is not None]
    if len(ways) != 1:
        found = " and ".join(f"`{way}`" for way in ways) or "nothing"
        yield (), f"say one of `http`, `tcp` and `grpc`, not {found}"
        return
    if check.port == listen.port and (listen.is_wildcard or listen.host == check.address):
        yield (ways[0], "port"), f"`port` {check.port} is that of `probes.listen`: it would ask itself"
    if check.source is not None and ip_address(check.source).version != ip_address(check.address).version:
        yield ("source",), f"`source` {check.source} is of another family than `address` {check.address}"
    if check.http is not None:
        for path, message in field_problems("headers", check.http.headers):
            yield ("http", *path), message
