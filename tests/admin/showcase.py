"""An admin side that is none: it serves the page, and says what the bookstore says or a test wants it to say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from meshproxy.admin.page import page_response
from tests.admin import bookstore

Answer = tuple[int, Any]

LISTS = {
    "/listeners": bookstore.LISTENERS,
    "/clusters": bookstore.CLUSTERS,
    "/routes": bookstore.ROUTES,
    "/routes/explain": bookstore.EXPLAINED,
    "/graph": bookstore.GRAPH,
    "/recent": bookstore.RECENT,
    "/config/default": bookstore.DOCUMENT,
    "/config_dump": bookstore.DUMP,
    "/config/history": bookstore.HISTORY,
    "/certs": bookstore.CERTIFICATES,
    "/sources": bookstore.SOURCES,
}
PROBLEMS = [
    {"path": "listeners[0].listen", "message": "'nowhere' is no address", "source": "PUT /config", "line": 3},
    {"path": "clusters.books", "message": "unknown key 'endpionts'; did you mean 'endpoints'?"},
]
CHANGED = {"generation": 8, "version": "aa01", "changes": ["listener web: changed (listen)"]}
ETAG = '"e7"'


class Showcase:
    def __init__(self, *, second: float = 0.25, token: str | None = None) -> None:
        """`second`: how long one lasts here; `token`: who has none sees only the page."""
        self.second = second
        self.token = token
        self.says: dict[str, Answer] = {}
        """By `METHOD /path`, in the place of what the bookstore says."""
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.generation = 7
        self.streams: list[str] = []
        """Those that are being read."""
        self.over = threading.Event()
        showcase = self

        class Handler(_Handler):
            host = showcase

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def break_off(self) -> None:
        """End every stream in the middle."""
        self.over.set()
        self.over = threading.Event()

    def paths(self, method: str = "GET") -> list[str]:
        return [target for how, target, _, _ in self.asked if how == method]

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
        if f"{method} {path}" in self.says:
            return self.says[f"{method} {path}"]
        if method == "PUT":
            return (422, {"problems": PROBLEMS}) if b"nowhere" in body else (200, CHANGED)
        if method == "POST":
            return 200, CHANGED
        if path == "/stats":
            return 200, bookstore.stats(int(query["window"][0].removesuffix("s")))
        if path == "/server_info":
            return 200, {**bookstore.SERVER_INFO, "generation": self.generation}
        if path in LISTS:
            return 200, LISTS[path]
        return 404, {"error": f"no such path: {path!r}"}

    def events(self, path: str) -> Iterator[bytes]:
        over = self.over
        for number in range(100_000):
            if path == "/events":
                yield _event("second", bookstore.event(number, self.generation))
            else:
                status, flags = ((200, ""), (503, "UO"), (200, ""))[number % 3]
                seen = bookstore.exchange(-number, status, flags, f"/books/{number}", 4.0 + number % 7)
                yield _event("exchange", {**seen, "request_headers": [["user-agent", bookstore.HOSTILE]]})
                if number == 5:
                    yield _event("lost", {"count": 12})
            if over.wait(self.second):
                return


def _event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    host: Showcase

    def do_GET(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def _serve(self) -> None:
        host, target = self.host, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        host.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        if target.path == "/":
            page = page_response()
            self._send(200, page.content_type, page.body, dict(page.headers))
        elif host.token is not None and self.headers.get("authorization") != f"Bearer {host.token}":
            self._say((401, {"error": "Authorization: a bearer token is needed"}))
        elif target.path in ("/events", "/tap") and f"GET {target.path}" not in host.says:
            host.streams.append(target.path)
            self._stream(host.events(target.path))
            host.streams.remove(target.path)
        else:
            self._say(host.answer(self.command, target.path, parse_qs(target.query), body))

    def _say(self, answer: Answer) -> None:
        self._send(answer[0], "application/json", json.dumps(answer[1]).encode(), {"ETag": ETAG})

    def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, events: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for event in events:
                self.wfile.write(event)
        except OSError:
            return
