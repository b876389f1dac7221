"""Paths made regular, so that what a rule has looked at is what the upstream sees.

    regular = normaliser(PathRules())
    regular(b"/a/./b/%7euser//x")         # b"/a/b/~user/x"
    regular(b"/a/..%2Fadmin")             # raises Irregular("escaped_slash")

Whoever decodes or resolves more than the one before him decides about another path.  So what two servers could read in
two ways is resolved here, or refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from meshproxy.model.http import PathRules

Normalise = Callable[[bytes], bytes]

_regular = re.compile(rb"(?:/[^%\\/.][^%\\/]*+)*/?").fullmatch
"""Most paths: nothing in them can be read in two ways."""
_escape = re.compile(rb"%([0-9A-Fa-f]{2})").sub
_escaped_slash = re.compile(rb"%2F|%5C|\\").search
_slashes = re.compile(rb"%2F|%5C|\\").split
_overlong = re.compile(rb"%(?:C[01]|E0%[89]|F0%8|F[5-9A-F])").search
"""UTF-8 that says a short thing in a long way, `/` and `.` among them; and what is no UTF-8 at all."""

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
DOTS = (b".", b"..")


class Irregular(ValueError):
    """A path that two servers could read in two ways."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def normaliser(rules: PathRules) -> Normalise:
    merges, refuses_slashes = rules.slashes == "merge", rules.slashes == "refuse"
    refuses_dots, refuses_escapes = rules.dot_segments == "refuse", rules.escaped_slashes == "refuse"

    def regular(path: bytes) -> bytes:
        if _regular(path):
            return path
        if b"%" in path or b"\\" in path:
            path = _escape(_decoded, path)
            if _overlong(path):
                raise Irregular("overlong_utf8")
            if _escaped_slash(path):
                if refuses_escapes:
                    raise Irregular("escaped_slash")
                if any(_hides_dots(segment) for segment in path.split(b"/")):
                    raise Irregular("dot_segment")
        if b"//" in path:
            if refuses_slashes:
                raise Irregular("double_slash")
            if merges:
                path = _merged(path)
        if b"/." in path:
            path = _resolved(path, refuses_dots)
        return path

    return regular


def _hides_dots(segment: bytes) -> bool:
    """Whether it has a dot segment for whoever takes an escaped slash for one."""
    parts = _slashes(segment)
    return len(parts) > 1 and not set(DOTS).isdisjoint(parts)


def _decoded(found: re.Match[bytes]) -> bytes:
    """One escape: what need not be escaped is not, and the rest is spelt in capitals."""
    byte = int(found[1], 16)
    return bytes((byte,)) if byte in _UNRESERVED else found[0].upper()


def _merged(path: bytes) -> bytes:
    while b"//" in path:
        path = path.replace(b"//", b"/")
    return path


def _resolved(path: bytes, refuses: bool) -> bytes:
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment.startswith((b".;", b"..;")):
            # To some servers a parameter of a segment is not part of it
            raise Irregular("dot_segment")
        if segment not in DOTS:
            kept.append(segment)
            continue
        if refuses or (segment == b".." and not kept):
            raise Irregular("dot_segment")
        if segment == b"..":
            kept.pop()
    if segments[-1] in DOTS:
        kept.append(b"")
    return b"/" + b"/".join(kept)
