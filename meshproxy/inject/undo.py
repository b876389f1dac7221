"""What an injection left behind, and the pod as it was before.

What was added is named in the annotation `meshproxy.io/status`, and what was rewritten stands there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from meshproxy import __version__
from meshproxy.inject import probes
from meshproxy.inject.options import STATUS

SHARED = "shareProcessNamespace"
LISTS = ("initContainers", "containers", "volumes")


@dataclass(slots=True)
class Injection:
    """What was done to a pod."""

    template: str
    """The hash of what was added."""
    added: dict[str, list[str]]
    """Names, by list of the `spec`; keys of annotations."""
    probes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What their handlers were, by container and probe."""
    fields: dict[str, Any] = field(default_factory=dict)
    """What fields of the `spec` said before; null: nothing."""

    def text(self) -> str:
        original = {"probes": self.probes, "fields": self.fields}
        said = {"version": __version__, "template": self.template, **self.added, "original": original}
        return json.dumps(said, ensure_ascii=False)

    @classmethod
    def of(cls, text: str) -> Injection:
        """Of what is not such a text, ValueError."""
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            said = json.loads(text)
            found = cls(said["template"], {key: said[key] for key in (*LISTS, "annotations")}, **said["original"])
            if found.sound:
                return found
        raise ValueError("is not what an injection leaves: take it away, and what was injected with it")

    @property
    def sound(self) -> bool:
        """Anybody may write an annotation."""
        lists = all(isinstance(names, list) and {*map(type, names)} <= {str} for names in self.added.values())
        mappings = isinstance(self.probes, dict) and all(
            isinstance(of_one, dict) and all(isinstance(probe, dict) and len(probe) == 1 for probe in of_one.values())
            for of_one in self.probes.values()
        )
        return lists and mappings and isinstance(self.fields, dict) and self.fields.keys() <= {SHARED}


def undo(pod: Mapping[str, Any], injection: Injection | None) -> dict[str, Any]:
    """The pod as it was, without what is empty or null: whether that stands there makes no difference."""
    metadata, spec = dict(pod.get("metadata") or {}), dict(pod["spec"])
    if injection is not None:
        annotations = metadata["annotations"].items()
        gone = {STATUS, *injection.added["annotations"]}
        metadata["annotations"] = {key: value for key, value in annotations if key not in gone}
        for key in LISTS:
            spec[key] = [item for item in spec.get(key) or () if item["name"] not in injection.added[key]]
        spec |= injection.fields
    for key in LISTS[:2]:
        originals = injection.probes if injection else {}
        spec[key] = [probes.restore(each, originals.get(each["name"], {})) for each in spec.get(key) or ()]
    for mapping, keys in ((metadata, ("annotations",)), (spec, ("initContainers", "volumes", SHARED))):
        for key in keys:
            if mapping.get(key) in (None, [], {}):
                mapping.pop(key, None)
    bare = {key: metadata if key == "metadata" else spec if key == "spec" else value for key, value in pod.items()}
    if not metadata:
        bare.pop("metadata", None)
    return bare
