"""Workloads with sidecars on one machine: each "pod" has addresses of the loopback network, as it would have its own.

    town = Town(tmp_path, loop)                 # a CA, free ports for the well-known ones, and no pods yet
    town.fit({"10.244.1.5:80": ...})            # the same document with addresses and ports that are to be had here
    store = town.pod("bookstore", document, inbound=[...], outbound=[...])

Nothing is redirected here.  A sidecar listens on the very addresses for which connections are meant, and so sees the
same destinations as it would behind iptables.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET, AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY
from typing import Any

from benchmarks import process
from benchmarks.gateways import NginxHttp
from tests.e2e.conftest import Running, Start

ROOT = Path(__file__).parent.parent.parent
CORES = process.Cores.of_this_machine()
NETWORKS = {"10.244.": "127.244.", "10.96.": "127.96.", "198.51.100.": "127.198.100.", "192.0.2.": "127.192.2."}
PORT_KEYS = frozenset(("Port", "port"))


def kept_port() -> socket.socket:
    """One that is free at all addresses, and is given to nobody who asks for any: a listener that names it has it, as
    both say SO_REUSEADDR and this one does not listen."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", 0))
    return sock


def certified(directory: Path, documents: Mapping[str, dict[str, Any]]) -> dict[str, Path]:
    """Files with the documents, and in them certificates of one CA, which is in `ca`."""
    paths = {name: directory / f"{name}.json" for name in documents}
    for name, document in documents.items():
        paths[name].write_text(json.dumps(document))
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "fsm-certificates.py", "--ca", directory / "ca", *paths.values()],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return paths


class Town:
    def __init__(self, directory: Path, loop: str, known: Collection[int], networks: Mapping[str, str]) -> None:
        self._directory = directory
        self._loop = loop
        self._started: list[Start] = []
        self._kept = [kept_port() for _ in known]
        self.ports = {str(port): str(sock.getsockname()[1]) for port, sock in zip(known, self._kept, strict=True)}
        self._networks = {**networks, **NETWORKS}
        self._port = re.compile(rf"(?<![\d.])(?:{'|'.join(self.ports)})(?![\d.])")

    def port(self, known: int) -> int:
        return int(self.ports[str(known)])

    def fit(self, value: Any, key: str = "") -> Any:
        """A document in which well-known addresses and ports are such as can be had here."""
        if isinstance(value, dict):
            return {self._text(name): self.fit(below, name) for name, below in value.items()}
        if isinstance(value, list):
            return [self.fit(below) for below in value]
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int) and key in PORT_KEYS:
            return int(self.ports.get(str(value), value))
        return value

    def _text(self, text: str) -> str:
        if text.startswith("-----BEGIN"):
            return text
        for known, ours in self._networks.items():
            text = text.replace(known, ours)
        return self._port.sub(lambda found: self.ports[found[0]], text)

    def certify(self, documents: dict[str, dict[str, Any]]) -> dict[str, Path]:
        return certified(self._directory, documents)

    @property
    def ca(self) -> Path:
        return self._directory / "ca"

    def pod(self, name: str, native: dict[str, Any], *policy: Path) -> Running:
        """A proxy of which `native` says where it stands."""
        place = self._directory / f"pod-{name}"
        place.mkdir()
        start = Start(place, self._loop)
        self._started.append(start)
        return start(native, *(option for path in policy for option in ("-c", str(path))))

    def end(self) -> None:
        for sock in self._kept:
            sock.close()
        for start in self._started:
            start.end()
            start.assert_no_traceback()


class App:
    """An application: it says what it is and what it was asked, and fails where the path says so, always or `once`."""

    def __init__(self, name: str, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        said = name
        failed: set[str] = set()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                told = {
                    "app": said,
                    "method": self.command,
                    "path": self.path,
                    "peer": self.client_address[0],
                    "headers": {name.lower(): value for name, value in self.headers.items()},
                    "body": body.decode(),
                }
                data = json.dumps(told).encode()
                fails = self.path.endswith("/fail") or (self.path.endswith("/once") and self.path not in failed)
                failed.add(self.path)
                self.send_response(503 if fails else 200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_PUT = do_DELETE = do_GET

            def log_message(self, *_: Any) -> None:
                """It has nothing to say of its own."""

        class Server(ThreadingHTTPServer):
            address_family = AF_INET6 if ":" in address[0] else AF_INET
            daemon_threads = True

            def server_bind(self) -> None:
                if self.address_family == AF_INET6:
                    self.socket.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
                super().server_bind()

        self._server = Server(address, Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class LogServer:
    """Takes what is posted to it as arrays in JSON."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.asked: set[tuple[str | None, ...]] = set()
        """Path, type and key of each post."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.asked.add((self.path, self.headers["Content-Type"], self.headers["Authorization"]))
                server.rows += json.loads(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """It has nothing to say of its own."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class NginxPods(NginxHttp):
    """Workloads of a mesh, each of which asks for a certificate of the CA and says who it is."""

    def __init__(self, addresses: Mapping[str, str], certificate: str, key: str, ca: str) -> None:
        """`addresses` are names by address and port."""
        super().__init__(0, CORES.load)
        self._addresses = addresses
        self._files = {"pod.crt": certificate, "pod.key": key, "ca.crt": ca}

    def furnish(self, directory: Path) -> None:
        super().furnish(directory)
        for name, text in self._files.items():
            (directory / name).write_text(text)

    def ready(self) -> bool:
        """Who has a worker listens, and nowhere else than its pods do."""
        return len(self.pids) > 1

    def http(self) -> str:
        return "".join(
            f"""server {{
    listen {address} ssl;
    ssl_certificate pod.crt;
    ssl_certificate_key pod.key;
    ssl_client_certificate ca.crt;
    ssl_verify_client on;
    location / {{
        default_type text/plain;
        return 200 "{name} $http_serviceidentity $ssl_client_s_dn\\n";
    }}
    location /api/fail {{ return 503; }}
}}
"""
            for address, name in self._addresses.items()
        )
