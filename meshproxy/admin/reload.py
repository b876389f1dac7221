"""The one road by which a configuration comes into force.

    documents of a layer -> in our words -> combined with the other layers -> prepared -> committed -> kept

Every step may refuse, and then nothing has happened: the refusal is told to whoever asked, logged, counted and shown in
`/server_info`.  Two changes never overlap; the second one waits.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Protocol

from meshproxy.dialects import for_each, read
from meshproxy.dialects.confined import Settings
from meshproxy.dialects.translation import Note, Setting, Translation
from meshproxy.errors import CannotBind, Invalid, Problem
from meshproxy.model import Config, Document, Foreign, combine, decode, diff, encode, restore, version
from meshproxy.model.relaxed import relaxed
from meshproxy.model.shared import gathered
from meshproxy.net.clock import Clock
from meshproxy.net.collector import give_back, settling
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import NOTES, ProcessStats
from meshproxy.schema.spelled import spelled
from meshproxy.sources.store import Record, Store, Summary

DEFAULT_LAYER = "default"
MOST_LAYERS = 64
MOST_LOGGED = 20
LARGE = 500
"""Clusters and rules."""
SAID = "said"
"""In what is kept of a layer: its documents, each as its source and a text. No key of ours has this name."""
RENEWAL = "certificates"
"""The source of what was refused when only the files had changed that the configuration names."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A config that is in force, or with a dry run one that could be."""

    generation: int
    version: str
    changes: tuple[str, ...]


class Conflict(Exception):
    """The layer is not what `If-Match` says."""


class Missing(Exception):
    """There is no such layer, or no such generation."""


class Papers(Protocol):
    """The files that a configuration names."""

    async def stale(self) -> bool:
        """Whether they are not as they were when the one in force was prepared."""


class Fleet(Protocol):
    """Who carries traffic: takes a configuration as a whole, or leaves everything as it is."""

    @property
    def papers(self) -> Papers: ...

    async def prepare(self, config: Config) -> None: ...

    async def commit(self) -> None: ...

    def abort(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source says. Policy in the words of a mesh is put in ours for each setting, and once for each."""

    said: tuple[Document, ...]
    meant: Mapping[Setting, Translation] = field(default_factory=dict)
    """What stands there in other words."""
    revision: str = ""
    """What its source calls it."""
    digest: str = ""
    """Of the bytes that it was read from; empty where they are not known."""

    def within(self, settings: Sequence[Setting]) -> Layer:
        """With all of it in our words."""
        if self.is_ours:
            return self
        return replace(self, meant=for_each(self.said, settings, self.meant))

    @property
    def is_ours(self) -> bool:
        """Whether all of it was said in our words."""
        return all(document.foreign is None for document in self.said)

    @property
    def documents(self) -> tuple[Document, ...]:
        ours = (document for document in self.said if document.foreign is None)
        return (*ours, *(document for found in self.meant.values() for document in found.documents))

    @property
    def notes(self) -> tuple[Note, ...]:
        return tuple(note for found in self.meant.values() for note in found.notes)

    @property
    def data(self) -> dict[str, Any]:
        """All of it as one document, secrets in clear."""
        return self._merged(redact=False)

    @property
    def kept(self) -> dict[str, Any]:
        """The same to put in force later. Policy in the words of a mesh is kept in these: what it means is not settled,
        and a fault that `compat` has had back must not outlive that."""
        if self.is_ours:
            return self.data
        return {SAID: [[document.source, _text(document)] for document in self.said]}

    @property
    def redacted(self) -> dict[str, Any]:
        return self._merged(redact=True)

    @property
    def etag(self) -> str:
        return sha256("".join(spelled(self.redacted, sort_keys=True)).encode()).hexdigest()

    def settled(self) -> Layer:
        """Without the texts, which are as large as their sources like; they were for finding lines while it was new."""
        said = tuple(replace(document, line_of=lambda _: None, foreign=_packed(document)) for document in self.said)
        meant = {
            setting: Translation(tuple(map(_bare, found.documents)), found.notes)
            for setting, found in self.meant.items()
        }
        return replace(self, said=said, meant=meant)

    def _merged(self, *, redact: bool) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for document in gathered(self.documents):
            for key, value in encode(replace(document.config, include=()), redact=redact).items():
                if isinstance(value, list):
                    merged.setdefault(key, []).extend(value)
                elif isinstance(value, dict):
                    merged.setdefault(key, {}).update(value)
                else:
                    merged[key] = value
        return merged


def _bare(document: Document) -> Document:
    return Document(document.source, document.config, document.said, lambda _: None, shares=document.shares)


def _packed(document: Document) -> Foreign | None:
    return None if document.foreign is None else replace(document.foreign, value=None)


def _text(document: Document) -> str:
    if document.foreign is not None:
        return document.foreign.content
    return json.dumps(encode(replace(document.config, include=())))


def layer_of(data: Mapping[str, Any], source: str) -> Layer:
    """A layer as it was kept."""
    if SAID in data:
        try:
            return Layer(tuple(read(text.encode(), source) for source, text in data[SAID]))
        except (TypeError, ValueError, AttributeError):
            raise Invalid([Problem(SAID, "must be documents, each with its source", source)]) from None
    return Layer((Document(source, decode(Config, data), frozenset(data), lambda _: None),))


@dataclass(frozen=True, slots=True)
class Change:
    """All there is to know of a change before it is made, so that nothing is left to be worked out on the loop."""

    layers: dict[str, Layer]
    config: Config
    version: str
    words: tuple[str, ...]
    notes: tuple[Note, ...]

    @classmethod
    def of(cls, layers: Mapping[str, Layer], running: Config, joined: Callable[[Sequence[Document]], Config]) -> Change:
        settings = Settings([document for layer in layers.values() for document in layer.said])
        meant = {name: layer.within(settings.of(name)) for name, layer in layers.items()}
        config = joined([document for layer in meant.values() for document in layer.documents])
        return cls(
            {name: layer.settled() for name, layer in meant.items()},
            config,
            version(config),
            tuple(diff(running, config)),
            tuple(dict.fromkeys(note for layer in meant.values() for note in layer.notes)),
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last configuration that was not taken."""

    source: str
    at: float
    problems: tuple[Problem, ...]

    def as_json(self) -> dict[str, object]:
        return {"source": self.source, "time": self.at, "problems": [problem.as_json() for problem in self.problems]}


class Reloader:
    def __init__(self, fleet: Fleet, store: Store, stats: ProcessStats, log: Log, clock: Clock) -> None:
        self._fleet = fleet
        self._store = store
        self._stats = stats
        self._log = log
        self.clock = clock
        self._turn = asyncio.Lock()
        self.layers: dict[str, Layer] = {}
        self.config = Config()
        self.version = version(self.config)
        self.generation = 0
        self.notes: tuple[Note, ...] = ()
        self.refusal: Refusal | None = None
        self.closed = False
        """Set while the process drains, or a successor is coming up: neither takes anything new."""

    # At the start, before anything is in force

    async def begin(self, read_files: Callable[[], Sequence[Document]], source: str) -> None:
        """Put the first configuration in force: what the files say, beside the layers that others had put.

        Where the files are missing or invalid, the last good configuration serves.  Raises Invalid if there is none.
        """
        last, kept = self._kept()

        def from_files() -> dict[str, Layer]:
            return {DEFAULT_LAYER: Layer(tuple(read_files()))}

        attempts: list[tuple[str, Callable[[], dict[str, Layer]]]] = [(source, lambda: {**kept, **from_files()})]
        if last is not None:
            attempts += [(source, from_files), (f"last good generation {last.generation}", lambda: kept)]
        self.generation = self._store.newest
        refusal: Refusal | None = None
        for name, layers in attempts:
            try:
                await self._first(layers(), name, last)
            except Invalid as invalid:
                self._refused(name, invalid)
                refusal = refusal or self.refusal
                if isinstance(invalid, CannotBind) or (name, layers) == attempts[-1]:
                    raise
            else:
                self.refusal = refusal
                return

    def _kept(self) -> tuple[Record | None, dict[str, Layer]]:
        """What was in force last, as far as this version understands it."""
        last = self._store.last()
        if last is not None:
            try:
                return last, _layers(last)
            except Invalid as invalid:
                self._log.warning("record-skipped", problem=invalid.problems[0])
        return None, {}

    async def _first(self, layers: Mapping[str, Layer], source: str, last: Record | None) -> None:
        # A secret that is known by its digest only is none at all here: nothing is in force that has it in clear.
        change = Change.of(layers, Config(), lambda documents: restore(combine(documents), Config()))
        if last is not None and last.version == change.version:
            self.generation = last.generation - 1
            await self._take(change, last.source)
        else:
            self._keep(await self._take(change, source), self.layers)

    # While running

    async def put(
        self,
        name: str,
        body: bytes,
        *,
        dry_run: bool = False,
        if_match: str | None = None,
        source: str,
        revision: str = "",
    ) -> Applied:
        def document() -> list[Document]:
            found = read(body, source)
            return [replace(found, config=restore(found.config, self.config))]

        digest = sha256(body).hexdigest()
        return await self.put_documents(
            name, document, dry_run=dry_run, if_match=if_match, source=source, revision=revision, digest=digest
        )

    async def put_documents(
        self,
        name: str,
        documents: Callable[[], Sequence[Document]],
        *,
        dry_run: bool = False,
        if_match: str | None = None,
        source: str,
        revision: str = "",
        digest: str = "",
    ) -> Applied:
        """Replace a layer as a whole.  `documents` reads them, in a thread: a large one must not hold up traffic.

        They are not even read, if the layer was read from bytes of the same `digest`.
        """

        def layers() -> dict[str, Layer]:
            return {**self.layers, name: Layer(tuple(documents()), revision=revision, digest=digest)}

        async with self._turn:
            await self._expect(name, if_match)
            known = self.layers.get(name)
            if digest and not dry_run and known is not None and known.digest == digest:
                applied = await self._stay(source)
                self.layers = {**self.layers, name: replace(known, revision=revision)}
                return applied
            return await self._change(layers, source, dry_run=dry_run)

    def revision(self, name: str) -> str | None:
        """What its source calls the layer in force; empty where another put it, None where there is none."""
        layer = self.layers.get(name)
        return layer.revision if layer is not None else None

    async def called(self, name: str, before: str, revision: str) -> None:
        """The same layer has another name from now on."""
        async with self._turn:
            if self.revision(name) == before:
                self.layers = {**self.layers, name: replace(self.layers[name], revision=revision)}

    async def delete(self, name: str, *, if_match: str | None = None, source: str) -> Applied:
        async with self._turn:
            await self._expect(name, if_match)
            if name not in self.layers:
                raise Missing(f"there is no layer {name!r}")
            rest = {other: layer for other, layer in self.layers.items() if other != name}
            return await self._change(lambda: rest, source)

    async def rollback(self, generation: int | None, *, source: str) -> Applied:
        """Put an earlier generation in force, as a new one; without a number, the one before this."""
        async with self._turn:
            record = await asyncio.to_thread(self._earlier, generation)
            return await self._change(lambda: _layers(record), source)

    async def renew(self) -> None:
        """Serve the configuration in force with what the files hold now that it names; or go on as before."""
        async with self._turn:
            if self.closed or not await self._fleet.papers.stale():
                return
            try:
                await self._serve(self.config)
            except Invalid as invalid:
                self._stats.certificate_renewals["refused"] += 1
                self.refusal = Refusal(RENEWAL, self.clock.wall(), invalid.problems)
                self._log.error("certificates-refused", problems=len(invalid.problems))
                self._log_problems(invalid)
            else:
                if self.refusal is not None and self.refusal.source == RENEWAL:
                    self.refusal = None

    def _earlier(self, generation: int | None) -> Record:
        if generation is None:
            known = [summary.generation for summary in self._store.history() if summary.generation < self.generation]
            if not known:
                raise Missing("there is no earlier generation")
            generation = max(known)
        record = self._store.get(generation)
        if record is None:
            raise Missing(f"generation {generation} is not in the history")
        return record

    async def _expect(self, name: str, if_match: str | None) -> None:
        if if_match is None:
            return
        layer = self.layers.get(name)
        known = await asyncio.to_thread(lambda: layer.etag) if layer is not None else None
        if known is None or if_match not in (known, "*"):
            raise Conflict(f"layer {name!r} is at {known or 'no version'}, not at {if_match}")

    async def _change(
        self, layers: Callable[[], Mapping[str, Layer]], source: str, *, dry_run: bool = False
    ) -> Applied:
        def compiled() -> Change:
            found = layers()
            if len(found) > MOST_LAYERS:
                raise Invalid([Problem("", f"more than {MOST_LAYERS} layers")])
            return Change.of(found, self.config, lambda documents: combine(documents, self.config))

        try:
            self._expect_open()
            with settling(asyncio.get_running_loop()):
                change = await asyncio.to_thread(compiled)
            if dry_run:
                await self._fleet.prepare(change.config)
                self._fleet.abort()
            elif change.words:
                known = await self._take(change, source)
                with settling(asyncio.get_running_loop()):
                    await asyncio.to_thread(self._keep, known, self.layers)
                if _is_large(self.config):
                    await asyncio.to_thread(give_back)
            else:
                await self._look_at_papers()
                self.layers = change.layers
                self._note(change.notes)
                self._stats.reloaded("unchanged", self.generation, self.clock.wall())
        except Invalid as invalid:
            if not dry_run:
                self._refused(source, invalid)
            raise
        return Applied(self.generation, change.version, change.words)

    async def _stay(self, source: str) -> Applied:
        """A document has come that is in force already."""
        try:
            self._expect_open()
            await self._look_at_papers()
        except Invalid as invalid:
            self._refused(source, invalid)
            raise
        self._stats.reloaded("unchanged", self.generation, self.clock.wall())
        return Applied(self.generation, self.version, ())

    async def _look_at_papers(self) -> None:
        if await self._fleet.papers.stale():
            await self._serve(self.config)

    def _expect_open(self) -> None:
        if self.closed:
            raise Invalid([Problem("", "the proxy drains, or a successor is coming up: it takes no configuration")])

    async def _serve(self, config: Config) -> None:
        await self._fleet.prepare(config)
        try:
            self._expect_open()
        except Invalid:
            self._fleet.abort()
            raise
        await self._fleet.commit()

    async def _take(self, change: Change, source: str) -> Summary:
        await self._serve(change.config)
        self.layers = change.layers
        self._note(change.notes)
        self.config = change.config
        self.version = change.version
        self.generation += 1
        self.refusal = None
        now = self.clock.wall()
        self._stats.relaxed = relaxed(change.config)
        self._stats.reloaded("ok", self.generation, now)
        changes = "; ".join(change.words[:MOST_LOGGED])
        self._log.info("config-in-force", generation=self.generation, source=source, changes=changes)
        return Summary(self.generation, change.version, now, source, change.words)

    def _note(self, notes: tuple[Note, ...]) -> None:
        """Each is told once, as long as it holds."""
        for note in [note for note in notes if note not in self.notes][:MOST_LOGGED]:
            self._log.warning("config-note", kind=note.kind, problem=note.problem)
        self.notes = notes
        self._stats.notes = {kind: sum(note.kind == kind for note in notes) for kind in NOTES}

    def _keep(self, known: Summary, layers: Mapping[str, Layer]) -> None:
        """What cannot be kept is in force all the same: traffic does not depend on a disk."""
        data = {name: layer.kept for name, layer in layers.items()}
        try:
            self._store.save(Record(known.generation, known.version, known.time, known.source, known.changes, data))
            self._log.debug("config-kept", generation=known.generation)
        except OSError as error:
            self._log.error("config-not-kept", generation=known.generation, error=error)

    def _refused(self, source: str, invalid: Invalid) -> None:
        now = self.clock.wall()
        self.refusal = Refusal(source, now, invalid.problems)
        self._stats.reloaded("refused", self.generation, now)
        self._log.error("config-refused", source=source, problems=len(invalid.problems))
        self._log_problems(invalid)

    def _log_problems(self, invalid: Invalid) -> None:
        for problem in invalid.problems[:MOST_LOGGED]:
            self._log.error("config-problem", problem=problem)


def _is_large(config: Config) -> bool:
    return len(config.clusters) + sum(len(table.rules) for table in config.routes) > LARGE


def _layers(record: Record) -> dict[str, Layer]:
    return {name: layer_of(data, f"generation {record.generation}") for name, data in record.layers.items()}
