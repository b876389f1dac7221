"""The native dialect: plain values that say what `Config` says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from meshproxy.model import Config, Document, decode
from meshproxy.schema.shapes import Path


def load(value: Any, source: str, line_of: Callable[[Path], int | None]) -> Document:
    """The document, decoded and not yet checked against others, or `Invalid` with the line of every problem."""
    document = Document(source, Config(), frozenset(value), line_of)
    return replace(document, config=decode(Config, value, document.problem))
