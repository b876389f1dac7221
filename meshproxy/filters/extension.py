"""Filters that an operator brings: a class of a module, made with what its configuration says."""

from __future__ import annotations

import importlib
from typing import Any

from meshproxy.core.filter import Hooks, Scope
from meshproxy.model.routes import Extension


class Unloadable(Exception):
    """In words for whoever wrote the configuration."""


def build(said: Extension, scope: Scope) -> Hooks:
    module, _, name = said.call.partition(":")
    try:
        made = _found(module, name)(**said.config.value)
        hooks = made.build(scope)
    except Exception as error:
        raise Unloadable(f"{said.call}: {type(error).__name__}: {error}") from None
    if not isinstance(hooks, Hooks):
        raise Unloadable(f"{said.call}: build() returned {type(hooks).__name__}, not Hooks")
    return hooks


def _found(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
