"""The proxies as HTTP/1.1 servers of one page: ours and the others' reply without an upstream, nginx's from a file."""

from __future__ import annotations

from pathlib import Path

from benchmarks.gateways import HttpEnvoy, HttpHAProxy, HttpMeshproxy, NginxHttp
from benchmarks.peers import Peer

PAGE = (
    "<!DOCTYPE html><html><head><title>Welcome to the benchmark</title>"
    "<style>html { color-scheme: light dark; } body { width: 35em; margin: 0 auto; font-family: sans-serif; }</style>"
    "</head><body><h1>Welcome to the benchmark</h1><p>If you see this page, the proxy answers by itself. It is about "
    "as long as the page that nginx shows when it was installed a moment ago, since that is what the two commands that "
    "everybody knows are run against. Nothing behind it is asked for anything, and each answer is the same as the one "
    "before.</p><p><em>Thank you for measuring.</em></p></body></html>"
)
"""Without quotes or line ends, so that it can stand in anybody's configuration."""


class PageMeshproxy(HttpMeshproxy):
    def rule(self) -> dict[str, object]:
        return {"reply": {"status": 200, "headers": {"content-type": "text/html"}, "body": PAGE}}


class PageNginx(NginxHttp):
    def furnish(self, directory: Path) -> None:
        super().furnish(directory)
        (directory / "index.html").write_text(PAGE)

    def http(self) -> str:
        return f"server {{ listen 127.0.0.1:{self.port} backlog=4096; root .; }}"


class PageHAProxy(HttpHAProxy):
    def rule(self) -> str:
        return f"http-request return status 200 content-type text/html string '{PAGE}'"


class PageEnvoy(HttpEnvoy):
    def action(self) -> dict[str, object]:
        typed = {"header": {"key": "content-type", "value": "text/html"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        return {
            "direct_response": {"status": 200, "body": {"inline_string": PAGE}},
            "response_headers_to_add": [typed],
        }


PAGES: tuple[type[Peer], ...] = (PageMeshproxy, PageNginx, PageHAProxy, PageEnvoy)
