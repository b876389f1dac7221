"""The metrics of other meshes, by their names and labels, made of what we count: their dashboards go on to work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meshproxy.observe.exposition import Family
from meshproxy.observe.presets import fsm, istio, linkerd
from meshproxy.observe.presets.identity import Identity as Identity
from meshproxy.observe.presets.identity import identity_of as identity_of

Preset = Callable[[Mapping[str, Any], Identity], list[Family]]

PRESETS: Mapping[str, Preset] = {"fsm": fsm.families, "istio": istio.families, "linkerd": linkerd.families}
