"""Values with variables: `%{client}` in a header field that a rule sets.

    fill = template("for %{client} to %{host}", Names("web", "shop/0"))
    fill(exchange)                      # b"for 192.0.2.7 to shop.local"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from meshproxy.core.exchange import Exchange
from meshproxy.core.peer import spoken
from meshproxy.model.routes import split_variables

Fill = Callable[[Exchange], bytes]


class Names(NamedTuple):
    """What is the same for all exchanges of a rule."""

    listener: str
    route: str


def template(value: str, names: Names) -> Fill:
    known: dict[str, Fill] = {
        "client": lambda x: (x.client or "unknown").encode("ascii"),
        "host": lambda x: x.request.authority.text,
        "method": lambda x: x.request.method,
        "path": lambda x: x.path,
        "cluster": lambda x: x.cluster.name.encode("ascii") if x.cluster is not None else b"",
        "listener": _constant(names.listener),
        "route": _constant(names.route),
        "identity": lambda x: spoken(x.identity),
    }
    parts = [known[text] if is_variable else _constant(text) for text, is_variable in split_variables(value)]
    return lambda x: b"".join([part(x) for part in parts])


def _constant(text: str) -> Fill:
    value = text.encode("ascii")
    return lambda _: value
