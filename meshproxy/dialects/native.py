"""The native dialect: plain values that say what `Config` says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, decode


def load(value: Any, source: str, line_of: Callable[[str], int | None]) -> Document:
    """The document, decoded and not yet checked against others, or `Invalid` with the line of every problem."""
    try:
        config = decode(Config, value)
    except Invalid as invalid:
        problems = [replace(problem, source=source, line=line_of(problem.path)) for problem in invalid.problems]
        raise Invalid(problems) from None
    return Document(source, config, frozenset(value), line_of)
