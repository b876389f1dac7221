"""Who a meshproxy says it is to the next one: a header line of that hop alone.

    line({"service": "books", "zone": "a"})     # b"X-Meshproxy-Peer: service=books;zone=a\r\n"
    read([b"service=books;zone=a"])             # {"service": "books", "zone": "a"}

It is a claim: whoever reads it has to know who has made it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote_to_bytes

KEYS = ("service", "namespace", "version", "zone")
LONGEST = 256
"""Bytes of the value."""

Said = Mapping[str, str]
"""By `KEYS`, of which `service` is always there."""

_part = rb"[a-z]+=(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})+"
_value = re.compile(rb"%b(?:;%b)*" % (_part, _part)).fullmatch


def line(said: Said) -> bytes:
    """With its end.  Nothing, where there is no service; what does not fit, or has no shape, is left out."""
    parts: list[str] = []
    for key in KEYS:
        text = said.get(key, "")
        if text and text.isprintable():
            part = f"{key}={quote(text, safe='')}"
            if len(";".join([*parts, part])) <= LONGEST:
                parts.append(part)
    if not parts or not parts[0].startswith("service="):
        return b""
    return b"X-Meshproxy-Peer: %b\r\n" % ";".join(parts).encode("ascii")


def read(values: Sequence[bytes]) -> Said | None:
    """All values of the field; None where they are no introduction.  Keys of a later version mean nothing here."""
    if len(values) != 1 or len(values[0]) > LONGEST or not _value(values[0]):
        return None
    pairs = [part.split("=") for part in values[0].decode("ascii").split(";")]
    found = dict(pairs)
    if len(found) < len(pairs) or "service" not in found:
        return None
    said = {}
    for key in KEYS:
        if key in found:
            try:
                text = unquote_to_bytes(found[key]).decode()
            except UnicodeDecodeError:
                return None
            if not text.isprintable():
                return None
            said[key] = text
    return said
