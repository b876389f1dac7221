"""Rounds and ratios: who is measured when, and what is made of it.

The machine's mood changes from second to second.  So the subjects take turns within each round, and a ratio is
made of two figures of the same round; what is reported is the median of these ratios with the least and the
greatest.  A figure that was not measured beside its peer is not a figure.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from benchmarks.budgets import BUDGETS, Budget
from benchmarks.peers import PEERS, Meshproxy, Peer
from benchmarks.process import Cores

OURS = Meshproxy.name
Subject = TypeVar("Subject")
Figure = TypeVar("Figure")


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for on the command line."""

    rounds: int
    seconds: float
    only: frozenset[str] = frozenset()
    peers: frozenset[str] = frozenset()
    workers: int = 1
    cores: Cores = field(default_factory=Cores.of_this_machine)

    def chosen(self, works: Sequence[str]) -> list[str]:
        return [work for work in works if not self.only or work in self.only]

    def present(self, kinds: Sequence[type[Peer]] = PEERS) -> list[type[Peer]]:
        """Those of `kinds` that were asked for and can run; says why another cannot."""
        found = []
        for peer in kinds:
            if self.peers and peer.name not in self.peers:
                continue
            if reason := peer.missing():
                note(f"{peer.name} skipped: {reason}")
            else:
                found.append(peer)
        return found


@dataclass(frozen=True, slots=True)
class Spread:
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        return cls(statistics.median(figures), min(figures), max(figures))


@dataclass(frozen=True, slots=True)
class Row:
    """One subject of a result: what it cost and, for a peer, how we stand to it."""

    who: str
    cost: Spread
    ratio: Spread | None
    budget: Budget | None
    verdict: str


@dataclass(frozen=True, slots=True)
class Result:
    """One kind of work: a cost for each subject and round, by subject."""

    work: str
    unit: str
    samples: Mapping[str, Sequence[float]]

    def rows(self) -> list[Row]:
        ours = self.samples.get(OURS)
        rows = []
        for who, theirs in self.samples.items():
            cost = Spread.of(theirs)
            ratio = paired(ours, theirs) if ours and who != OURS else None
            budget = BUDGETS.get((self.work, "" if who == OURS else who))
            judged = cost if who == OURS else ratio
            verdict = budget.verdict(judged.median, judged.high) if budget and judged else ""
            rows.append(Row(who, cost, ratio, budget, verdict))
        return rows


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours to theirs, round by round."""
    return Spread.of([mine / other for mine, other in zip(ours, theirs, strict=True)])


def interleave(
    subjects: Mapping[str, Subject], rounds: int, once: Callable[[Subject], Figure]
) -> dict[str, list[Figure]]:
    """Measure each subject once in every round, in turn."""
    samples: dict[str, list[Figure]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            samples[name].append(once(subject))
    return samples


def note(message: str) -> None:
    """A word to whoever waits; the standard output is the table's."""
    print(message, file=sys.stderr, flush=True)
