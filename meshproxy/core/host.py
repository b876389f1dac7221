"""Hosts as rules name them: `shop.local:8080` is asked for as itself, as its name, as `*.local`, as `*`.

spellings(b"Shop.local:8080", most_labels=1)
# [b"shop.local:8080", b"shop.local", b"*.local:8080", b"*.local", b"*"]
"""

from __future__ import annotations

from collections.abc import Iterator

ANY = b"*"


def spellings(host: bytes, most_labels: int) -> list[bytes]:
    """Every host of a rule that takes this one, the most specific first; a suffix has at most so many labels."""
    name, colon, port = host.lower().rpartition(b":")
    if not colon or not (port.isdigit() or not port):
        # No port, or the end of a bare IPv6 address.
        name, port = host.lower(), b""
    found = []
    for spelling in (name, *_suffixes(name, most_labels)):
        if port:
            found.append(b"%b:%b" % (spelling, port))
        found.append(spelling)
    return [*found, ANY]


def labels(host: bytes) -> int:
    """How many labels the suffix of a rule's host has; none where it is a name or `*`."""
    return host.count(b".") if host.startswith(b"*.") else 0


def rank(host: bytes) -> tuple[int, int, bytes, bool]:
    """Where the host of a rule stands among others: names, then suffixes, the longest first, then any host.

    With a port it stands before the same without, as in `spellings`.
    """
    name, colon, _ = host.rpartition(b":") if not host.endswith(b"]") else (host, b"", b"")
    kind = 2 if host == ANY else 1 if host.startswith(b"*.") else 0
    return kind, -labels(host), name if colon else host, not colon


def _suffixes(name: bytes, most_labels: int) -> Iterator[bytes]:
    if most_labels:
        parts = name.split(b".")
        for start in range(max(1, len(parts) - most_labels), len(parts)):
            yield b"*.%b" % b".".join(parts[start:])
