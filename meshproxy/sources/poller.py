"""One source, asked again and again; what it says is a layer of the configuration.

    poller = Poller(said, Document(asked), layers, clock, pace, stats, log)
    await poller.run()          # for ever
    poller.wake()               # it has changed: ask now

What a source says last stays in force until it says something else that is good: neither silence, nor an answer that
it knows nothing of us, nor a policy that cannot be taken ends it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal, Protocol

from meshproxy.dialects.text import unzipped
from meshproxy.errors import Invalid
from meshproxy.model import Source
from meshproxy.net.clock import Clock
from meshproxy.observe.log import Level, Log
from meshproxy.observe.metrics.process import SourceStats
from meshproxy.sources.asking import Unanswered, Word
from meshproxy.sources.pace import Pace
from meshproxy.sources.places import Place

BETWEEN = 0.5
"""Seconds from one look to another at least, however often a source says that it has changed."""
REFUSED_FOR = 300.0
"""Seconds after which what was refused is tried again: a file that it names may be there by then."""
LOG_EVERY = 60.0
"""Seconds between two lines that say the same of one source."""

Result = Literal["changed", "unchanged", "refused"]


class Layers(Protocol):
    """The configuration, to which a source adds a layer."""

    closed: bool
    generation: int

    def revision(self, name: str) -> str | None:
        """What its source calls the layer in force; empty where another put it, None where there is none."""

    async def called(self, name: str, before: str, revision: str) -> None:
        """The same layer has another name from now on."""

    async def put(self, name: str, body: bytes, *, source: str, revision: str) -> object:
        """Raises Invalid."""


@dataclass(frozen=True, slots=True)
class _Refused:
    generation: int
    """In force when it was refused."""
    at: float
    words: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was looked at last."""

    version: str
    digest: str
    refused: _Refused | None = None

    @property
    def revision(self) -> str:
        """What it is called, also where its source has no name for it."""
        return self.version or f"sha256:{self.digest[:16]}"


class Poller:
    def __init__(
        self, said: Source, place: Place, layers: Layers, clock: Clock, pace: Pace, stats: SourceStats, log: Log
    ) -> None:
        self.state = "waiting"
        """`waiting` for a first answer, `serving`, or why not all is well: `refused`, `gone`, `denied`, `failed`."""
        self.error: str | None = None
        self.answered: float | None = None
        """When something came that could be made use of, as Unix time."""
        self._said = said
        self._place = place
        self._layers = layers
        self._clock = clock
        self._pace = pace
        self._stats = stats
        self._log = log
        self._seen: _Seen | None = None
        self._next = clock.now()
        self._called = False

    @property
    def version(self) -> str | None:
        """What is in force of it, in its own words, where that is known."""
        return self._layers.revision(self._said.name) or None

    @property
    def next_in(self) -> float:
        return max(0.0, self._next - self._clock.now())

    def wake(self) -> None:
        self._called = True
        self._pace.wake()

    async def run(self) -> None:
        while True:
            began = self._clock.now()
            called, self._called = self._called, False
            pause = await self.look(anew=called)
            self._next = self._clock.now() + pause
            while (left := self._due(began) - self._clock.now()) > 0:
                await self._pace.rest(left)

    def _due(self, began: float) -> float:
        """However many calls have come by then, they are one."""
        return began + BETWEEN if self._called else self._next

    async def look(self, *, anew: bool = False) -> float:
        """Ask once; how long to rest then."""
        if self._layers.closed:
            return self._pace.regular(self._said.every)
        try:
            result = await self._looked(anew)
        except Unanswered as why:
            return self._failed(why.word, str(why))
        except Exception as error:  # what is wrong here is not to end all questions, and that in silence
            self._log.error("source-broken", source=self._said.name, error=repr(error))
            return self._failed(Unanswered.word, "a fault of the proxy; the log says more")
        if result is None:
            return self._pace.regular(self._said.every)
        self._stats.polls[result] += 1
        self._stats.up = 1
        self._stats.last_success_seconds = self.answered = self._clock.wall()
        refused = self._seen.refused if self._seen is not None else None
        self._tell("refused" if refused else "serving", refused.words if refused else None)
        self._pace.went_well()
        try:
            await self._place.report(self.version or "", self._clock.wall())
        except Unanswered as why:
            self._log.debug("source-not-told", source=self._said.name, error=why)
        return self._pace.regular(self._said.every)

    async def _looked(self, anew: bool) -> Result | None:
        """None: it was closed to us by then."""
        seen = self._seen if self._seen is not None and self._holds(self._seen) else None
        offer = await self._place.look(seen.version if seen is not None else "", anew=anew)
        if offer is None:
            return "unchanged"
        digest = await asyncio.to_thread(_digest, offer.body)
        if seen is None or digest != seen.digest:
            return await self._take(_Seen(offer.version, digest), offer.body)
        self._seen = replace(seen, version=offer.version)
        await self._layers.called(self._said.name, seen.revision, self._seen.revision)
        return "unchanged"

    def _holds(self, seen: _Seen) -> bool:
        """Whether there is nothing to be done as long as the source says the same."""
        if seen.refused is None:
            return self._layers.revision(self._said.name) is not None
        refused = seen.refused
        return refused.generation == self._layers.generation and self._clock.now() < refused.at + REFUSED_FOR

    async def _take(self, seen: _Seen, body: bytes) -> Result | None:
        name = self._said.name
        try:
            await self._layers.put(name, body, source=f"source {name}", revision=seen.revision)
        except Invalid as invalid:
            if self._layers.closed:
                # It was not looked at: it was not refused for what it is.
                return None
            refused = _Refused(self._layers.generation, self._clock.now(), str(next(iter(invalid.problems))))
            self._seen = replace(seen, refused=refused)
            return "refused"
        self._seen = seen
        return "changed"

    def _failed(self, word: Word, error: str) -> float:
        self._stats.polls[word] += 1
        self._stats.up = 0
        self._tell(word, error)
        # Who says that there is nothing is well, and may have something soon.
        return self._pace.regular(self._said.every) if word == "gone" else self._pace.failed()

    def _tell(self, state: str, error: str | None) -> None:
        before, (self.state, self.error) = (self.state, self.error), (state, error)
        if (state, error) != before:
            name = self._said.name
            level: Level = "info" if state == "serving" else "warning"
            said = {"error": error} if error is not None else {"version": self.version}
            self._log.limited(f"source {name} {state}", LOG_EVERY, level, f"source-{state}", source=name, **said)


def _digest(body: bytes) -> str:
    """Of what was meant: the same may be compressed in other words."""
    with suppress(Invalid):
        body = unzipped(body, "")
    return sha256(body).hexdigest()
