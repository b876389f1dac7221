"""What a stream is for, as its opener says it: where it goes, and for whom.

    bytes(Purpose(("10.1.0.5", 80), ("10.2.0.9", 41234), "shop/books"))
    bytes(Purpose(("10.1.0.53", 53), ("10.2.0.9", 41234), datagrams=True))
    read_purpose(data)                  # raises Fault
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from meshproxy.wire.mux.frames import Fault, Reason

LONGEST_IDENTITY = 1024

Where = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Purpose:
    to: Where
    source: Where | None = None
    """Who has connected at the other end of the tunnel."""
    identity: str = ""
    """Who that has proved to be there."""
    datagrams: bool = False
    """Whether it is a flow: datagrams come and go, and no bytes."""
    coding: str = ""
    """How both its directions are compressed, in words of the other end's hello; empty: they are not."""
    lane: str = ""
    """The class that it has at this end, by its name: it has the same at the other end, if that has such a one."""

    def __bytes__(self) -> bytes:
        said = {
            "to": self.to, "from": self.source, "identity": self.identity, "datagrams": self.datagrams,
            "coding": self.coding, "lane": self.lane,
        }  # fmt: skip
        return json.dumps({key: value for key, value in said.items() if value}, separators=(",", ":")).encode()


def read_purpose(data: bytes) -> Purpose:
    try:
        said: Any = json.loads(data)
        source = said.get("from")
        found = Purpose(
            _where(said["to"]), _where(source) if source is not None else None, said.get("identity", ""),
            said.get("datagrams", False), said.get("coding", ""), said.get("lane", ""),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Fault(Reason.MALFORMED, "a stream does not say what it is for") from None
    for text, most in ((found.identity, LONGEST_IDENTITY), (found.coding, 64), (found.lane, 64)):
        if not isinstance(text, str) or len(text) > most or not text.isprintable():
            raise Fault(Reason.MALFORMED, "a stream says of itself what cannot be")
    if not isinstance(found.datagrams, bool):
        raise Fault(Reason.MALFORMED, "a stream says of itself what cannot be")
    return found


def _where(said: Any) -> Where:
    """An address: names are looked up at the end that says them, where a zone means something as well."""
    host, port = said
    if type(port) is not int or not 0 < port < 65536:
        raise ValueError
    if type(host) is not str:  # a number would be read as an address
        raise TypeError
    return str(ip_address(host.partition("%")[0])), port
