"""The other side of TLS as everybody has it: nginx, openssl and curl, and a server that breaks off."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks import process, tools
from benchmarks.gateways import NginxHttp
from benchmarks.peers import HAProxy
from tests.e2e.conftest import LONGEST, poll
from tests.pki import Ca, Pair

CORES = process.Cores.of_this_machine()


def inline(pair: Pair) -> dict[str, str]:
    return {"certificate": pair.certificate.read_text(), "key": pair.key.read_text()}


def counted(running: Any, metric: str) -> dict[str, int]:
    """By its labels, as they stand there."""
    lines = [line for line in running.ask("GET", "/metrics")[1].splitlines() if line.startswith(f"{metric}{{")]
    pairs = (line.removeprefix(metric).rpartition(" ") for line in lines)
    return {labels.strip("{}"): int(value) for labels, _, value in pairs if value != "0"}


def handshakes(running: Any, listener: str = "in") -> dict[str, int]:
    """With clients, by their result."""
    return _results(counted(running, "meshproxy_listener_handshakes_total"), "listener", listener)


def cluster_handshakes(running: Any, cluster: str) -> dict[str, int]:
    return _results(counted(running, "meshproxy_cluster_handshakes_total"), "cluster", cluster)


def _results(found: dict[str, int], label: str, name: str) -> dict[str, int]:
    before = f'{label}="{name}",result="'
    return {key.removeprefix(before).rstrip('"'): value for key, value in found.items() if key.startswith(before)}


# Clients ------------------------------------------------------------------------------------------


def curl(*options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    if reason := tools.missing("curl"):
        pytest.skip(reason)
    command = ["curl", "-sS", "--noproxy", "*", "--max-time", f"{LONGEST:g}", *options]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=check, text=True)


class SClient:
    """`openssl s_client`, to which something is said and from which something is awaited."""

    def __init__(self, address: tuple[str, int], *options: str) -> None:
        if reason := tools.missing("openssl"):
            pytest.skip(reason)
        host, port = address
        self._process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"{host}:{port}", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self.heard = b""
        self._thread = threading.Thread(target=self._hear)
        self._thread.start()

    def _hear(self) -> None:
        assert self._process.stdout
        while data := self._process.stdout.read(65536):
            self.heard += data

    def say(self, words: str) -> None:
        """One read of its own: a letter at its beginning is a command."""
        assert self._process.stdin
        self._process.stdin.write(words.encode())

    def until(self, words: str, times: int = 1) -> str:
        poll(lambda: self.heard.count(words.encode()) >= times or self._over(), f"{words} in {self.heard!r}")
        assert self.heard.count(words.encode()) >= times, self.heard.decode()
        return self.heard.decode()

    def _over(self) -> bool:
        return not self._thread.is_alive()

    def end(self) -> str:
        """Wait for it to end by itself; all that it has said."""
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(LONGEST)
        self._thread.join()
        assert self._process.stdout
        self._process.stdout.close()
        return self.heard.decode(errors="replace")

    def __enter__(self) -> SClient:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.end()


def wrapped(address: tuple[str, int], context: ssl.SSLContext, name: str = "books.shop", **also: Any) -> ssl.SSLSocket:
    # Python would lose a connection that was reset before it is wrapped, and not close it.
    sock = context.wrap_socket(socket.socket(), server_hostname=name, **also)
    try:
        sock.settimeout(LONGEST)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


# Upstreams ----------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class Secured:
    """One server of nginx: who it says that it is, and what else it is told."""

    name: str
    pair: Pair
    directives: str = ""


class NginxTls(NginxHttp):
    """Several servers in one process: each answers with its name and how it was spoken to, and takes bodies."""

    def __init__(self, servers: Sequence[Secured]) -> None:
        super().__init__(process.free_port(), CORES.load)
        self._servers = servers
        self.ports = {each.name: process.free_port() for each in servers}

    def address(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def furnish(self, directory: Path) -> None:
        super().furnish(directory)
        for each in self._servers:
            (directory / f"{each.name}.crt").write_bytes(each.pair.certificate.read_bytes())
            (directory / f"{each.name}.key").write_bytes(each.pair.key.read_bytes())
        (directory / "large").write_bytes(bytes(range(256)) * (1 << 14))

    def http(self) -> str:
        plain = f"server {{ listen 127.0.0.1:{self.port}; location / {{ return 200 'plain\\n'; }} }}\n"
        return plain + "".join(map(self._server, self._servers))

    def _server(self, said: Secured) -> str:
        return f"""server {{
    listen 127.0.0.1:{self.ports[said.name]} ssl backlog=4096;
    ssl_certificate {said.name}.crt;
    ssl_certificate_key {said.name}.key;
    ssl_session_cache shared:{said.name}:1m;
    {said.directives}
    root .;
    location = / {{
        default_type text/plain;
        return 200 "{said.name} $ssl_protocol $ssl_session_reused $ssl_client_verify [$ssl_server_name]\\n";
    }}
    location = /large {{ }}
    location = /sink {{
        client_body_buffer_size 8m;
        proxy_pass http://127.0.0.1:{self.port}/;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
    }}
}}
"""


class HAProxyTls(HAProxy):
    """Takes plain requests, passes them on by TLS, and is at the other end of what comes back to it by TLS."""

    def __init__(self, ca: Ca, pair: Pair, upstream: int) -> None:
        super().__init__(upstream, CORES.load)
        self.behind = process.free_port()
        self._ca, self._pair = ca, pair

    def furnish(self, directory: Path) -> None:
        super().furnish(directory)
        (directory / "books.pem").write_bytes(self._pair.certificate.read_bytes() + self._pair.key.read_bytes())

    def command(self, config: Path) -> list[str]:
        return [*super().command(config), "-C", str(config.parent)]

    def config(self) -> str:
        return f"""global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend before
    bind 127.0.0.1:{self.port}
    default_backend proxy
backend proxy
    server proxy 127.0.0.1:{self.upstream} ssl verify required ca-file {self._ca.root} sni str(books.shop) crt books.pem
frontend behind
    bind 127.0.0.1:{self.behind} ssl crt books.pem
    http-request return status 200 content-type text/plain lf-string "behind %sslv %[ssl_fc_sni]\\n"
"""


class Broken:
    """A server of TLS whose answers last until the end, which for `/whole` is one, and for all else is just a close."""

    def __init__(self, pair: Pair) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._context = context
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._sock.getsockname())
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._sock.accept()
            except OSError:
                return
            plain.settimeout(LONGEST)
            with suppress(OSError):
                with self._context.wrap_socket(plain, server_side=True) as sock:
                    asked = sock.recv(65536)
                    sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"until the end\n" * 1000)
                    whole = asked.startswith(b"GET /whole ")
                    plain = sock.unwrap() if whole else socket.socket(fileno=sock.detach())
                plain.close()

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join()


class SServer:
    """`openssl s_server -www`, which answers any request with what was agreed on."""

    def __init__(self, pair: Pair, *options: str) -> None:
        if reason := tools.missing("openssl"):
            pytest.skip(reason)
        port = process.free_port()
        self.address = f"127.0.0.1:{port}"
        shown = ["-cert", str(pair.certificate), "-key", str(pair.key)]
        self._process = subprocess.Popen(
            ["openssl", "s_server", "-accept", self.address, *shown, "-www", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        poll(lambda: process.accepts(port), "s_server")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
