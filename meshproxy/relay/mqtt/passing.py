"""Packets that go on nearly as they came: with another topic, and otherwise as the bytes that they were.

    changed = [buffer[:at], renamed(first, b"new/topic", buffer[mark:end])]
    pass_on(conn, changed, buffer, end, len(buffer))        # and what follows, in one write
"""

from __future__ import annotations

from typing import Any

from meshproxy.wire.mqtt.fields import number


def renamed(first: int, topic: bytes, rest: bytes) -> bytes:
    """A PUBLISH that begins with this byte; `rest` is what follows its topic."""
    size = len(topic)
    return b"".join((bytes((first,)), number(2 + size + len(rest)), size.to_bytes(2, "big"), topic, rest))


def pass_on(conn: Any, changed: list[bytes], buffer: bytes, begin: int, end: int) -> None:
    """What is as it was, behind what was changed before; the list is empty then."""
    piece = buffer if begin == 0 and end == len(buffer) else buffer[begin:end]
    if changed:
        changed.append(piece)
        piece = b"".join(changed)
        changed.clear()
    if piece:
        conn.write(piece)
