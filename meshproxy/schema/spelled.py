"""Plain data as JSON, piece by piece: one call of `json` for all of it would hold every other thread still.

    "".join(spelled({"b": [1, 2], "a": None}, sort_keys=True))      # '{"a":null,"b":[1,2]}'
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

MANY = 64
"""Items that go into one piece, if there are more."""


def spelled(value: object, *, sort_keys: bool = False, ensure_ascii: bool = True) -> Iterator[str]:
    """What `json.dumps` makes of it with the shortest separators."""
    encoder = json.JSONEncoder(sort_keys=sort_keys, ensure_ascii=ensure_ascii, separators=(",", ":"))
    return _pieces(value, encoder.encode, sort_keys)


def _pieces(value: object, encode: Callable[[object], str], sort_keys: bool) -> Iterator[str]:
    if isinstance(value, list) and len(value) > MANY:
        for start in range(0, len(value), MANY):
            yield "," if start else "["
            yield encode(value[start : start + MANY])[1:-1]
        yield "]"
    elif isinstance(value, dict) and not _is_small(value):
        keys = sorted(value) if sort_keys else value
        for number, key in enumerate(keys):
            yield f"{',' if number else '{'}{encode(key)}:"
            yield from _pieces(value[key], encode, sort_keys)
        yield "}"
    elif isinstance(value, list) and not _is_small(value):
        for number, item in enumerate(value):
            yield "," if number else "["
            yield from _pieces(item, encode, sort_keys)
        yield "]"
    else:
        yield encode(value)


def _is_small(value: object) -> bool:
    """Whether nothing in it has many items; what is one of many is small."""
    if not isinstance(value, dict | list):
        return True
    return len(value) <= MANY and all(map(_is_small, value.values() if isinstance(value, dict) else value))
