"""The same proxies as HTTP/1.1 gateways, each with one plain route to one upstream, and the origin behind them.

All of them keep connections to the upstream alive and write no access log.  Two of nginx's habits are turned off, since
none of the others has them and they would be measured as disk writes: bodies spooled to files, both ways.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from benchmarks import process
from benchmarks.peers import Envoy, HAProxy, Meshproxy, Nginx, Peer

GREETING = "hello, world"
BODIES = {"1m": 1 << 20, "1g": 1 << 30}


BREAKER = {"max_requests": 1024, "max_pending": 1024, "error_ratio": 0.5, "slow": "5s", "slow_ratio": 0.5}
POLICY: dict[str, object] = {
    "split": [{"cluster": "up", "weight": 90}, {"cluster": "next", "weight": 10}],
    "retry": {"on": ["connect", "5xx"], "attempts": 3, "per_try_timeout": "5s"},
    "filters": [{"rate_limit": {"requests": 10_000_000}}],
}


class HttpMeshproxy(Meshproxy):
    def relay(self) -> dict[str, object]:
        return {
            "listeners": [
                {
                    "name": "in",
                    "listen": f"127.0.0.1:{self.port}",
                    "protocol": "http",
                    "routes": "web",
                    **self.listener(),
                }
            ],
            "routes": {"web": [self.rule()]},
            "clusters": {"up": {"endpoints": [f"127.0.0.1:{self.upstream}"], **self.cluster()}},
        }

    def listener(self) -> dict[str, object]:
        """What else the listener says."""
        return {}

    def rule(self) -> dict[str, object]:
        return {"cluster": "up"}

    def cluster(self) -> dict[str, object]:
        """What else the cluster says."""
        return {}


class PolicyMeshproxy(HttpMeshproxy):
    """With what a sidecar of a mesh usually has: a split, retries, a limit, and breakers."""

    def relay(self) -> dict[str, object]:
        document = super().relay()
        cluster = {"endpoints": [f"127.0.0.1:{self.upstream}"], **self.cluster()}
        document["clusters"] = {"up": cluster, "next": cluster}
        return document

    def rule(self) -> dict[str, object]:
        return POLICY

    def cluster(self) -> dict[str, object]:
        return {"breaker": BREAKER}


class PlainMeshproxy(HttpMeshproxy):
    """The same without policy, to compare with."""

    name = "meshproxy-plain"


class NginxHttp(Nginx):
    """What every nginx that speaks HTTP has in common."""

    @classmethod
    def missing(cls) -> str | None:
        """The stream module is not asked for."""
        return super(Nginx, cls).missing()

    def furnish(self, directory: Path) -> None:
        """As root, its worker is somebody else, who must come in."""
        directory.chmod(0o755)
        super().furnish(directory)

    def config(self) -> str:
        scratch = "".join(f"{kind}_temp_path {kind};\n" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
        return f"""daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
access_log off;
client_body_temp_path client;
{scratch}sendfile on;
tcp_nopush on;
keepalive_requests 1000000000;
client_max_body_size 0;
default_type text/html;
{self.http()}
}}
"""

    def http(self) -> str:
        raise NotImplementedError


class HttpNginx(NginxHttp):
    buffers = ""

    def http(self) -> str:
        return f"""upstream up {{
    server 127.0.0.1:{self.upstream};
    keepalive 128;
    keepalive_requests 1000000000;
}}
server {{
    listen 127.0.0.1:{self.port} backlog=4096{self.listen()};
    location / {{
        {self.location()}
    }}
}}"""

    def location(self) -> str:
        """Where it leads, and how."""
        return f"""proxy_pass http://up;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_request_buffering off;
        proxy_max_temp_file_size 0;
        {self.buffers}"""

    def listen(self) -> str:
        """The rest of the directive, and others after it."""
        return ""


class HttpNginxLarge(HttpNginx):
    """With the buffers that make its bulk cheap, for bodies: the budgets hold against the default."""

    name = "nginx-256k"
    buffers = "proxy_buffer_size 256k; proxy_buffers 4 256k; client_body_buffer_size 256k;"


class HttpHAProxy(HAProxy):
    def config(self) -> str:
        return f"""global
    nbthread 1
    maxconn 4096
defaults
    mode http
    http-reuse always
    option splice-request
    option splice-response
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend in
    bind 127.0.0.1:{self.port} backlog 4096 {self.bind()}
    {self.rule()}
backend up
    server upstream 127.0.0.1:{self.upstream} {self.server()}
"""

    def bind(self) -> str:
        """The rest of the line."""
        return ""

    def server(self) -> str:
        """The rest of that line."""
        return ""

    def rule(self) -> str:
        return "default_backend up"


class HttpEnvoy(Envoy):
    def filter(self) -> dict[str, object]:
        router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
        route = {"match": {"prefix": "/"}, **self.action()}
        return {
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
                "HttpConnectionManager",
                "stat_prefix": "in",
                # for ab, which speaks nothing later, and waits a second for a server that waits a second for it
                "http_protocol_options": {"accept_http_10": True},
                "delayed_close_timeout": "0s",
                "route_config": {"virtual_hosts": [{"name": "web", "domains": ["*"], "routes": [route]}]},
                "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
            },
        }

    def action(self) -> dict[str, object]:
        return {"route": {"cluster": "upstream", "timeout": "0s"}}


GATEWAYS: tuple[type[Peer], ...] = (HttpMeshproxy, HttpNginx, HttpHAProxy, HttpEnvoy)
GUARDED: tuple[type[Peer], ...] = (PolicyMeshproxy, PlainMeshproxy, HttpEnvoy)
CARRIERS: tuple[type[Peer], ...] = (HttpMeshproxy, HttpNginx, HttpNginxLarge, HttpHAProxy, HttpEnvoy)


class Origin(NginxHttp):
    """The far end of all gateways.

        /        a greeting of 12 bytes, under the head that nginx writes by itself
        /api/    the same under a head of 9 fields that is a different one in each response
        /1m /1g  files of that size, all holes, sent by sendfile
        /sink    takes a body, whole, and then answers

    A bare `return` would answer before the body has come, so the sink keeps it and asks itself for the answer.
    """

    answer: ClassVar[str] = f'default_type text/plain; return 200 "{GREETING}";'

    def __init__(self, core: int, host: str = "127.0.0.1") -> None:
        super().__init__(process.free_port(), core)
        self.host = host

    def furnish(self, directory: Path) -> None:
        super().furnish(directory)
        for name, size in BODIES.items():
            (directory / name).touch()
            os.truncate(directory / name, size)

    def http(self) -> str:
        return f"""server {{
    listen {self.host}:{self.port} backlog=4096;
    root .;
    location = / {{ {self.answer} }}
    location /api/ {{
        add_header X-Request-Id $request_id;
        add_header X-Served-At $msec;
        add_header X-Served-Here $connection_requests;
        add_header ETag '"$request_id"';
        {self.answer}
    }}
    location = /1m {{ }}
    location = /1g {{ }}
    location = /sink {{
        client_body_buffer_size 2m;
        proxy_pass http://127.0.0.1:{self.port}/;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
    }}
}}"""
