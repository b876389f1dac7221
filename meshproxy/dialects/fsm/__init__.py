"""The configuration of the sidecar of FSM and osm-edge: one JSON document that holds all that one workload needs.

    words = translate([Sheet("config.json", value)], Setting())

What the sidecar of FSM does wrong is done right, and can be had back by `compat`: see docs/fsm.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshproxy.dialects.translation import Setting, Sheet, Words

_KEYS = frozenset(("Ts", "Version", "Spec", "Certificate", "Inbound", "Outbound", "AllowedEndpoints", "Chains"))


def recognises(value: Any) -> bool:
    """It has at least the sections that every one of them has; ours begin with small letters."""
    return "Spec" in value and not _KEYS.isdisjoint(value.keys() - {"Spec"})


def translate(sheets: Sequence[Sheet], setting: Setting) -> Words:
    """What the document means for the workload that it is for."""
    from meshproxy.dialects.fsm import policy

    return policy.translate(sheets, setting)
