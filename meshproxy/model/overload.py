"""What an operator can say about too much work: when it is too much, and who is let go of last.

decode(Overload, {})                    # every threshold at its default
decode(Overload, {"lag": "20ms"})
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from meshproxy.schema.kinds import Duration, Ratio, choice

Priority = Annotated[Literal["low", "normal", "high"], choice("low", "normal", "high")]


@dataclass(frozen=True, slots=True)
class Overload:
    """Where each measure begins to be too much for a worker; see docs/overload.md."""

    lag: Annotated[Duration, "how late the event loop is, 0: not looked at"] = 0.05
    memory: Annotated[Ratio, "the share of the container's limit that is used, 0: not looked at"] = 0.9
    connections: Annotated[Ratio, "the share of a listener's `max_connections` that is open, 0: not looked at"] = 0.9
    low: Annotated[
        Ratio, "the share of a listener's `max_connections` that requests of `low` rules may have under way, always"
    ] = 0.5
