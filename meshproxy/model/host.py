"""Host names as DNS takes them, in labels: what an operator may write is what can be asked for."""

from __future__ import annotations

import re

Name = tuple[bytes, ...]
"""Labels in small letters, since DNS compares them without case; the root is the empty tuple."""

LONGEST_NAME, LONGEST_LABEL = 255, 63

_LABEL = re.compile(rb"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")


def labels(text: str) -> Name:
    """Those of a host name, with or without its final dot; a ValueError says why it is none."""
    if not text.isascii():
        raise ValueError("write a name outside ASCII in its xn-- form")
    found = tuple(text.lower().removesuffix(".").encode().split(b"."))
    if not fits(found):
        raise ValueError(f"it is longer than {LONGEST_NAME - 2} characters")
    for label in found:
        if not label or len(label) > LONGEST_LABEL:
            raise ValueError(f"what stands between dots has 1 to {LONGEST_LABEL} characters")
        if not _LABEL.fullmatch(label):
            raise ValueError("letters, digits, _ and, within a label, - are what it is made of")
    if found[-1].isdigit():
        raise ValueError("it ends in a number, as an address does")
    return found


def fits(name: Name) -> bool:
    return sum(map(len, name)) + len(name) + 1 <= LONGEST_NAME
