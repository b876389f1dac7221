"""Where a listener is less strict than it could be, so that whoever answers for it is told.

    list(relaxations(listener))     # [Relaxation("bare_lf", ("http", "admit", 0), "lines may end in LF alone")]

What is stricter than the defaults is not told: it lets nothing in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from meshproxy.model.config import Config, Listener
from meshproxy.schema.shapes import Path

ADMITTED = {
    "bare_lf": "lines of a head may end in LF alone",
    "obs_fold": "fields may go on in the next line",
    "raw_target": "targets may hold bytes that clients should have encoded",
    "underscores": "names of fields may have `_`, which some applications take for `-`",
    "bare_status": "a status line may end with its code",
}
KEPT = {
    "slashes": "rules and upstreams see `//`, which many servers take for `/`",
    "escaped_slashes": "rules and upstreams see `%2F` and `%5C`, which some servers take for a slash",
}
"""What it means that a key of `http.path` says `keep`."""

BY_H11 = "h11 also takes lines that end in LF alone, folded fields, and one length said several times"


class Relaxation(NamedTuple):
    switch: str
    """Its word in metrics."""
    path: Path
    """Where the listener says so."""
    words: str


def relaxations(said: Listener) -> Iterator[Relaxation]:
    if said.codec == "h11":
        yield Relaxation("h11", ("codec",), BY_H11)
    for index, switch in enumerate(said.http.admit):
        yield Relaxation(switch, ("http", "admit", index), ADMITTED[switch])
    if said.permissive:
        yield Relaxation("permissive", ("permissive",), "plain connections are served beside those that speak TLS")
    for name, words in KEPT.items():
        if getattr(said.http.path, name) == "keep":
            yield Relaxation(name, ("http", "path", name), words)


def relaxed(config: Config) -> dict[str, dict[str, int]]:
    """The switches of each listener that has any, each with 1."""
    found = {said.name: {each.switch: 1 for each in relaxations(said)} for said in config.listeners}
    return {name: switches for name, switches in found.items() if switches}
