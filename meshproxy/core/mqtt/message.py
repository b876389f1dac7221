"""An application message, on its way from whoever published it to whoever wants it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Message:
    topic: bytes
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: dict[int, Any] = field(default_factory=dict)
    """Of 5.0, without those that are for one hop; nobody changes them."""
    publisher: str = ""
    """The client id, where a client of ours has published it."""
