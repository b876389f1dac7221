"""Any document -> the model. Pure: bytes, a name for messages and an environment in, a `Document` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType

from meshproxy.dialects import native, text, variables
from meshproxy.errors import Invalid
from meshproxy.model import Document
from meshproxy.schema.shapes import Path


def read(data: bytes, source: str, environment: Mapping[str, str] | None = None) -> Document:
    """The document in the bytes, or `Invalid`. Files get an environment; without one, the text is literal, and
    cannot include files."""
    content = text.decode(data, source)
    syntax = _syntax(content)
    value = syntax.parse(content, source, None if environment is None else variables.expander(environment))
    if not isinstance(value, dict):
        raise text.refusal(source, "the document must be a mapping", 1)
    if "apiVersion" in value and "kind" in value:
        raise text.refusal(source, "looks like a Kubernetes resource, which is not in this version", 1)
    document = native.load(value, source, _finder(syntax, content))
    if environment is None and "include" in document.said:
        problem = document.problem(("include",), "`include` names files: it is for files only")
        raise Invalid([problem])
    return document


def _syntax(content: str) -> ModuleType:
    """JSON where the document begins as only JSON is written: with a brace and a key in quotes."""
    brace = text.past_blanks(content, 0)
    if content.startswith("{", brace) and content.startswith(('"', "}"), text.past_blanks(content, brace + 1)):
        from meshproxy.dialects import json_text

        return json_text
    # A megabyte that a process with a JSON configuration does not need.
    from meshproxy.dialects import yaml12

    return yaml12


def _finder(syntax: ModuleType, content: str) -> Callable[[Path], int]:
    """Finds the line of a path, or of the nearest one above it that stands in the text."""
    lines = cache(lambda: syntax.lines(content))
    return lambda path: lines().of(path)
