"""What an operator can say about ports at which the proxy answers as another sidecar does.

    said = decode(Front, {"kind": "fsm", "listen": "127.0.0.1:15000", "quit": True})

Whoever has asked that sidecar, by its ports and in its words, need not learn ours: see docs/fsm-image.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from meshproxy.model.address import ListenAddress
from meshproxy.model.matching import Found
from meshproxy.schema.kinds import Bool, choice
from meshproxy.schema.shapes import ONE_OR_MANY

MOST_FRONTS = 16


@dataclass(frozen=True, slots=True)
class Front:
    """Addresses at which the proxy answers as another sidecar does."""

    kind: Annotated[
        Literal["fsm", "fsm-metrics", "pipy"],
        choice("fsm", "fsm-metrics", "pipy"),
        "as what: FSM's sidecar at its port 15000 or at its port 15010, or the admin port of Pipy",
    ]
    listen: Annotated[tuple[ListenAddress, ...], ONE_OR_MANY, "where it answers"]
    quit: Annotated[
        Bool, "for fsm: whether anybody who asks over loopback may end the proxy, by `POST /drain` and `/quitquitquit`"
    ] = False


# What does not fit together -----------------------------------------------------------------------


def front_problems(fronts: tuple[Front, ...]) -> Found:
    """Each with its place among them."""
    if len(fronts) > MOST_FRONTS:
        yield (), f"`fronts` has {len(fronts)} entries, more than {MOST_FRONTS}"
    for index, said in enumerate(fronts):
        if said.quit and said.kind != "fsm":
            yield (index, "quit"), f"`quit` is for `kind: fsm`, not for {said.kind}: nothing is ended there"
