"""The owner and its workers together: exact totals, whatever is under way, and little said."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from meshproxy.core.ledger import BATCH, FlowTerms, Ledger, Pool, StockTerms, Terms
from meshproxy.core.limit import PATIENCE, Flow, Limits, Said, Stock
from tests.conftest import FakeClock


class Worker:
    """One worker, and the two directions of its socket, each in order and as slow as a test likes."""

    def __init__(self, town: Town, number: int) -> None:
        self.town = town
        self.number = number
        self.inbox: deque[str | Mapping[str, Terms]] = deque()
        self.outbox: deque[str] = deque()
        self.limits = Limits(town.clock, lambda said: self.outbox.append(json.dumps(said)))
        self.stocks: dict[str, Stock] = {}
        self.flows: dict[str, Flow] = {}
        self.retired: list[Stock] = []
        self.reload(town.terms)

    def reload(self, terms: Mapping[str, Terms]) -> None:
        for key in [key for key in self.stocks if not isinstance(terms.get(key), StockTerms)]:
            self.stocks[key].retire(0)
            self.retired.append(self.stocks.pop(key))
        for key, wanted in terms.items():
            if isinstance(wanted, StockTerms):
                self.stocks.setdefault(key, self.stocks.get(key) or self.limits.stock(key))
            else:
                self.flows.setdefault(key, self.flows.get(key) or self.limits.flow(key))

    def hear_one(self) -> bool:
        if not self.inbox:
            return False
        self.town.messages += 1
        first = self.inbox.popleft()
        if isinstance(first, str):
            self.limits.hear(Said(*json.loads(first)))
        else:
            self.reload(first)
        return True

    def say_one(self) -> bool:
        if not self.outbox:
            return False
        self.town.messages += 1
        self.town.ledger.hear(self.number, Said(*json.loads(self.outbox.popleft())))
        return True


class Town:
    """A ledger and its workers, with messages between them."""

    def __init__(self, clock: FakeClock, workers: int, terms: Mapping[str, Terms]) -> None:
        self.clock = clock
        self.ledger = Ledger(clock, workers)
        self.terms = terms
        self.ledger.define(terms)
        self.workers: dict[int, Worker] = {}
        self.messages = 0
        for number in range(workers):
            self.join(number)

    def join(self, number: int) -> Worker:
        worker = self.workers[number] = Worker(self, number)
        self.ledger.join(number, lambda said: worker.inbox.append(json.dumps(said)))
        return worker

    def leave(self, number: int) -> None:
        del self.workers[number]
        self.ledger.leave(number)

    def define(self, terms: Mapping[str, Terms]) -> None:
        """Workers swap where the reload stands in the order of what they hear."""
        self.terms = terms
        for worker in self.workers.values():
            worker.inbox.append(terms)
        self.ledger.define(terms)

    def settle(self) -> None:
        """Deliver until nothing is said any more."""
        busy = True
        while busy:
            self.clock.advance(0.006)
            busy = False
            for worker in self.workers.values():
                while worker.hear_one() or worker.say_one():
                    busy = True

    def pool(self, key: str = "web") -> Pool:
        pool = self.ledger._accounts[key]
        assert isinstance(pool, Pool)
        return pool


class Anything(RuleBasedStateMachine):
    """Takes, gives, asks, deaths, joins, reloads and slow messages, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.town = Town(FakeClock(), 2, {"web": StockTerms(6)})
        self.joined = 2
        self.lowered = False
        self.taken: list[tuple[Worker, Stock]] = []
        self.asked: list[list[bool]] = []

    @property
    def workers(self) -> list[Worker]:
        return list(self.town.workers.values())

    def any(self, data: st.DataObject) -> Worker:
        return data.draw(st.sampled_from(self.workers))

    def some_stock(self, data: st.DataObject) -> tuple[Worker, Stock] | None:
        worker = self.any(data)
        return (worker, worker.stocks["web"]) if "web" in worker.stocks else None

    def ask(self, worker: Worker, stock: Stock) -> list[bool]:
        answers: list[bool] = []

        def told(yes: bool) -> None:
            answers.append(yes)
            if yes:
                self.taken.append((worker, stock))

        self.asked.append(answers)
        stock.ask(told)
        return answers

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), times=st.integers(1, 4))
    def take(self, data: st.DataObject, times: int) -> None:
        found = self.some_stock(data)
        for _ in range(times if found else 0):
            assert found is not None
            if found[1].take():
                self.taken.append(found)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), times=st.integers(1, 3))
    def take_or_ask(self, data: st.DataObject, times: int) -> None:
        found = self.some_stock(data)
        for _ in range(times if found else 0):
            assert found is not None
            if found[1].take():
                self.taken.append(found)
            else:
                self.ask(*found)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.taken) - 1))
        self.taken.pop(index)[1].give()

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), times=st.integers(1, 3))
    def deliver_to_a_worker(self, data: st.DataObject, times: int) -> None:
        worker = self.any(data)
        for _ in range(times):
            worker.hear_one()

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), times=st.integers(1, 3))
    def deliver_to_the_owner(self, data: st.DataObject, times: int) -> None:
        worker = self.any(data)
        for _ in range(times):
            worker.say_one()

    @rule(seconds=st.sampled_from([0.001, 0.006, 0.3, 0.6, 1.1]))
    def time_passes(self, seconds: float) -> None:
        self.town.clock.advance(seconds)

    @precondition(lambda self: len(self.workers) < 4)
    @rule()
    def join(self) -> None:
        self.town.join(self.joined)
        self.joined += 1

    @precondition(lambda self: len(self.workers) > 1)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        worker = self.any(data)
        self.town.leave(worker.number)
        self.taken = [found for found in self.taken if found[0] is not worker]

    @rule(total=st.integers(0, 24))
    def redefine(self, total: int) -> None:
        before = self.town.terms.get("web")
        self.lowered |= isinstance(before, StockTerms) and total < before.total
        self.town.define({"web": StockTerms(total)})

    @rule()
    def drop(self) -> None:
        self.town.define({})
        self.lowered = False

    @rule()
    def settle(self) -> None:
        """With all delivered nothing is lost, nothing invented, and an ask says the truth."""
        self.town.settle()
        if "web" not in self.town.terms:
            return
        pool = self.town.pool()
        for worker in self.workers:
            held = worker.stocks["web"].held
            held += sum(stock.held for stock in worker.retired if stock.edition == pool.edition)
            assert held == pool.holders[worker.number].held
        total = pool.terms.total
        for worker in self.workers:
            used = sum(other.stocks["web"].used for other in self.workers)
            answers = self.ask(worker, worker.stocks["web"])
            self.town.settle()
            assert answers == [used < total]

    @invariant()
    def nothing_is_used_that_is_not_lent(self) -> None:
        for worker in self.workers:
            for key, stock in worker.stocks.items():
                assert stock.used == sum(found == (worker, stock) for found in self.taken)
                assert 0 <= stock.used <= stock.held
                account = self.town.ledger._accounts.get(key)
                if isinstance(account, Pool) and account.edition == stock.edition:
                    assert stock.held <= account.holders[worker.number].held

    @invariant()
    def what_is_lent_and_what_is_free_is_the_total(self) -> None:
        if "web" in self.town.terms:
            pool = self.town.pool()
            assert sum(holder.held for holder in pool.holders.values()) + pool.free == pool.terms.total
            assert self.lowered or pool.free >= 0

    @invariant()
    def nobody_is_told_twice(self) -> None:
        assert all(len(answers) <= 1 for answers in self.asked)

    def teardown(self) -> None:
        dead_too = self.town.clock
        dead_too.advance(PATIENCE)
        assert all(len(answers) == 1 for answers in self.asked)


def test_anything_may_happen_in_any_order() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Anything, settings=settings(max_examples=120, stateful_step_count=50, deadline=None)
    )
