"""What a request says that would go on as a WebSocket, and whether it may (RFC 6455 4.2).

    offer = understood(head, b"mqtt")       # its key; raises Declined, with the status that is owed
    may_come(b"https://panel.example", head.authority, frozenset())
"""

from __future__ import annotations

from meshproxy.wire.h1 import Malformed, RequestHead
from meshproxy.wire.h1.authority import Authority, parse
from meshproxy.wire.h1.grammar import OWS
from meshproxy.wire.websocket_server import is_key

VERSION = b"13"
ANY = b"*"
_PORTS = {b"http": 80, b"https": 443}


class Declined(ValueError):
    """It does not become one."""

    def __init__(self, status: int, word: str) -> None:
        super().__init__(word)
        self.status = status


def understood(head: RequestHead, protocol: bytes) -> bytes:
    """The key that it offers, if it asks for this subprotocol as it should."""
    if head.method != b"GET":
        raise Declined(405, "a_websocket_begins_with_get")
    if head.upgrade != b"websocket" or head.get(b"sec-websocket-version") != VERSION:
        raise Declined(426, "only_websocket_of_version_13_is_spoken_here")
    keys = head.all(b"sec-websocket-key")
    if len(keys) != 1 or not is_key(keys[0]):
        raise Declined(400, "no_key_of_a_websocket")
    offered = (each.strip(OWS) for value in head.all(b"sec-websocket-protocol") for each in value.split(b","))
    if protocol not in offered:
        raise Declined(400, "the_subprotocol_is_not_offered")
    return keys[0]


def may_come(origins: list[bytes], asked: Authority, allowed: frozenset[bytes]) -> bool:
    """Whether a page of this origin may, where these are allowed, or else those of the host that is asked."""
    if not origins or ANY in allowed:
        return True
    if len(origins) > 1:
        return False
    origin = origins[0].lower()
    if allowed:
        return origin in allowed
    scheme, mark, rest = origin.partition(b"://")
    default = _PORTS.get(scheme)
    if not mark or default is None:
        return False
    try:
        page = parse(rest)
    except Malformed:
        return False
    return page.host == asked.host and (page.port or default) == (asked.port or default)
