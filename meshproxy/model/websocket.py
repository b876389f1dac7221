"""What an operator can say about MQTT within WebSocket.

    websocket: {paths: [/mqtt], origins: ["https://panel.example"]}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from meshproxy.model.filters import Origin
from meshproxy.model.routes import Location
from meshproxy.schema.shapes import AT_LEAST_ONE, Path

MOST_ENTRIES = 64


@dataclass(frozen=True, slots=True)
class WebSocket:
    """Clients may come in over WebSocket (subprotocol `mqtt`), told from others by their first byte."""

    paths: Annotated[tuple[Location, ...], AT_LEAST_ONE, "where it is; any other path is answered 404"] = ("/mqtt",)
    origins: Annotated[
        tuple[Origin, ...],
        "the pages that may: exact origins, or `*`; empty: those of the host that is asked. "
        "What is no browser names no origin, and may",
    ] = ()


def problems(said: WebSocket) -> Iterator[tuple[Path, str]]:
    for key in ("paths", "origins"):
        if (count := len(getattr(said, key))) > MOST_ENTRIES:
            yield (key,), f"`{key}` has {count} entries, more than {MOST_ENTRIES}"
    for index, path in enumerate(said.paths):
        if "?" in path:
            yield ("paths", index), f"`paths` are without a query, which {path} has"
    for index, origin in enumerate(said.origins):
        if "*." in origin:
            yield ("origins", index), f"`origins` are exact, or `*`, not {origin}"
