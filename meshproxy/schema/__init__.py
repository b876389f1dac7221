"""Formats as dataclasses: decode with every problem at once, encode, and describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from meshproxy.errors import Invalid
from meshproxy.schema.describe import json_schema as json_schema
from meshproxy.schema.describe import reference as reference
from meshproxy.schema.shapes import Found, Path, Told, struct_of, told

T = TypeVar("T")


def decode(
    cls: type[T], value: object, problem: Told = told, passed_over: Callable[[Path], None] | None = None
) -> T:
    """The value as a `cls`, or `Invalid` with every problem in it, as `problem` makes it of place and message.

    `passed_over` hears of each key that is not known, where those are no problem.
    """
    found = Found(problem, passed_over)
    decoded: T = struct_of(cls).read(value, (), found)
    if found.problems:
        raise Invalid(found.all())
    return decoded


def encode(instance: Any, *, redact: bool = False) -> dict[str, object]:
    """Canonical plain data, of which `decode` makes an equal instance. Secrets are in clear unless redacted."""
    written = struct_of(type(instance)).write(instance, redact)
    return written if isinstance(written, dict) else {struct_of(type(instance)).shorthand or "": written}
