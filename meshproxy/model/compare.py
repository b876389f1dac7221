"""Two configurations side by side: the version of each, the changes in words, and secrets carried over."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from meshproxy.errors import Invalid, Problem
from meshproxy.model.config import Cluster, Config, Listener
from meshproxy.schema import encode


def version(config: Config) -> str:
    """The same for equal configurations, and for the same one in the next release."""
    text = json.dumps(encode(config, redact=True), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()


def diff(old: Config, new: Config) -> list[str]:
    """What changes, in short words: "listener web: added", "cluster books: changed (endpoints)"."""
    return [
        *(f"{name}: changed ({_fields(getattr(old, name), getattr(new, name))})" for name in _sections(old, new)),
        *_named("listener", {item.name: item for item in old.listeners}, {item.name: item for item in new.listeners}),
        *_named("cluster", {item.name: item for item in old.clusters}, {item.name: item for item in new.clusters}),
    ]


def _sections(old: Config, new: Config) -> Iterator[str]:
    for field in dataclasses.fields(Config):
        if field.name not in ("listeners", "clusters") and getattr(old, field.name) != getattr(new, field.name):
            yield field.name


def _fields(old: Any, new: Any) -> str:
    if not dataclasses.is_dataclass(old) or not dataclasses.is_dataclass(new):
        return "removed" if new is None else "added" if old is None else "value"
    names = (field.name for field in dataclasses.fields(old))
    return ", ".join(name for name in names if getattr(old, name) != getattr(new, name))


def _named(what: str, old: Mapping[str, Listener | Cluster], new: Mapping[str, Listener | Cluster]) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if name not in new:
            yield f"{what} {name}: removed"
        elif name not in old:
            yield f"{what} {name}: added"
        elif old[name] != new[name]:
            yield f"{what} {name}: changed ({_fields(old[name], new[name])})"


def restore(config: Config, known: Config) -> Config:
    """The configuration with each secret that came back redacted as it is in `known`, or `Invalid`."""
    token = config.admin.token
    if token is None or token.text is not None:
        return config
    if token != known.admin.token:
        raise Invalid([Problem("admin.token", "`token` is redacted, and is not the one in force: write it in clear")])
    return dataclasses.replace(config, admin=dataclasses.replace(config.admin, token=known.admin.token))
