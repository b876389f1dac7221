"""How connections begin by which it is told what is spoken on them.

    is_http(b"GET /")        # True
    is_http(b"GE")           # None: more is needed
    is_http(b"SSH-2.0-")     # False

    spoken(b"*1\\r\\n$4\\r\\nPING")        # "redis"
    spoken(b"*1\\r\\n")                  # None
"""

from __future__ import annotations

import re

from meshproxy.wire.mqtt import looks_like_connect
from meshproxy.wire.preface import PREFACE, may_be

LONGEST_METHOD = 32
TLS, HTTP1, HTTP2, MQTT, REDIS, OTHER = "tls", "http1", "http2", "mqtt", "redis", "other"
"""What is told apart.  TLS has a reader of its own, `client_hello`; all that is none of these is the last."""

_METHOD = rb"[A-Z][A-Z0-9_-]{0,%d}" % (LONGEST_METHOD - 1)
# A path, `*`, or a whole URI; CONNECT alone is followed by an authority.  "HELO me" is none of these.
_http = re.compile(rb"(?:%b (?:[/*]|(?i:https?://))|CONNECT [\[A-Za-z0-9])" % _METHOD).match
_may_become_http = re.compile(
    rb"%b(?: (?:(?i:h(?:t(?:t(?:p(?:s)?(?::(?:/)?)?)?)?)?))?)?" % _METHOD
).fullmatch


def is_http(first: bytes) -> bool | None:
    """Of any version: the preface of HTTP/2 was made to look like a request."""
    if _http(first) is not None:
        return True
    return None if not first or _may_become_http(first) is not None else False


def is_http2(first: bytes) -> bool | None:
    if not may_be(first):
        return False
    return True if len(first) >= len(PREFACE) else None


# A command is an array of strings.  A line of plain words is one too, and of every other protocol of lines as well.
_redis = re.compile(rb"\*[1-9][0-9]{0,6}\r\n\$[0-9]").match
_may_become_redis = re.compile(rb"\*(?:[1-9][0-9]{0,6}(?:\r(?:\n\$?)?)?)?").fullmatch


def is_redis(first: bytes) -> bool | None:
    if _redis(first) is not None:
        return True
    return None if not first or _may_become_redis(first) is not None else False


_LOOKS = ((HTTP2, is_http2), (HTTP1, is_http), (MQTT, looks_like_connect), (REDIS, is_redis))


def spoken(first: bytes) -> str | None:
    """What begins so, if it is not TLS; None: more is needed."""
    undecided = False
    for name, looks in _LOOKS:
        found = looks(first)
        if found:
            return name if not undecided else None
        undecided = undecided or found is None
    return None if undecided else OTHER
