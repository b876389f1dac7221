"""What the processes of one proxy say to each other: a kind, a few fields, and the size of a body that travels beside.

    encode("prepare", {"id": 7}, 52_000)  ->  b'{"kind": "prepare", "body": 52000, "id": 7}'

One message is one packet of at most `LARGEST` bytes; docs/workers.md lists the kinds.  At a hot restart the two ends
may be of two versions, so a successor says its `VERSION` first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

VERSION = 1
LARGEST = 32 * 1024
LARGEST_BODY = 512 * 1024 * 1024


class Malformed(Exception):
    """Not a message of this protocol."""


def encode(kind: str, fields: Mapping[str, Any], body: int) -> bytes:
    packet = json.dumps({"kind": kind, "body": body, **fields}).encode()
    if len(packet) > LARGEST:
        raise ValueError(f"a message of kind {kind!r} has {len(packet)} bytes; what is large belongs in its body")
    return packet


def decode(packet: bytes) -> tuple[str, dict[str, Any], int]:
    try:
        fields = json.loads(packet)
        kind, body = fields.pop("kind"), fields.pop("body")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise Malformed from None
    if not isinstance(kind, str) or type(body) is not int or not 0 <= body <= LARGEST_BODY:
        raise Malformed
    return kind, fields, body
