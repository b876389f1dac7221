"""What is told of the spans of a request that is over, in OpenTelemetry's words: the parts that others have as well.

    part = of_request("in", "web/0", b"GET", "HTTP/1.1", False, 503, "UF", "connect_refused")
    part.name, part.error                               # "GET web/0", "connect_refused"
    part.attributes["http.response.status_code"]        # 503
    of_head(b"shop.local:8080", b"curl/8").attributes   # {"server.address": "shop.local", "server.port": 8080, ...}

What no other request has (`PATH` and those after it) is set in by the exporters.  Attributes are called as
OpenTelemetry's conventions for HTTP have it, and `meshproxy.*` where these have no word.  Queries are never told, nor
header fields but `User-Agent`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from meshproxy.observe.trace import METHODS, name_of
from meshproxy.wire.h1.authority import HIGHEST_PORT

_is_number = re.compile("[1-9][0-9]{0,4}").fullmatch

LONGEST = 1024
"""Characters of a value that came from a peer; the rest is cut off."""
OTHER = "_OTHER"
"""A method that anybody may have invented, and so names no span."""

PATH = "url.path"
REQUEST_ID = "meshproxy.request_id"
RECEIVED, SENT = "http.request.body.size", "http.response.body.size"

Attributes = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Part:
    """Of a span."""

    attributes: Attributes
    name: str = ""
    error: str = ""
    """A word for it; empty: it went well."""
    peer: str = ""
    """The address of who asks, or is asked; empty: there is none."""
    cluster: str = ""
    number: int = 0
    """Of an attempt, among those of the request."""


def of_request(
    listener: str, route: str, method: bytes, protocol: str, secure: bool, status: int, flags: str, reason: str
) -> Part:
    """Its place, and what became of it; `reason`: of its failure, if it has failed."""
    attributes: Attributes = {
        "http.request.method": method.decode("ascii") if method in METHODS else OTHER,
        "url.scheme": "https" if secure else "http",
        "network.protocol.version": protocol.partition("/")[2],
        "meshproxy.listener": listener,
    }
    if method not in METHODS:
        attributes["http.request.method_original"] = text(method)
    if status:
        attributes["http.response.status_code"] = status
    if route:
        attributes["meshproxy.route"] = route
    if flags:
        attributes["meshproxy.flags"] = flags
    error = ""
    if status >= 500 or not status:  # what is answered with 4xx is a fault of the client
        error = reason or str(status or "")
    if error:
        attributes["error.type"] = error
    return Part(attributes, name_of(method, route), error)


def of_head(authority: bytes, agent: bytes | None) -> Part:
    """Whom it is for, and by whom."""
    attributes: Attributes = {}
    if authority:
        address, port = address_of(text(authority))
        attributes["server.address"] = address
        if port:
            attributes["server.port"] = port
    if agent is not None:
        attributes["user_agent.original"] = text(agent)
    return Part(attributes)


def of_client(address: str | None, identity: str) -> Part:
    """Who has connected."""
    attributes: Attributes = {}
    if address is not None:
        attributes["client.address"] = address
    if identity:
        attributes["meshproxy.identity"] = identity
    return Part(attributes, peer=address or "")


def of_attempt(method: bytes, route: str, peer: str, cluster: str, number: int, status: int, error: str) -> Part:
    if not error and status >= 400:
        error = str(status)
    address, port = address_of(peer)
    attributes: Attributes = {
        "http.request.method": method.decode("ascii") if method in METHODS else OTHER,
        "server.address": address,
        "meshproxy.cluster": cluster,
    }
    if port:
        attributes["server.port"] = port
    if number > 1:
        attributes["http.request.resend_count"] = number - 1
    if status:
        attributes["http.response.status_code"] = status
    if error:
        attributes["error.type"] = error
    return Part(attributes, name_of(method, route), error, peer, cluster, number)


def address_of(text: str) -> tuple[str, int]:
    """Host, without brackets, and port; 0: none."""
    host, colon, port = text.rpartition(":")
    if not colon or not _is_number(port) or int(port) > HIGHEST_PORT or text.startswith("unix:"):
        return text.strip("[]"), 0
    return host.strip("[]"), int(port)


def text(value: bytes) -> str:
    """What a peer has said, as it may be told."""
    return value[:LONGEST].decode("utf-8", "replace")
