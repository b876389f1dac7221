"""Where a policy stands: a document that is asked for by its address, or a repository of Pipy.

    place = Document(asked)                         # or Repository(asked, who)
    offer = await place.look("", anew=False)        # an Offer; raises Unanswered
    offer = await place.look(offer.version)         # None: it is still that version

A version is what the server calls it, its ETag.  Nothing but that two are equal or not means anything: a repository
counts upwards or hashes, with quotes or without, and puts a new date on what is old.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

from meshproxy.sources.asking import Asked, Unanswered

MOST_MANIFEST = 1 << 20
MOST_HEARD = 1 << 16
"""Bytes of an answer that says nothing to us."""
TRIES = 3
"""To read a repository that is being changed."""
CONFIGS = ("/config.json", "/config.json.gz")


@dataclass(frozen=True, slots=True)
class Offer:
    version: str
    """Empty where the server has no name for it."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Instance:
    """Who asks."""

    uuid: str
    name: str
    since: float


class Place(Protocol):
    async def look(self, known: str, *, anew: bool = False) -> Offer | None:
        """What stands there; None if that is `known`, unless it is to be read anew.  Raises Unanswered."""

    async def report(self, version: str, now: float) -> None:
        """Tell whoever wants to know what is in force, or nothing.  Raises Unanswered."""


class Document:
    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    async def look(self, known: str, *, anew: bool = False) -> Offer | None:
        conditional = known and not anew
        fields = [(b"Accept-Encoding", b"gzip")]
        if conditional:
            fields.append((b"If-None-Match", known.encode("latin-1")))
        answer = await self._asked.ask(b"GET", self._asked.target, fields)
        if conditional and answer.status == 304:
            return None
        return Offer(answer.expect(200).etag, answer.body)

    async def report(self, version: str, now: float) -> None:
        """Nobody wants to know."""


class Repository:
    """Which lists its files, the script first; of them only the configuration is for us."""

    def __init__(self, asked: Asked, who: Instance) -> None:
        self._asked = asked
        self._who = who
        self.base = asked.target if asked.target.endswith("/") else f"{asked.target}/"

    async def look(self, known: str, *, anew: bool = False) -> Offer | None:
        if known and not anew and await self._is(known):
            return None
        for _ in range(TRIES):
            manifest = (await self._asked.ask(b"GET", self.base, most=MOST_MANIFEST)).expect(200)
            found = (await self._asked.ask(b"GET", self.base + _config(manifest.body))).expect(200)
            # Where the files have names of their own, that of the list has to last.
            if found.etag == manifest.etag or await self._is(manifest.etag):
                return Offer(manifest.etag, found.body)
        raise Unanswered("it was changed each time that it was read")

    async def _is(self, version: str) -> bool:
        return (await self._asked.ask(b"HEAD", self.base)).expect(200).etag == version

    async def report(self, version: str, now: float) -> None:
        said = {
            "timestamp": int(now * 1000),
            "since": int(self._who.since * 1000),
            "uuid": self._who.uuid,
            "name": self._who.name,
            "ip": self._asked.local,
            "version": version,
            "modules": {},
            "logs": [],
        }
        body = json.dumps(said).encode()
        await self._asked.ask(b"POST", self.base, [(b"Content-Type", b"application/json")], body, most=MOST_HEARD)


def _config(manifest: bytes) -> str:
    """What to ask for, from the base on."""
    if not manifest.startswith(b"/") or manifest.startswith((b"//", b"/*")):
        raise Unanswered("what stands there is no list of files: a document needs `kind: document`")
    files = {line.strip() for line in manifest.split(b"\n")}
    found = next((name for name in CONFIGS if name.encode() in files), None)
    if found is None:
        raise Unanswered("it lists no config.json")
    return found.removeprefix("/")
