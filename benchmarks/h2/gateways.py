"""The gateways spoken to by HTTP/2: in cleartext, over TLS, and with HTTP/2 towards the upstream too.

Ours, HAProxy and Envoy tell the versions apart by themselves in cleartext; to nginx it must be said.  nghttpx, made for
HTTP/2, joins them.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.gateways import HttpEnvoy, HttpHAProxy, HttpMeshproxy, HttpNginx, HttpNginxLarge
from benchmarks.peers import Peer, said
from benchmarks.tls.gateways import Terminating, TlsEnvoy, TlsHAProxy, TlsMeshproxy, TlsNginx, Trusted, envoy_tls

# In cleartext --------------------------------------------------------------------------------------


class H2Nginx(HttpNginx):
    @classmethod
    def missing(cls) -> str | None:
        if reason := super().missing():
            return reason
        return None if "--with-http_v2_module" in said("nginx", "-V") else "this nginx has no HTTP/2"

    def listen(self) -> str:
        return " http2"


class H2NginxLarge(H2Nginx):
    name = HttpNginxLarge.name
    buffers = HttpNginxLarge.buffers


class Nghttpx(Peer):
    name = program = "nghttpx"
    file = "nghttpx.conf"

    @classmethod
    def version(cls) -> str:
        return said("nghttpx", "--version").rpartition("/")[2]

    def config(self) -> str:
        return f"""workers=1
frontend=127.0.0.1,{self.port};{self.frontend()}
backend=127.0.0.1,{self.upstream};;{self.backend()}
{self.more()}
"""

    def frontend(self) -> str:
        """What else it says of its clients."""
        return "no-tls"

    def backend(self) -> str:
        """What else it says of its upstream."""
        return "proto=http/1.1"

    def more(self) -> str:
        """Other lines."""
        return ""

    def command(self, config: Path) -> list[str]:
        return ["nghttpx", f"--conf={config}"]

    def ready(self) -> bool:
        """As nginx, it listens before it has a worker."""
        return len(self.pids) > 1 and super().ready()


# Over TLS ------------------------------------------------------------------------------------------


class TlsH2Nginx(TlsNginx, H2Nginx):
    def listen(self) -> str:
        # `ssl;` and others come behind it
        return f" http2{super().listen()}"


class TlsNghttpx(Terminating, Nghttpx):
    def frontend(self) -> str:
        return ""

    def more(self) -> str:
        own = self.credential
        return f"private-key-file={own.key}\ncertificate-file={own.certificate}\ntls-min-proto-version=TLSv1.3"


class TlsH2HAProxy(TlsHAProxy):
    alpn = "h2"


class TlsH2Envoy(TlsEnvoy):
    def chain(self) -> dict[str, object]:
        return {"transport_socket": envoy_tls("Downstream", self.credential, alpn="h2")}


# On both sides -------------------------------------------------------------------------------------


class GrpcMeshproxy(HttpMeshproxy):
    def cluster(self) -> dict[str, object]:
        return {"http": {"version": "h2"}}


class GrpcNginx(H2Nginx):
    def location(self) -> str:
        return "grpc_pass grpc://up;"


class GrpcNghttpx(Nghttpx):
    def backend(self) -> str:
        return "proto=h2"


class GrpcHAProxy(HttpHAProxy):
    def server(self) -> str:
        return "proto h2"


class GrpcEnvoy(HttpEnvoy):
    def cluster(self) -> dict[str, object]:
        kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        options = {
            "@type": f"type.googleapis.com/{kind}",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
        return {"typed_extension_protocol_options": {kind: options}}


GATEWAYS: tuple[type[Peer], ...] = (HttpMeshproxy, H2Nginx, Nghttpx, HttpHAProxy, HttpEnvoy)
CARRIERS: tuple[type[Peer], ...] = (HttpMeshproxy, H2Nginx, H2NginxLarge, Nghttpx, HttpHAProxy, HttpEnvoy)
TERMINATING: tuple[type[Trusted], ...] = (TlsMeshproxy, TlsH2Nginx, TlsNghttpx, TlsH2HAProxy, TlsH2Envoy)
GRPC: tuple[type[Peer], ...] = (GrpcMeshproxy, GrpcNginx, GrpcNghttpx, GrpcHAProxy, GrpcEnvoy)
