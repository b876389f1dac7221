"""The files that a configuration names: read once for all workers, and watched.

    await papers.prepare(config)        # reads all of them; raises Invalid, with what is wrong with each
    papers.known                        # {"web.pem": "-----BEGIN ...", ...}: for those who are to prepare too
    papers.commit()                     # or abort()
    if await papers.changed({}): ...    # once a second: others are there now, and complete

Certificate and key are replaced one after the other, so a change counts once two looks in a row have found the same.
It is said once: what is refused is not looked at again before somebody has touched it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from meshproxy.core.papers import Paper, survey
from meshproxy.errors import Invalid, Problem
from meshproxy.model import Config
from meshproxy.model.combine import bounded
from meshproxy.model.papers import Use, uses
from meshproxy.net.clock import Clock
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.sources.papers import marks, read

LOG_EVERY = 3600.0
"""Seconds between two lines about one certificate."""
MOST_LOGGED = 20
RENEWED = {"users": "credentials", "keys": "credentials", "dictionary": "dictionaries"}
"""What the log calls files of these roles; all others are of certificates."""


@dataclass(frozen=True, slots=True)
class Held:
    """What one configuration has in its files."""

    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Keys are among them."""
    marks: Mapping[str, object] = field(default_factory=dict)
    papers: tuple[Paper, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict)
    """What the log calls the files that are not of certificates."""


class Papers:
    def __init__(self, clock: Clock, process: ProcessStats, log: Log) -> None:
        self.in_force = Held()
        self.tried: Mapping[str, object] = {}
        """The marks of the files that the last configuration names, which may have been refused for one of them."""
        self._next: Held | None = None
        self._clock = clock
        self._process = process
        self._log = log
        self._seen: Mapping[str, object] = {}
        self._told: Mapping[str, object] = {}

    @property
    def known(self) -> Mapping[str, str]:
        """What is in the files, as it was read for what is prepared, or else for what is in force."""
        return (self._next or self.in_force).texts

    async def prepare(self, config: Config) -> None:
        used = [*uses(config)]
        files = [use.file for use in used if use.file is not None]
        if used:
            # First the marks: a change while they are read is a change.
            self.tried = await asyncio.to_thread(marks, files)
            self._next = await asyncio.to_thread(self._read, used, self.tried)
        else:
            self.tried, self._next = {}, Held()

    def commit(self) -> None:
        assert self._next is not None, "commit follows prepare"
        before, self.in_force, self._next = self.in_force, self._next, None
        texts = self.in_force.texts
        renewed = {path for path in before.texts.keys() & texts.keys() if before.texts[path] != texts[path]}
        others = self.in_force.others
        if certificates := renewed - others.keys():
            self._process.certificate_renewals["ok"] += 1
            self._tell("certificates-renewed", certificates)
        for called in sorted({others[path] for path in renewed & others.keys()}):
            self._tell(f"{called}-renewed", {path for path in renewed if others.get(path) == called})
        self._count()

    def abort(self) -> None:
        self._next = None

    async def stale(self) -> bool:
        """Whether a file is not as it was when it was read for what is in force."""
        known = self.in_force.marks
        return bool(known) and await asyncio.to_thread(marks, known) != known

    async def changed(self, awaited: Mapping[str, object]) -> bool:
        """Whether a file has been replaced, as the look before this one had found too.

        `awaited` are marks of others that matter: those of a configuration that could not be put in force.
        """
        known = {**awaited, **self.in_force.marks}
        now = await asyncio.to_thread(marks, known) if known else {}
        complete, self._seen = now == self._seen, now
        if not complete or now in (known, self._told):
            return False
        self._told = now
        return True

    def _read(self, used: list[Use], found: Mapping[str, object]) -> Held:
        problems: list[Problem] = []

        def fault(use: Use, words: str) -> None:
            problems.append(Problem(use.key, use.about(words)))

        texts = read(used, fault)
        papers = survey(used, texts, fault)
        now = self._clock.wall()
        good = {paper.use.file for paper in self.in_force.papers if not paper.out_of_time(now)}
        for paper in papers:
            wrong = paper.out_of_time(now)
            if wrong and paper.use.file in good and paper.use.file is not None:
                fault(paper.use, f"{wrong}, and is to replace one that is good")
        if problems:
            raise Invalid(bounded(problems))
        others = {use.file: RENEWED[use.role] for use in used if use.file is not None and use.role in RENEWED}
        return Held(texts, found, tuple(papers), others)

    def _tell(self, event: str, files: Set[str]) -> None:
        self._log.info(event, files=" ".join(sorted(files)[:MOST_LOGGED]), number=len(files))

    def _count(self) -> None:
        now = self._clock.wall()
        ends: dict[str, dict[str, dict[str, dict[str, int]]]] = {}
        for paper in self.in_force.papers:
            use = paper.use
            if wrong := paper.out_of_time(now):
                words = use.about(wrong)
                self._log.limited(f"paper {use.key}", LOG_EVERY, "warning", "certificate-bad", key=use.key, why=words)
            if (said := paper.decisive) is not None:
                of_role = ends.setdefault(use.listener, {}).setdefault(use.cluster, {})
                soonest = min(said.not_after, of_role.get(use.role, {}).get("not_after", said.not_after))
                of_role[use.role] = {"not_after": soonest}
        self._process.certificates = ends
