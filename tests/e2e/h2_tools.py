"""HTTP/2 as everybody has it: curl, nghttp and h2load before the proxy, nginx and nghttpd behind it.

    way = Way(("127.0.0.1", 8080))              # where a client goes, in cleartext or by TLS
    got(way, "/large")                          # by curl: status, version, fields and body
    nghttp(way, "/", "--continuation")          # by nghttp: all that it says
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest

from benchmarks import process, tools
from benchmarks.gateways import NginxHttp
from benchmarks.peers import Peer
from tests.e2e.conftest import LONGEST
from tests.e2e.tls_tools import CORES, curl
from tests.pki import Pair


@dataclass(frozen=True, slots=True)
class Way:
    address: tuple[str, int]
    ca: Path | None = None
    """Whom a client believes; without one it speaks HTTP/2 in cleartext, and knows beforehand that it may."""

    def url(self, path: str) -> str:
        host, port = self.address
        return f"{'https' if self.ca else 'http'}://{host}:{port}{path}"

    @property
    def options(self) -> list[str]:
        """Of curl."""
        return ["--http2", "--cacert", str(self.ca)] if self.ca else ["--http2-prior-knowledge"]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    version: str
    fields: dict[str, str]
    """Those of the head, and the trailers."""
    body: bytes


def got(way: Way, path: str, *options: str) -> Answer:
    """By curl; later options win over those of the way."""
    with TemporaryDirectory() as name:
        head, body = Path(name, "head"), Path(name, "body")
        files = ("-D", str(head), "-o", str(body), "-w", "%{http_code} %{http_version}")
        status, version = curl(*way.options, *files, *options, way.url(path)).stdout.split()
        fields = (line.partition(":") for line in head.read_text().splitlines() if ":" in line)
        content = body.read_bytes() if body.exists() else b""
        return Answer(int(status), version, {key.lower(): value.strip() for key, _, value in fields}, content)


def nghttp(way: Way, path: str, *options: str) -> bytes:
    """The body that came or, with `-v`, all frames of the conversation."""
    return ran("nghttp", "--no-verify-peer", f"--timeout={LONGEST:g}s", *options, way.url(path))


def h2load(way: Way, path: str, *options: str) -> int:
    """The requests that succeeded; with one that did not, it is an error."""
    return tools.read_h2load(ran("h2load", *options, way.url(path)).decode()).requests


def ran(tool: str, *options: str) -> bytes:
    if reason := tools.missing(tool):
        pytest.skip(reason)
    said = subprocess.run([tool, *options], stdin=subprocess.DEVNULL, capture_output=True, timeout=3 * LONGEST)
    assert said.returncode == 0, (said.stdout[-2000:] + said.stderr).decode(errors="replace")
    return said.stdout


# Upstreams ----------------------------------------------------------------------------------------


class NginxBoth(NginxHttp):
    """The same three times: by HTTP/1.1 (`one`), by HTTP/2 in cleartext (`two`) and by TLS (`secret`).

        /         how it was asked
        /large    a file
        /store/   what was put there before
        /tail     a body and a trailer behind it
    """

    def __init__(self, pair: Pair, large: bytes) -> None:
        super().__init__(process.free_port(), CORES.load)
        self._pair, self._large = pair, large
        self.ports = {"one": self.port, "two": process.free_port(), "secret": process.free_port()}

    def furnish(self, directory: Path) -> None:
        super().furnish(directory)
        (directory / "secret.crt").write_bytes(self._pair.certificate.read_bytes())
        (directory / "secret.key").write_bytes(self._pair.key.read_bytes())
        (directory / "large").write_bytes(self._large)
        (directory / "tail").write_text("body")
        (directory / "store").mkdir()
        # as root, its worker is somebody else
        (directory / "store").chmod(0o777)

    def http(self) -> str:
        kinds = {"one": "", "two": " http2", "secret": " ssl http2"}
        return "".join(self._server(self.ports[name], kind) for name, kind in kinds.items())

    def _server(self, port: int, kind: str) -> str:
        return f"""server {{
    listen 127.0.0.1:{port}{kind} backlog=4096;
    ssl_certificate secret.crt;
    ssl_certificate_key secret.key;
    http2_max_concurrent_streams 32;
    large_client_header_buffers 8 16k;
    root .;
    default_type text/plain;
    location = / {{ return 200 $server_protocol; }}
    location = /large {{ }}
    location /store/ {{ dav_methods PUT; }}
    location = /tail {{ add_trailer X-Sum 42; }}
}}
"""


class Nghttpd(Peer):
    """Sends back what was posted to it, with a trailer; its log has every field that it was sent."""

    name: ClassVar[str] = "nghttpd"
    program: ClassVar[str] = "nghttpd"
    file: ClassVar[str] = "index.html"

    def __init__(self) -> None:
        super().__init__(0, CORES.load)

    def config(self) -> str:
        return "HTTP/2.0"

    def command(self, config: Path) -> list[str]:
        echo = ("--echo-upload", "--trailer=x-sum: 42")
        return ["nghttpd", "-v", "--no-tls", "-a", "127.0.0.1", "-d", str(config.parent), *echo, str(self.port)]
