"""The owner of the limits that all workers share: it holds the totals, and lends parts of them.

    ledger = Ledger(clock, workers=2)
    ledger.join(1, send)                                          # send(said) carries a Said to worker 1, in order
    ledger.define({"web": StockTerms(1000), "web/s": FlowTerms(200, per=1, burst=200)})    # whenever a reload is taken
    ledger.hear(1, said)                                          # what worker 1 says, in order
    ledger.leave(1)                                               # it is dead: what it held is free

While there is plenty each worker holds a part and asks seldom.  A stock that runs dry is tight: what is spare anywhere
is recalled, and what is freed comes back at once, until a good part of it is free again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, inf

from meshproxy.core.limit import Said
from meshproxy.model.limits import Redis
from meshproxy.net.clock import Clock

BATCH = 0.020
"""Seconds' worth of a flow that a worker gets at once: what lies idle there is lost to the others."""
PAUSE = 0.005
"""Seconds between two rounds of hope: however many are refused, what is said stays little."""
EASY = 8
"""A stock is easy again when one part in so many is free."""
DRAW = 0.050
"""Seconds' worth of a flow that is drawn at once from who keeps it for many proxies."""
WITHOUT = 0.1
"""Seconds for which a no holds that is said because nobody can be asked."""
RECALL = 0.5
"""Seconds after which a worker that does not answer a recall is not waited for: it may be stopped."""

Send = Callable[[Said], None]


@dataclass(frozen=True, slots=True)
class StockTerms:
    total: int


@dataclass(frozen=True, slots=True)
class FlowTerms:
    """`amount` each `per` seconds; `burst` at once, yet never less than a batch."""

    amount: int
    per: float
    burst: int


@dataclass(frozen=True, slots=True)
class SharedTerms:
    """A flow that other proxies take from too: who keeps it says how much this one gets."""

    flow: FlowTerms
    redis: Redis


Terms = StockTerms | FlowTerms | SharedTerms

Drawn = Callable[[int, float], None]
"""Told how many there are; if none, after how many seconds there will be; less than none: nobody could be asked."""
Draw = Callable[[SharedTerms, int, Drawn], None]
"""Asks for so many; the answer may come before it returns."""


class Ledger:
    def __init__(self, clock: Clock, workers: int = 1, draw: Draw | None = None) -> None:
        """`workers`: how many are to come, so that the first is not given everything.  `draw`: asks who keeps what is
        shared with other proxies."""
        self._clock = clock
        self._draw = draw
        self._expected = workers
        self._sends: dict[int, Send] = {}
        self._accounts: dict[str, Pool | Bucket] = {}
        self._editions = 0

    def define(self, terms: Mapping[str, Terms]) -> None:
        """These limits and no others are in force; what is lent of a limit that stays is lent still."""
        self._accounts = {key: account for key, account in self._accounts.items() if key in terms}
        for key, wanted in terms.items():
            match self._accounts.get(key), wanted:
                case Pool() as pool, StockTerms():
                    pool.redefine(wanted)
                case Reservoir() as reservoir, SharedTerms() if reservoir.shared.redis == wanted.redis:
                    reservoir.share(wanted)
                case Bucket() as bucket, FlowTerms() if not isinstance(bucket, Reservoir):
                    bucket.redefine(wanted)
                case _:
                    self._open(key, wanted)

    def _open(self, key: str, terms: Terms) -> None:
        self._editions += 1
        account: Pool | Bucket
        if isinstance(terms, StockTerms):
            account = Pool(key, self._editions, terms, self._clock, max(self._expected, len(self._sends)))
        elif isinstance(terms, SharedTerms):
            assert self._draw is not None, "who shares a limit has somebody to ask"
            account = Reservoir(key, self._editions, terms, self._clock, self._draw)
        else:
            account = Bucket(key, self._editions, terms, self._clock)
        self._accounts[key] = account
        for worker, send in self._sends.items():
            account.join(worker, send)

    def join(self, worker: int, send: Send) -> None:
        """A worker whose limits are made; its number is never used again.  `send` may be answered before it returns."""
        self._sends[worker] = send
        for account in self._accounts.values():
            account.join(worker, send)

    def leave(self, worker: int) -> None:
        del self._sends[worker]
        for account in self._accounts.values():
            account.leave(worker)

    def hear(self, worker: int, said: Said) -> None:
        """What the dead have said does not count, nor what was said of a limit that is gone."""
        send = self._sends.get(worker)
        account = self._accounts.get(said.key)
        if send is None:
            return
        if account is None:
            if said.kind in ("need", "want"):
                send(Said("deny", said.key, said.edition))
        elif said.edition in (0, account.edition):
            account.hear(worker, said)


class Holder:
    """What the owner knows of one worker and one stock."""

    __slots__ = ("held", "hungry", "send", "tight")

    def __init__(self, send: Send) -> None:
        self.send = send
        self.held = 0
        """What is lent, and what is on its way there or back: never less than what is in use."""
        self.tight = False
        """It was told to return what it frees, so it has nothing to recall."""
        self.hungry = False
        """It was denied, so it does not ask until there is something: then nobody may sit on a spare unit."""


class Pool:
    """A stock: who holds how much of it, and who waits for some."""

    def __init__(self, key: str, edition: int, terms: StockTerms, clock: Clock, workers: int) -> None:
        self.terms = terms
        self.edition = edition
        self.free = terms.total
        """Below nothing while more is in use than a lowered total allows."""
        self.holders: dict[int, Holder] = {}
        self._key = key
        self._clock = clock
        self._workers = workers
        self._waiting: dict[int, int] = {}
        self._awaited: set[int] = set()
        """Who owes an answer to a recall."""
        self._pausing = False

    def redefine(self, terms: StockTerms) -> None:
        self.free += terms.total - self.terms.total
        self.terms = terms
        if self.free < 0:
            self._recall()
        self._decide()

    def join(self, worker: int, send: Send) -> None:
        self.holders[worker] = Holder(send)
        self._grant(worker, 0)
        if any(holder.hungry for holder in self.holders.values()):
            self._recall()

    def leave(self, worker: int) -> None:
        self.free += self.holders.pop(worker).held
        self._waiting.pop(worker, None)
        self._awaited.discard(worker)
        self._decide()

    def hear(self, worker: int, said: Said) -> None:
        if said.kind == "want":
            self._grant(worker, 0)
            return
        if said.kind == "need":
            self._waiting[worker] = said.amount
        else:
            self.holders[worker].held -= said.amount
            self.free += said.amount
        if said.kind == "spare":
            self._awaited.discard(worker)
        self._decide()

    def _decide(self) -> None:
        """Units to those who wait, in turn; a no once it is sure that nobody has any to spare."""
        while self._waiting:
            worker = next(iter(self._waiting))
            if self.free > 0:
                self._grant(worker, self._waiting.pop(worker))
            elif self._awaited:
                break
            elif len(self.holders) > 1 and not all(holder.tight for holder in self.holders.values()):
                self._recall()
            else:
                del self._waiting[worker]
                self.holders[worker].hungry = True
                self._tell(worker, "deny")
        self._relieve()

    def _grant(self, worker: int, needed: int, kind: str = "grant") -> None:
        """What is needed now and, in easy times, a share of what is free: all of it where there is only one worker."""
        holder = self.holders[worker]
        workers = max(self._workers, len(self.holders))
        share = 0 if holder.tight else self.free if workers == 1 else self.free // (2 * workers)
        amount = max(0, min(self.free, max(needed, share)))
        self.free -= amount
        holder.held += amount
        holder.hungry = False
        self._tell(worker, kind, amount, 0 if holder.tight else min(amount, max(self.free, 0)) // 4)

    def _recall(self) -> None:
        asked = [worker for worker, holder in self.holders.items() if not holder.tight]
        for worker in asked:
            self.holders[worker].tight = True
        self._awaited.update(asked)
        self._clock.after(RECALL, lambda: self._give_up(asked))
        for worker in asked:
            self._tell(worker, "recall")

    def _give_up(self, asked: list[int]) -> None:
        self._awaited.difference_update(asked)
        self._decide()

    def _relieve(self) -> None:
        """Something is free and nobody waits: the hungry may ask again.  Much is free: everybody may keep it again."""
        if self._pausing or self.free <= 0:
            return
        plenty = self.free >= max(1, self.terms.total // EASY)
        eased = [w for w, holder in self.holders.items() if plenty and holder.tight and w not in self._awaited]
        fed = [w for w, holder in self.holders.items() if holder.hungry and w not in eased]
        if eased or fed:
            self._pausing = True
            self._clock.after(PAUSE, self._resume)
        for worker in eased:
            self.holders[worker].tight = False
            self._grant(worker, 0, "ease")
        for worker in fed:
            self.holders[worker].hungry = False
            self._tell(worker, "fed")

    def _resume(self) -> None:
        self._pausing = False
        self._relieve()

    def _tell(self, worker: int, kind: str, amount: int = 0, low: int = 0) -> None:
        self.holders[worker].send(Said(kind, self._key, self.edition, amount, low))


class Bucket:
    """A flow: tokens come with time, and leave in batches."""

    def __init__(self, key: str, edition: int, terms: FlowTerms, clock: Clock) -> None:
        self.terms = terms
        self.edition = edition
        self._key = key
        self._clock = clock
        self._sends: dict[int, Send] = {}
        self._tokens = float(self._most)
        self._at = clock.now()

    @property
    def _batch(self) -> int:
        return max(1, round(self.terms.amount / self.terms.per * BATCH))

    @property
    def _most(self) -> int:
        return max(self.terms.burst, self._batch)

    def redefine(self, terms: FlowTerms) -> None:
        if terms != self.terms:
            self._refill()
            self.terms = terms
            self._tokens = min(self._tokens, self._most)
            for worker in self._sends:
                self._tell(worker, "fed")

    def join(self, worker: int, send: Send) -> None:
        self._sends[worker] = send
        self._grant(worker, self._batch // 2)

    def leave(self, worker: int) -> None:
        del self._sends[worker]

    def hear(self, worker: int, said: Said) -> None:
        if said.kind in ("need", "want"):
            self._grant(worker, max(said.amount, self._batch))

    def _grant(self, worker: int, wanted: int) -> None:
        self._refill()
        amount = min(int(self._tokens), wanted)
        if amount or not wanted:
            self._tokens -= amount
            self._tell(worker, "grant", amount, self._batch // 2)
        else:
            wait = (1 - self._tokens) * self.terms.per / self.terms.amount
            self._tell(worker, "deny", ceil(max(wait, PAUSE) * 1000))

    def _refill(self) -> None:
        now = self._clock.now()
        self._tokens += (now - self._at) * self.terms.amount / self.terms.per
        self._tokens = min(self._tokens, self._most)
        self._at = now

    def _tell(self, worker: int, kind: str, amount: int = 0, low: int = 0) -> None:
        self._sends[worker](Said(kind, self._key, self.edition, amount, low))


class Reservoir(Bucket):
    """A flow that is kept elsewhere: drawn from there in portions, ahead of need, and lent from here.

    What it would have by itself goes down with what it draws: that is what there is while nobody can be asked.
    """

    def __init__(self, key: str, edition: int, terms: SharedTerms, clock: Clock, draw: Draw) -> None:
        super().__init__(key, edition, terms.flow, clock)
        self.shared = terms
        self._draw = draw
        self._drawn = 0
        self._waiting: dict[int, int] = {}
        self._drawing = False
        self._none_before = -inf

    def share(self, terms: SharedTerms) -> None:
        if terms.flow != self.terms:
            self._none_before = -inf
        self.shared = terms
        self.redefine(terms.flow)

    def join(self, worker: int, send: Send) -> None:
        self._sends[worker] = send
        self._tell(worker, "grant", 0, self._batch // 2)
        if self._batch > 1:
            # Where one is much, none is kept for somebody who may not come.
            self._want(worker, self._batch // 2)

    def leave(self, worker: int) -> None:
        super().leave(worker)
        self._waiting.pop(worker, None)

    def hear(self, worker: int, said: Said) -> None:
        if said.kind in ("need", "want"):
            self._want(worker, max(said.amount, self._batch))

    def _want(self, worker: int, amount: int) -> None:
        self._waiting[worker] = amount
        self._serve()
        if not self._drawing and (self._waiting or self._drawn < self._portion // 2):
            self._draw_more()

    @property
    def _portion(self) -> int:
        return max(1, round(self.terms.amount / self.terms.per * DRAW))

    def _draw_more(self) -> None:
        if self._clock.now() < self._none_before:
            self._deny(self._none_before - self._clock.now())
            return
        self._drawing = True
        self._draw(self.shared, max(self._portion, sum(self._waiting.values())), self._told)

    def _told(self, amount: int, wait: float) -> None:
        self._drawing = False
        if amount < 0:
            self._do_without()
            return
        if amount:
            self._refill()
            self._tokens = max(0.0, self._tokens - amount)
            self._drawn += amount
            self._serve()
        else:
            self._none_before = self._clock.now() + min(wait, self._longest)
            self._deny(wait)
        # Who is told may ask before that returns.
        if self._waiting and not self._drawing:
            self._draw_more()

    @property
    def _longest(self) -> float:
        """After that there is one again, whatever another clock says."""
        return self.terms.per / self.terms.amount + PAUSE

    def _serve(self) -> None:
        """In turn, as far as it goes."""
        while self._waiting and self._drawn:
            worker = next(iter(self._waiting))
            amount = min(self._drawn, self._waiting.pop(worker))
            self._drawn -= amount
            self._tell(worker, "grant", amount, self._batch // 2)

    def _deny(self, wait: float) -> None:
        waiting, self._waiting = self._waiting, {}
        for worker in waiting:
            self._tell(worker, "deny", ceil(min(max(wait, PAUSE), self._longest) * 1000))

    def _do_without(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for worker, amount in waiting.items():
            match self.shared.redis.on_error:
                case "local":
                    self._grant(worker, amount)
                case "allow":
                    self._tell(worker, "grant", amount, self._batch // 2)
                case "refuse":
                    self._tell(worker, "deny", ceil(WITHOUT * 1000))
