"""The owner and its workers together: exact totals, whatever is under way, and little said."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from meshproxy.core.ledger import BATCH, FlowTerms, Ledger, Pool, StockTerms, Terms
from meshproxy.core.limit import PATIENCE, Flow, Limits, Said, Stock
from tests.examples import examples


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
                if key not in self.stocks:
                    self.stocks[key] = self.limits.stock(key)
            elif key not in self.flows:
                self.flows[key] = self.limits.flow(key)

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

    def __init__(self, clock: Any, workers: int, terms: Mapping[str, Terms]) -> None:
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

    new_clock: Callable[[], Any]

    def __init__(self) -> None:
        super().__init__()
        self.town = Town(self.new_clock(), 2, {"web": StockTerms(6)})
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
        self.town.clock.advance(PATIENCE)
        assert all(len(answers) == 1 for answers in self.asked)


def test_anything_may_happen_in_any_order(clock: Any) -> None:
    class Here(Anything):
        new_clock = type(clock)

    run_state_machine_as_test(Here, settings=examples(150, stateful_step_count=50, deadline=None))


def deliver(town: Town) -> None:
    """All that is said, in no time."""
    while any(worker.hear_one() or worker.say_one() for worker in town.workers.values()):
        pass


def opened(town: Town, worker: int, times: int) -> int:
    """How many of so many connections are admitted, one after the other."""
    stock = town.workers[worker].stocks["web"]
    answers: list[bool] = []
    for _ in range(times):
        if stock.take():
            answers.append(True)
        else:
            stock.ask(answers.append)
            town.settle()
    assert len(answers) == times
    return sum(answers)


def close(town: Town, worker: int, times: int) -> None:
    for _ in range(times):
        town.workers[worker].stocks["web"].give()
    town.settle()


def test_exactly_the_total_is_admitted_however_unevenly_it_is_spread(clock: Any) -> None:
    town = Town(clock, 2, {"web": StockTerms(1000)})
    town.settle()
    random = Random(1)
    admitted = [0, 0]
    for _ in range(1100):
        worker = int(random.random() < 0.1)
        admitted[worker] += opened(town, worker, 1)
    assert sum(admitted) == 1000
    assert town.messages < 1000 * 3 // 10
    close(town, 0, 100)
    assert opened(town, 1, 100) == 100
    assert opened(town, 0, 1) + opened(town, 1, 1) == 0


def test_a_stock_in_overload_costs_a_bounded_number_of_messages(clock: Any) -> None:
    town = Town(clock, 2, {"web": StockTerms(100)})
    town.settle()
    assert opened(town, 0, 60) + opened(town, 1, 60) == 100
    before, random, closes = town.messages, Random(2), 1000
    for _ in range(closes):
        busy = [number for number, worker in town.workers.items() if worker.stocks["web"].used]
        close(town, random.choice(busy), 1)
        assert opened(town, 0, 2) + opened(town, 1, 2) == 1
    assert (town.messages - before) / closes <= 3 * len(town.workers) + 3


def flow_for(town: Town, clock: Any, seconds: int, offers: Mapping[int, int]) -> int:
    """What is let through when each worker is offered so many per second, evenly in time; a message takes 1 ms."""
    answers: list[bool] = []
    for step in range(seconds * 1000):
        for number, rate in offers.items():
            flow = town.workers[number].flows["web"]
            for _ in range((step + 1) * rate // 1000 - step * rate // 1000):
                if flow.take():
                    answers.append(True)
                else:
                    flow.ask(answers.append)
        for worker in town.workers.values():
            while worker.say_one():
                pass
        clock.advance(0.001)
        for worker in town.workers.values():
            while worker.hear_one():
                pass
    return sum(answers)


def test_a_flow_is_exact_however_unevenly_it_is_offered(clock: Any) -> None:
    town = Town(clock, 2, {"web": FlowTerms(200, per=1, burst=200)})
    passed = flow_for(town, clock, 10, {0: 900, 1: 100})
    assert abs(passed - 2200) <= 110
    assert town.messages <= 10 * 2 * 2 / 0.005


def test_a_flow_within_its_rate_is_asked_about_once_a_batch(clock: Any) -> None:
    town = Town(clock, 1, {"web": FlowTerms(1000, per=1, burst=1000)})
    assert flow_for(town, clock, 10, {0: 900}) == 9000
    assert town.messages <= 10 * 2 / BATCH


def test_a_burst_smaller_than_a_batch_does_not_slow_the_flow(clock: Any) -> None:
    town = Town(clock, 1, {"web": FlowTerms(1000, per=1, burst=1)})
    assert abs(flow_for(town, clock, 10, {0: 2000}) - 10000) <= 500


def test_a_flow_that_is_faster_now_is_asked_again_at_once(clock: Any) -> None:
    town = Town(clock, 1, {"web": FlowTerms(1, per=3600, burst=1)})
    town.settle()
    flow, answers = town.workers[0].flows["web"], list[bool]()
    for _ in range(3):
        flow.ask(answers.append)
        town.settle()
    assert (answers, flow.take()) == ([True, False, False], False)
    town.define({"web": FlowTerms(1000, per=1, burst=1000)})
    town.settle()
    flow.ask(answers.append)
    town.settle()
    assert answers == [True, False, False, True]


def in_process(clock: Any, terms: Mapping[str, Terms]) -> tuple[Ledger, Limits, list[Said]]:
    """One worker: calls instead of messages."""
    ledger, said = Ledger(clock), list[Said]()

    def say(word: Said) -> None:
        said.append(word)
        ledger.hear(0, word)

    limits = Limits(clock, say)
    for key, wanted in terms.items():
        (limits.stock if isinstance(wanted, StockTerms) else limits.flow)(key)
    ledger.join(0, limits.hear)
    ledger.define(terms)
    return ledger, limits, said


def test_a_single_worker_has_the_whole_stock_and_asks_only_at_its_end(clock: Any) -> None:
    ledger, limits, said = in_process(clock, {"web": StockTerms(3)})
    stock = limits._limits["web"]
    assert isinstance(stock, Stock)
    answers: list[bool] = []
    assert [stock.take() for _ in range(4)] == [True, True, True, False]
    assert said == []
    for _ in range(3):
        stock.ask(answers.append)
    assert answers == [False] * 3
    assert [word.kind for word in said] == ["need"]
    stock.give()
    assert stock.take()
    ledger.define({"web": StockTerms(4)})
    stock.ask(answers.append)
    stock.ask(answers.append)
    assert answers == [False] * 3 + [True, False]


def test_a_single_worker_has_its_flow_by_calls(clock: Any) -> None:
    _, limits, _ = in_process(clock, {"web": FlowTerms(200, per=1, burst=200)})
    flow, answers = limits._limits["web"], list[bool]()
    for _ in range(10_000):
        flow.ask(answers.append)
        clock.advance(0.001)
    assert abs(sum(answers) - 2200) <= 20


def test_a_lowered_total_takes_back_what_is_spare_and_lends_nothing_until_it_is_met(clock: Any) -> None:
    town = Town(clock, 2, {"web": StockTerms(100)})
    town.settle()
    assert opened(town, 0, 60) == 60
    town.define({"web": StockTerms(50)})
    town.settle()
    assert town.pool().free == -10
    newcomer = town.join(2)
    town.settle()
    assert newcomer.stocks["web"].held == 0
    assert opened(town, 1, 1) == 0
    close(town, 0, 10)
    assert opened(town, 1, 1) == 0
    close(town, 0, 1)
    assert opened(town, 1, 2) == 1


def test_the_units_of_a_dead_worker_come_back_to_who_waits(clock: Any) -> None:
    town = Town(clock, 2, {"web": StockTerms(10)})
    town.settle()
    assert opened(town, 1, 10) == 10
    answers: list[bool] = []
    town.workers[0].stocks["web"].ask(answers.append)
    town.workers[0].say_one()
    town.leave(1)
    town.settle()
    assert answers == [True]


def test_who_dies_while_it_waits_or_is_waited_for_holds_up_nobody(clock: Any) -> None:
    town = Town(clock, 3, {"web": StockTerms(1)})
    deliver(town)
    assert opened(town, 1, 1) == 1
    answers: list[bool] = []
    for number in (0, 2):
        town.workers[number].stocks["web"].ask(answers.append)
        town.workers[number].say_one()
    town.leave(2)
    deliver(town)
    assert answers == [False]
    town.leave(1)
    deliver(town)
    assert opened(town, 0, 2) == 1


def test_what_is_freed_during_a_pause_is_told_after_it(clock: Any) -> None:
    town = Town(clock, 2, {"web": StockTerms(20)})
    town.settle()
    assert opened(town, 0, 21) == 20
    stock, answers = town.workers[1].stocks["web"], list[bool]()
    for _ in range(2):
        for _ in range(2):
            stock.ask(answers.append)
            deliver(town)
        town.workers[0].stocks["web"].give()
        deliver(town)
    for _ in range(2):
        stock.ask(answers.append)
        deliver(town)
        clock.advance(0.005)
        deliver(town)
    assert answers == [False, False, True, False, False, True]


def test_several_workers_by_calls_are_eased_after_they_were_recalled(clock: Any) -> None:
    ledger = Ledger(clock, workers=3)
    stocks: list[Stock] = []
    for number in range(3):

        def say(word: Said, number: int = number) -> None:
            ledger.hear(number, word)

        limits = Limits(clock, say)
        stocks.append(limits.stock("web"))
        ledger.join(number, limits.hear)
    ledger.define({"web": StockTerms(60)})
    assert stocks[2].take()
    answers: list[bool] = []
    while sum(stock.held for stock in stocks) < 60:
        stocks[0].ask(answers.append)
    while stocks[0].take():
        pass
    stocks[0].ask(answers.append)
    clock.advance(0.01)
    assert all(answers)
    held = stocks[2].held
    stocks[2].give()
    assert stocks[2].held == held


def test_a_stopped_worker_blocks_nobody_and_answers_late(clock: Any) -> None:
    town = Town(clock, 3, {"web": StockTerms(12)})
    town.settle()
    stopped = town.workers.pop(2)
    answers: list[bool] = []
    assert town.workers[1].stocks["web"].take()
    for _ in range(12):
        town.workers[0].stocks["web"].ask(answers.append)
        town.settle()
    clock.advance(0.5)
    town.settle()
    idle = stopped.stocks["web"].held
    assert answers == [True] * (11 - idle) + [False] * (1 + idle)
    town.workers[2] = stopped
    town.settle()
    assert opened(town, 0, 5) == idle == 1
    assert town.pool().free == 0


def test_a_limit_of_the_same_name_is_another_one(clock: Any) -> None:
    town = Town(clock, 1, {"web": StockTerms(4)})
    town.settle()
    old = town.workers[0].stocks["web"]
    assert old.take()
    town.define({})
    town.define({"web": FlowTerms(1, per=1, burst=1)})
    town.define({"web": StockTerms(2)})
    town.settle()
    old.give()
    assert opened(town, 0, 5) == 2
    assert town.pool().free == 0


def test_whoever_joins_while_somebody_is_hungry_keeps_nothing_spare(clock: Any) -> None:
    town = Town(clock, 1, {"web": StockTerms(1)})
    town.settle()
    for total in (1, 2, 3):  # the hope of the second reload comes at once; that of the third, after a pause
        town.define({"web": StockTerms(total)})
        for _ in range(2):
            town.workers[0].stocks["web"].ask(lambda _: None)
            deliver(town)
    town.define({"web": StockTerms(4)})
    other = town.join(1).stocks["web"]
    deliver(town)
    other.ask(lambda _: None)
    deliver(town)
    assert other.used == 1
    other.give()
    assert other.held == 0


def test_nothing_is_said_to_those_who_are_not_there(clock: Any) -> None:
    ledger, heard = Ledger(clock), list[Said]()
    ledger.hear(7, Said("need", "web", 0, 1))
    ledger.join(1, heard.append)
    ledger.hear(1, Said("need", "web", 0, 1))
    ledger.hear(1, Said("back", "web", 0, 1))
    assert heard == [Said("deny", "web", 0)]
