"""The admin API: which path does what, and how its answer looks.

The two tables at the end are the whole of it.  A handler is a function of the proxy and the request; the proxy
is whatever satisfies `Proxy`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

from meshproxy.admin.access import Access
from meshproxy.admin.graph import states
from meshproxy.admin.http import PLAIN, Request, Response
from meshproxy.admin.live import Told, told_to
from meshproxy.admin.page import page_response
from meshproxy.admin.reload import DEFAULT_LAYER, Applied, Conflict, Missing
from meshproxy.admin.stream import Feed, Stream
from meshproxy.admin.tables import text_table
from meshproxy.admin.traffic_metrics import BASE, TrafficMetrics
from meshproxy.errors import Invalid
from meshproxy.net.collector import at_rest
from meshproxy.observe.exposition import Family
from meshproxy.observe.graph import dot, graph, rows
from meshproxy.observe.history import LONGEST
from meshproxy.observe.recent import KEEP
from meshproxy.observe.rendering import preferred
from meshproxy.observe.tap import Query, read_filter
from meshproxy.observe.window import Window, document
from meshproxy.plan.explain import Question, Unclear
from meshproxy.schema.kinds import port_in, read_duration

LAYER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
LAYER_PATH = re.compile(r"/config/[^/]+")
WITH_BODY = ("PUT", "POST")
MOST_RECENT = 1000
DOT = "text/vnd.graphviz; charset=utf-8"
GRAPH_WINDOW = 60
"""Seconds, unless the request says it."""


class Proxy(Protocol):
    """What the API asks of the process.  Dicts are plain JSON data with every secret redacted."""

    def state(self) -> str:
        """`starting`, `waiting`, `LIVE` or `draining`."""

    def server_info(self) -> dict[str, object]:
        """Among others `version`, `state`, `generation`, `uptime_seconds`, and `last_refused`: null, or the last
        config that was refused, as `time`, `source` and `problems`."""

    async def metrics(self) -> Callable[[], list[Family]]:
        """Makes all that a scrape is told; asked in a thread."""

    async def stats(self) -> dict[str, Any]:
        """What `observe.metrics` makes metrics of."""

    async def past(self, seconds: int) -> list[bytes]:
        """What each worker remembers of the last ones; `observe.window` reads it."""

    async def listeners(self) -> list[dict[str, object]]: ...

    async def clusters(self) -> list[dict[str, object]]:
        """Each with its `endpoints`, a list of dicts."""

    def certificates(self) -> list[dict[str, object]]:
        """Those that are in force, never a key; asked in a thread."""

    async def traffic_metrics(self) -> TrafficMetrics: ...

    def sources(self) -> list[dict[str, object]]:
        """Where documents are asked for, without what is secret."""

    def routes(self, stats: dict[str, Any]) -> list[dict[str, object]]:
        """Each table with its `rules`, a list of dicts; asked in a thread."""

    def explain(self, question: Question) -> dict[str, object]:
        """Which rule decides, with a verdict for each; asked in a thread.  Raises Unclear."""

    async def recent(self, most: int) -> dict[str, Any]:
        """At most so many of the newest requests that failed, and of those that were slow."""

    def tap(self, query: Query, told: Told) -> Callable[[], None]:
        """Requests that the query chooses are told as they end, until what is returned is called."""

    def watch(self, feed: Feed) -> Callable[[], None]:
        """It is told of each second, until what is returned is called."""

    def config_dump(self) -> dict[str, object]: ...

    def layer(self, name: str) -> tuple[dict[str, object], str] | None:
        """The layer and its etag, which is a word without quotes."""

    async def put(self, layer: str, body: bytes, *, dry_run: bool, if_match: str | None, source: str) -> Applied:
        """Raises Invalid, or Conflict where `if_match` is neither the etag of the layer nor `*` and there is one."""

    async def delete(self, layer: str, *, if_match: str | None) -> Applied:
        """Raises Invalid, Conflict, Missing."""

    def history(self) -> list[dict[str, object]]:
        """Newest first; each with `generation`, `time`, `source`, `version`, `changes`."""

    async def rollback(self, generation: int | None) -> Applied:
        """To the generation before the one in force where None is given.  Raises Invalid, Missing."""

    def drain(self, until_idle: float) -> None:
        """Before listeners close it may take so many seconds until nobody is connected."""

    def quit(self) -> None: ...

    def log_level(self, level: str | None) -> str:
        """The level in force, after setting it where one is given.  Raises ValueError."""


Later = Callable[[], Response]
"""Makes an answer that may be large: in a thread, since the loop carries traffic too."""


class Refusal(Exception):
    """A request that cannot be done as it stands."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


# Looking


def ready(proxy: Proxy, _request: Request) -> Response:
    state = proxy.state()
    return _text(state, 200 if state == "LIVE" else 503)


def live(_proxy: Proxy, _request: Request) -> Response:
    return _text("OK")


async def metrics(proxy: Proxy, request: Request) -> Later:
    format = preferred(request.headers.get("accept", ""))
    found = await proxy.metrics()
    return lambda: Response(body=format.render(found()), content_type=format.content_type)


def page(_proxy: Proxy, _request: Request) -> Response:
    return page_response()


def server_info(proxy: Proxy, _request: Request) -> Response:
    return _json(proxy.server_info())


async def stats(proxy: Proxy, request: Request) -> Later:
    seconds = _window(request)
    if seconds is None:
        return partial(_json, await proxy.stats())
    past = await proxy.past(seconds)
    return lambda: _compact(document(Window(past, seconds)))


async def who_to_whom(proxy: Proxy, request: Request) -> Later:
    wanted = _one(request, "format")
    if wanted not in (None, "json", "dot", "text"):
        raise Refusal(400, f"format: {wanted!r} is none of json, dot, text")
    seconds = _window(request) or GRAPH_WINDOW
    past, known = await proxy.past(seconds), await proxy.clusters()

    def shown() -> Response:
        found = graph(Window(past, seconds), states(known))
        if wanted == "dot":
            return Response(body=dot(found).encode(), content_type=DOT)
        if wanted == "text":
            return Response(body=text_table(rows(found)).encode(), content_type=PLAIN)
        return _compact(found)

    return shown


async def listeners(proxy: Proxy, request: Request) -> Later:
    return partial(_table, request, await proxy.listeners())


async def clusters(proxy: Proxy, request: Request) -> Later:
    return partial(_table, request, await proxy.clusters())


def certs(proxy: Proxy, request: Request) -> Later:
    return lambda: _table(request, proxy.certificates())


def sources(proxy: Proxy, request: Request) -> Response:
    return _table(request, proxy.sources())


async def routes(proxy: Proxy, request: Request) -> Later:
    stats = await proxy.stats()
    return lambda: _table(request, proxy.routes(stats))


def explain(proxy: Proxy, request: Request) -> Later:
    question = _question(request)

    def explained() -> Response:
        try:
            return _table(request, proxy.explain(question))
        except Unclear as unclear:
            raise Refusal(400, str(unclear)) from None

    return explained


async def recent(proxy: Proxy, request: Request) -> Later:
    text = _one(request, "limit")
    return partial(_json, await proxy.recent(KEEP if text is None else _number("limit", text, MOST_RECENT)))


def tap(proxy: Proxy, request: Request) -> Stream:
    try:
        chosen = read_filter(request.query)
    except ValueError as why:
        raise Refusal(400, str(why)) from None
    return Stream(lambda feed: proxy.tap(request.query, told_to(feed, chosen.limit)))


def events(proxy: Proxy, _request: Request) -> Stream:
    return Stream(proxy.watch)


async def traffic_metrics(proxy: Proxy, request: Request) -> Later:
    found = await proxy.traffic_metrics()
    path = request.path.removeprefix(BASE)

    def shown() -> Response:
        match path.strip("/").split("/"):
            case [""]:
                return _json(found.resources())
            case ["namespaces", namespace, plural]:
                row = found.all(plural, namespace)
            case ["namespaces", namespace, plural, name]:
                row = found.of(plural, namespace, name)
            case ["namespaces", namespace, plural, name, "edges"]:
                row = found.edges(plural, namespace, name)
            case _:
                row = None
        if row is None:
            raise Missing(f"there are no metrics of {path[:200]!r}: this proxy knows those of its own service")
        return _json(row)

    return shown


def config_dump(proxy: Proxy, _request: Request) -> Later:
    return lambda: _json(proxy.config_dump())


# The configuration


def get_layer(proxy: Proxy, request: Request) -> Later:
    name = _layer_name(request)

    def shown() -> Response:
        found = proxy.layer(name)
        if found is None:
            raise Missing(f"there is no layer {name!r}")
        config, etag = found
        return _json(config, headers=(("ETag", f'"{etag}"'),))

    return shown


async def put_layer(proxy: Proxy, request: Request) -> Response:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise Refusal(415, f"Content-Encoding: {encoding!r} is not understood; send the document as it is")
    applied = await proxy.put(
        _layer_name(request),
        request.body,
        dry_run=_flag(request, "dry_run"),
        if_match=_if_match(request),
        source=f"PUT {request.path}",
    )
    return _applied(applied)


async def delete_layer(proxy: Proxy, request: Request) -> Response:
    return _applied(await proxy.delete(_layer_name(request), if_match=_if_match(request)))


def history(proxy: Proxy, _request: Request) -> Response:
    return _json(proxy.history())


async def rollback(proxy: Proxy, request: Request) -> Response:
    text = _one(request, "generation")
    if text is not None and not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refusal(400, f"generation: {text!r} is not a number")
    return _applied(await proxy.rollback(None if text is None else int(text)))


# The process


def drain(proxy: Proxy, request: Request) -> Response:
    text = _one(request, "until_idle")
    try:
        proxy.drain(0.0 if text is None else read_duration(text))
    except ValueError as why:
        raise Refusal(400, f"until_idle: {why}") from None
    return _json({"state": proxy.state()})


def quit_quit_quit(proxy: Proxy, _request: Request) -> Response:
    proxy.quit()
    return _json({"state": proxy.state()})


def logging(proxy: Proxy, request: Request) -> Response:
    try:
        return _json({"level": proxy.log_level(_one(request, "level"))})
    except ValueError as error:
        raise Refusal(400, str(error)) from None


# What requests say


def _one(request: Request, name: str) -> str | None:
    values = request.query.get(name, [])
    if len(values) > 1:
        raise Refusal(400, f"{name}: given {len(values)} times")
    return values[0] if values else None


def _window(request: Request) -> int | None:
    text = _one(request, "window")
    if text is None:
        return None
    try:
        seconds = read_duration(text)
    except ValueError as why:
        raise Refusal(400, f"window: {why}") from None
    if not (1 <= seconds <= LONGEST and seconds == int(seconds)):
        raise Refusal(400, f"window: {text!r} is not of 1s to {LONGEST}s, in whole seconds")
    return int(seconds)


def _question(request: Request) -> Question:
    host = _one(request, "host")
    if host is None:
        raise Refusal(400, "host: say which host is asked for, as in /routes/explain?host=shop.local&path=/v1")
    return Question(
        _one(request, "method") or "GET",
        host,
        _one(request, "path") or "/",
        tuple(request.query.get("header", ())),
        _one(request, "listener"),
        _one(request, "table"),
        _one(request, "identity"),
        _port(request),
    )


def _port(request: Request) -> int | None:
    text = _one(request, "port")
    if text is None:
        return None
    try:
        return port_in(text)
    except ValueError as why:
        raise Refusal(400, f"port: {why}") from None


def _number(name: str, text: str, most: int) -> int:
    if not (re.fullmatch("[0-9]{1,9}", text) and 1 <= int(text) <= most):
        raise Refusal(400, f"{name}: {text[:200]!r} is not a number from 1 to {most}")
    return int(text)


def _flag(request: Request, name: str) -> bool:
    text = _one(request, name)
    if text not in (None, "0", "1", "false", "true"):
        raise Refusal(400, f"{name}: {text!r} is neither 1 nor 0")
    return text in ("1", "true")


def _if_match(request: Request) -> str | None:
    text = request.headers.get("if-match")
    if text is None:
        return None
    if not re.fullmatch(r'\*|"[^"]*"', text):
        raise Refusal(400, f"If-Match: {text!r} is neither one quoted etag nor *")
    # An etag of ours is a word.  Whatever else stands in quotes keeps them: `"*"` names no layer, and is not `*`.
    return re.sub(r'"(\w+)"', r"\1", text)


def _layer_name(request: Request) -> str:
    name = request.path.removeprefix("/config").removeprefix("/") or DEFAULT_LAYER
    if not LAYER_NAME.fullmatch(name):
        raise Refusal(400, f"layer: {name!r} is not a name of up to 63 letters, digits, dots, dashes")
    return name


# What answers look like


def _json(data: object, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    return Response(status, json.dumps(data, indent=1).encode() + b"\n", headers=headers)


def _compact(data: object) -> Response:
    """What has thousands of numbers is read by programs."""
    return Response(body=json.dumps(data, separators=(",", ":")).encode() + b"\n")


def _text(words: str, status: int = 200) -> Response:
    return Response(status, f"{words}\n".encode(), PLAIN)


def _error(status: int, words: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    return _json({"error": words}, status, headers)


def _applied(applied: Applied) -> Response:
    return _json({"generation": applied.generation, "version": applied.version, "changes": list(applied.changes)})


def _table(request: Request, data: dict[str, object] | list[dict[str, object]]) -> Response:
    """Rows, or one that holds others."""
    wanted = _one(request, "format")
    if wanted not in (None, "json", "text"):
        raise Refusal(400, f"format: {wanted!r} is neither json nor text")
    if wanted == "json" or (wanted is None and "application/json" in request.headers.get("accept", "")):
        return _json(data)
    rows = data if isinstance(data, list) else [data]
    return Response(body=text_table(rows).encode(), content_type=PLAIN)


# The tables

Handler = Callable[[Proxy, Request], Response | Stream | Later | Awaitable[Response | Later]]


class Route(NamedTuple):
    method: str
    path: str
    handler: Handler
    open: bool = False
    """Answered to anyone, wherever it is served."""


ADMIN_ROUTES = (
    # A browser can send a token only once it has the page, which says nothing of this proxy.
    Route("GET", "/", page, open=True),
    Route("GET", "/ready", ready, open=True),
    Route("GET", "/live", live, open=True),
    Route("GET", "/metrics", metrics),
    Route("GET", "/stats", stats),
    Route("GET", "/graph", who_to_whom),
    Route("GET", "/listeners", listeners),
    Route("GET", "/clusters", clusters),
    Route("GET", "/certs", certs),
    Route("GET", "/sources", sources),
    Route("GET", "/routes", routes),
    Route("GET", "/routes/explain", explain),
    Route("GET", "/recent", recent),
    Route("GET", "/tap", tap),
    Route("GET", "/events", events),
    Route("GET", "/server_info", server_info),
    Route("GET", BASE, traffic_metrics),
    Route("GET", "/config_dump", config_dump),
    Route("GET", "/config", get_layer),
    Route("PUT", "/config", put_layer),
    Route("GET", "/config/{layer}", get_layer),
    Route("PUT", "/config/{layer}", put_layer),
    Route("DELETE", "/config/{layer}", delete_layer),
    Route("GET", "/config/history", history),
    Route("POST", "/config/rollback", rollback),
    Route("POST", "/drain", drain),
    Route("POST", "/quitquitquit", quit_quit_quit),
    Route("POST", "/logging", logging),
)

STATUS_ROUTES = (
    Route("GET", "/ready", ready),
    Route("GET", "/live", live),
    Route("GET", "/metrics", metrics),
)


def admin_site(proxy: Proxy, access: Access) -> ApiSite:
    """The whole API, for `admin.listen`."""
    return ApiSite(proxy, ADMIN_ROUTES, access)


def status_site(proxy: Proxy) -> ApiSite:
    """What kubelet and Prometheus read, for `status.listen`: nothing there changes anything."""
    return ApiSite(proxy, STATUS_ROUTES, None)


class ApiSite:
    """A table of routes as a `Site`; without an `Access`, anyone may ask."""

    def __init__(self, proxy: Proxy, routes: tuple[Route, ...], access: Access | None) -> None:
        self._proxy = proxy
        self._access = access
        self._paths: dict[str, dict[str, Route]] = {}
        for route in routes:
            self._paths.setdefault(route.path, {})[route.method] = route

    def route(self, request: Request) -> Route | None:
        return self._by_method(request.path).get(_looked_up(request.method))

    def admit(self, request: Request) -> Response | None:
        by_method, route = self._by_method(request.path), self.route(request)
        if self._access is not None and not (route and route.open):
            denied = self._access.denied(request)
            if denied is not None:
                challenge = (("WWW-Authenticate", "Bearer"),) if denied.status == 401 else ()
                return _error(denied.status, denied.words, challenge)
        if not by_method:
            return _json({"error": f"no such path: {request.path[:200]!r}", "paths": list(self._paths)}, 404)
        if route is None:
            allow = ", ".join(sorted({*by_method, *(("HEAD",) if "GET" in by_method else ())}))
            return _error(405, f"{request.path}: takes {allow}", (("Allow", allow),))
        if request.announces_body and route.method not in WITH_BODY:
            return _error(413, f"{request.method} {request.path}: takes no body")
        return None

    async def answer(self, request: Request) -> Response | Stream:
        route = self._by_method(request.path)[_looked_up(request.method)]
        try:
            answer = route.handler(self._proxy, request)
            if isinstance(answer, Awaitable):
                answer = await answer
            if isinstance(answer, Response | Stream):
                return answer
            with at_rest():
                return await asyncio.to_thread(answer)
        except Invalid as invalid:
            return _json({"problems": [problem.as_json() for problem in invalid.problems]}, 422)
        except Conflict as conflict:
            return _error(412, str(conflict))
        except Missing as missing:
            return _error(404, str(missing))
        except Refusal as refusal:
            return _error(refusal.status, str(refusal))

    def _by_method(self, path: str) -> Mapping[str, Route]:
        if path not in self._paths and LAYER_PATH.fullmatch(path):
            path = "/config/{layer}"
        if path.startswith(BASE + "/"):
            path = BASE
        return self._paths.get(path, {})


def _looked_up(method: str) -> str:
    return "GET" if method == "HEAD" else method
