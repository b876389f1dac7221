"""What each end says first on a link: which tunnel this is, whether it was there before, and what it takes.

    Hello("books-to-centre", "", "", Terms())           # a session that is to begin
    read_hello(data)                                    # raises Fault
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from meshproxy.wire.mux.frames import Fault, Reason
from meshproxy.wire.mux.squeeze import is_name

VERSION = 1
LARGEST = 2048
MOST_STREAMS = 1_000_000
MOST_WINDOW = 1 << 30
MOST_CODINGS = 8
_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}").fullmatch
_SESSION = re.compile(r"(?:[0-9a-f]{32})?").fullmatch
_SECRET = re.compile(r"(?:[0-9a-f]{64})?").fullmatch


@dataclass(frozen=True, slots=True)
class Hello:
    tunnel: str
    session: str
    """Which one goes on; empty: a new one begins."""
    secret: str
    """That only the two ends of that session know."""
    streams: int
    """Of the other end, that are taken at a time."""
    window: int
    """Bytes of a stream that are taken before anybody asks for them."""
    reads: tuple[str, ...] = ()
    """How streams may be compressed; who does not say it reads what is not."""

    def __bytes__(self) -> bytes:
        said = {"version": VERSION, **{name: getattr(self, name) for name in Hello.__slots__}}
        return json.dumps(said, separators=(",", ":")).encode()


def read_hello(data: bytes) -> Hello:
    if len(data) > LARGEST:
        raise Fault(Reason.MALFORMED, "a hello is too long")
    try:
        said: Any = json.loads(data)
        version = said.pop("version")
        if type(version) is not int:
            raise TypeError
        if version != VERSION:
            raise Fault(Reason.VERSION, f"version {version} is spoken, not {VERSION}")
        reads = said.pop("reads", [])
        if type(reads) is not list:
            raise TypeError
        found = Hello(**{name: said[name] for name in Hello.__slots__ if name != "reads"}, reads=tuple(reads))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Fault(Reason.MALFORMED, "what was said first is no hello") from None
    if not _sound(found):
        raise Fault(Reason.MALFORMED, "a hello says what cannot be")
    return found


def _sound(said: Hello) -> bool:
    texts = (said.tunnel, said.session, said.secret)
    return (
        all(isinstance(text, str) for text in texts)
        and _NAME(said.tunnel) is not None
        and _SESSION(said.session) is not None
        and _SECRET(said.secret) is not None
        and bool(said.session) == bool(said.secret)
        and type(said.streams) is int
        and type(said.window) is int
        and 0 <= said.streams <= MOST_STREAMS
        and 1 <= said.window <= MOST_WINDOW
        and len(said.reads) <= MOST_CODINGS
        and all(isinstance(name, str) and is_name(name) is not None for name in said.reads)
    )
