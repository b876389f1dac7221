"""From a match of an HTTPRouteGroup to the words of ours, which are the same in rules and in `authorize`.

    path_of(match)          # {"begins": "/books"}, or None: any
    headers_of(match)       # {"user-agent": {"regex": ".*Firefox.*"}}
"""

from __future__ import annotations

from typing import Any

from meshproxy.dialects.smi.resources import HttpMatch

ANY_PATH = ("", ".*", "/.*", "^.*", ".*$", "^/.*")


def path_of(match: HttpMatch) -> dict[str, str] | None:
    """SMI anchors its expressions at the start, and leaves their end open."""
    return None if match.path in ANY_PATH else {"begins": match.path}


def headers_of(match: HttpMatch) -> dict[str, Any]:
    """The whole value, as the expressions that SMI gives as examples are written."""
    return {name: {"regex": value} for name, value in match.headers}
