"""What nobody who watches is shown: the values of a query, and of fields that hold secrets.

    target(b"/books;v=1?page=2&key=s3cret")     # "/books;v=*?page=*&key=*"
    field(b"Cookie", b"session=s3cret")         # ("Cookie", "*")

Names stay, since they say what was asked for.  Which values are harmless nobody can know, so that none is shown.
"""

from __future__ import annotations

import re

HIDDEN = "*"
LONGEST_TARGET = 1024
LONGEST_VALUE = 256
MOST_FIELDS = 64
LONGEST_READ = 4096
"""Of a value.  What stands behind it is cut off before anything is looked for."""

_SECRET = re.compile(
    "auth|cookie|token|secret|passw|passphrase|api-?key|access-?key|credential|session|signature|jwt|private",
    re.IGNORECASE,
)
_PARAMETER = re.compile(r"(;[^=;/]*=)[^;/]+")
"""Of a segment of a path, as in `/cart;jsessionid=...`."""
_VALUE = re.compile("=[^&]+")
_NAMELESS = re.compile("(?:^|(?<=&))[^&=]+(?=&|$)")
"""May be a name or a value."""
_USER = re.compile(r"://(?:[^/?#\s]*@|[^/?#\s]{254,})")
"""A name and a password before a host; or more than a host can be, which may have lost its end."""
_QUERY = re.compile("[?#]")


def target(raw: bytes) -> str:
    """A path with its query, or what stands in its place."""
    return cut(_address(raw[: LONGEST_TARGET + 1].decode("latin-1")), LONGEST_TARGET)


def field(name: bytes, value: bytes) -> tuple[str, str]:
    said = cut(name.decode("latin-1"), LONGEST_VALUE)
    if _SECRET.search(said):
        return said, HIDDEN
    text = value[:LONGEST_READ].decode("latin-1")
    is_address = text.startswith("/") or "://" in text
    return said, cut(_address(text) if is_address else _without_query(text), LONGEST_VALUE)


def fields(found: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Of a head, as far as it is shown."""
    return [field(name, value) for name, value in found[:MOST_FIELDS]]


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _address(text: str) -> str:
    text = _without_query(_USER.sub(f"://{HIDDEN}@", text))
    found = _QUERY.search(text)
    end = found.start() if found is not None else len(text)
    return _PARAMETER.sub(rf"\1{HIDDEN}", text[:end]) + text[end:]


def _without_query(text: str) -> str:
    """Its values; those of a fragment too, which may be the answer to who has signed in."""
    found = _QUERY.search(text)
    if found is None:
        return text
    start = found.end()
    return text[:start] + _NAMELESS.sub(HIDDEN, _VALUE.sub(f"={HIDDEN}", text[start:]))
