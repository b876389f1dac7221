"""Scripts in the chains: those of users do not run here, but filters may stand in their place.

    scripts = Scripts.of(draft)         # compat: {plugin_filters: {header-injector: [{extension: shop:Inject}]}}
    scripts.filters["inbound"]          # [{"extension": "shop:Inject"}]
    scripts.last                        # what is asked for of bodies and repeated headers, for both directions
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from meshproxy.dialects.fsm.draft import Data, Draft, plain_filters
from meshproxy.schema.kinds import cut
from meshproxy.schema.shapes import Path

SIDES = ("inbound", "outbound")
WHOLE: Data = {"buffer": {"request": "16MiB", "response": "16MiB"}}
LAST: Data = {"repeated": "last"}

_theirs = re.compile(r"/?modules/[^/]*\.js").fullmatch
_name = re.compile(r"/?plugins/(.*)\.js")


@dataclass(frozen=True, slots=True)
class Scripts:
    filters: Mapping[str, list[Data]]
    """In the place of scripts, for each direction, on rules of HTTP."""
    last: list[Data]
    """After all others."""

    @classmethod
    def of(cls, draft: Draft) -> Scripts:
        known = dict(draft.compat.plugin_filters)
        filters: dict[str, list[Data]] = {side: [] for side in SIDES}
        for chain, scripts in draft.said.chains:
            side, _, kind = chain.partition("-")
            for place, script in enumerate(scripts):
                if _theirs(script):
                    continue
                found = _name.fullmatch(script)
                name = found[1] if found else script
                path: Path = ("Chains", chain, place)
                if name not in known:
                    _unknown(draft, name, path)
                elif side in filters and kind == "http":
                    filters[side] += plain_filters(known[name])
                elif known[name].filters:
                    message = f"the filters of script `{cut(name)}` are for requests, and this chain is for connections"
                    draft.note("plugin", path, message)
        last = [WHOLE] if draft.compat.bodies == "buffered" else []
        return cls(filters, [*last, LAST] if draft.compat.headers == "last" else last)


def _unknown(draft: Draft, name: str, path: Path) -> None:
    if draft.compat.plugins == "refuse":
        draft.problem(path, f"script `{cut(name)}` does not run here, and `compat.plugin_filters` has nothing for it")
    else:
        draft.note("plugin", path, f"script `{cut(name)}` does not run here: it is left away")
