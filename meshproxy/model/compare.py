"""Two configurations side by side: the version of each, the changes in words, and secrets carried over."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from meshproxy.errors import Invalid, Problem
from meshproxy.model.config import Config
from meshproxy.schema import encode


def version(config: Config) -> str:
    """The same for equal configurations, and for the same one in the next release."""
    text = json.dumps(encode(config, redact=True), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()


def diff(old: Config, new: Config) -> list[str]:
    """What changes, in short words: "listener web: added", "cluster books: changed (endpoints)"."""
    return [*_changes(_parts(old), _parts(new))]


def _parts(config: Config) -> dict[str, Any]:
    """Everything that is named in a diff, under its name there. A part that is absent is not in it."""
    sections = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    named = {what: sections.pop(f"{what}s") for what in ("listener", "route", "cluster")}
    return {
        **{name: section for name, section in sections.items() if section is not None},
        **{f"{what} {part.name}": part for what, parts in named.items() for part in parts},
    }


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in old:
        if name not in new:
            yield f"{name}: removed"
    for name, part in new.items():
        if name not in old:
            yield f"{name}: added"
        elif part != old[name]:
            yield f"{name}: changed{_fields(old[name], part)}"


def _fields(old: Any, new: Any) -> str:
    if not dataclasses.is_dataclass(new):
        return ""
    changed = [field.name for field in dataclasses.fields(new) if getattr(old, field.name) != getattr(new, field.name)]
    return f" ({', '.join(changed)})"


def restore(config: Config, known: Config) -> Config:
    """The configuration with each secret that came back redacted as it is in `known`, or `Invalid`."""
    token = config.admin.token
    if token is None or token.text is not None:
        return config
    if token != known.admin.token:
        raise Invalid([Problem("admin.token", "`token` is redacted, and is not the one in force: write it in clear")])
    return dataclasses.replace(config, admin=dataclasses.replace(config.admin, token=known.admin.token))
