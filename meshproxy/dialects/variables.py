"""`${NAME}` and `${NAME:-default}` in strings, from a given environment; `$${` stands for a plain `${`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

from meshproxy.schema.kinds import cut

Expand = Callable[[str], str]
"""What replaces the variables in a string; raises `ValueError` for one that is missing."""

LARGEST_GROWTH = 16 * 1024 * 1024

_VARIABLE = re.compile(r"(?P<escaped>\$\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{")


def expander(environment: Mapping[str, str]) -> Expand:
    """The function for one document, bounded: a small document must not grow without end."""
    left = LARGEST_GROWTH

    def replacement(found: re.Match[str]) -> str:
        nonlocal left
        if found["escaped"]:
            return "${"
        name, default = found["name"], found["default"]
        if name is None:
            raise ValueError(f"{cut(found.string)} holds no variable such as ${{NAME}} or ${{NAME:-default}}")
        value = environment.get(name, "")
        if not value and default is not None:
            return default
        if name not in environment:
            raise ValueError(f"variable `{cut(name)}` is not set, and has no default such as ${{{cut(name)}:-value}}")
        # At each variable, for one string can hold ten thousand of them.
        left -= len(value)
        if left < 0:
            raise ValueError(f"the variables hold more than {LARGEST_GROWTH >> 20} MiB")
        return value

    return partial(_VARIABLE.sub, replacement)
