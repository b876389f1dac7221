"""How connections begin by which it is told what is spoken on them.

    is_http(b"GET /")        # True
    is_http(b"GE")           # None: more is needed
    is_http(b"SSH-2.0-")     # False
"""

from __future__ import annotations

import re

LONGEST_METHOD = 32

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
