"""Topics with a client's own words in them, and what a word may not do.

    fill = template("plant/%c/#")
    fill(Client("press-7", "ann", "", "", 5))       # b"plant/press-7/#"
    fill(Client("+", "ann", "", "", 5))             # None: it would be everybody's

A word that is empty, has a `/` or a wildcard in it, or begins a topic with `$` makes no topic at all: whatever a client
calls itself, it gets at most what stands under that name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import attrgetter

from meshproxy.core.mqtt.client import Client

LONGEST_TOPIC = 65535

Fill = Callable[[Client], bytes | None]

_WORDS: dict[str, Callable[[Client], str]] = {
    "%c": attrgetter("id"),
    "%u": attrgetter("user"),
    "%i": attrgetter("identity"),
}
_pieces = re.compile(r"(%[cui%])").split
_fits = re.compile(r"[^/+#\x00]+").fullmatch


def literal(text: str) -> bytes | None:
    """Of a text without variables, what it says; None, if it has any."""
    pieces = _pieces(text)
    if not _WORDS.keys().isdisjoint(pieces):
        return None
    return text.replace("%%", "%").encode()


def template(text: str) -> Fill:
    said = literal(text)
    if said is not None:
        return lambda _: said
    pieces = [_WORDS.get(piece) or piece.replace("%%", "%") for piece in _pieces(text)]
    begins = not pieces[0]

    def fill(client: Client) -> bytes | None:
        made = ""
        for piece in pieces:
            if isinstance(piece, str):
                made += piece
                continue
            word = piece(client)
            if not _fits(word):
                return None
            made += word
        if begins and made.startswith("$"):
            return None
        try:
            topic = made.encode()
        except UnicodeEncodeError:
            return None
        return topic if len(topic) <= LONGEST_TOPIC else None

    return fill
