"""Formats as dataclasses: decode with every problem at once, encode, and describe."""

from __future__ import annotations

from typing import Any, TypeVar

from meshproxy.errors import Invalid
from meshproxy.schema.describe import json_schema as json_schema
from meshproxy.schema.describe import reference as reference
from meshproxy.schema.shapes import Found, Told, struct_of, told

T = TypeVar("T")


def decode(cls: type[T], value: object, problem: Told = told) -> T:
    """The value as a `cls`, or `Invalid` with every problem in it, as `problem` makes it of place and message."""
    found = Found(problem)
    decoded: T = struct_of(cls).read(value, (), found)
    if found.problems:
        raise Invalid(found.all())
    return decoded


def encode(instance: Any, *, redact: bool = False) -> dict[str, object]:
    """Canonical plain data, of which `decode` makes an equal instance. Secrets are in clear unless redacted."""
    written = struct_of(type(instance)).write(instance, redact)
    return written if isinstance(written, dict) else {struct_of(type(instance)).shorthand or "": written}
