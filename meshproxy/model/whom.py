"""How an operator names those who have proved who they are, one or many at once.

    decode(RouteMatch, {"identities": ["shop/bookbuyer", "audit/*", "spiffe://cluster.local/ns/shop/sa/web", "*.shop"]})
"""

from __future__ import annotations

from typing import Annotated

from meshproxy.schema.kinds import string

ANYBODY = "*"
"""Whoever has proved an identity, whichever."""
MOST_IDENTITIES = 1024
"""In one list."""

# Trust domains, paths and namespaces as SPIFFE and Kubernetes write them: what is spelt in another way is nobody's.
_SEGMENT = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+"
_SPIFFE = rf"spiffe://[a-z0-9._-]{{1,255}}(?:/{_SEGMENT})*(?:/\*)?"
_NAME = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"

Whom = Annotated[
    str,
    string(
        "identity \\| `*`",
        "`namespace/service-account`, an id such as spiffe://cluster.local/ns/shop/sa/books, either with `*` as its "
        "last part, a host name, or `*`",
        rf"\*|{_SPIFFE}|{_NAME}/(?:{_NAME}|\*)|(?:\*\.)?{_LABEL}(?:\.{_LABEL})*",
        2048,
    ),
]
