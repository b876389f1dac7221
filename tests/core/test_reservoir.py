"""A limit that many proxies have together: never more than is drawn, and nobody waits for who keeps it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from meshproxy.core.ledger import Drawn, FlowTerms, Ledger, SharedTerms
from meshproxy.core.limit import PATIENCE, Flow, Limits, Said
from meshproxy.model import Address
from meshproxy.model.limits import Redis
from tests.examples import examples

ADDRESS = Address("unix", path="/redis")


class Keeper:
    """What Redis does, as slow as a test likes."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.at = clock.now()
        self.tokens = 0.0
        self.given = 0
        self.asked: deque[tuple[SharedTerms, int, Drawn]] = deque()
        self.draws = 0

    def draw(self, terms: SharedTerms, wanted: int, told: Drawn) -> None:
        self.draws += 1
        self.asked.append((terms, wanted, told))

    def answer(self, *, fails: bool = False) -> bool:
        if not self.asked:
            return False
        terms, wanted, told = self.asked.popleft()
        flow = terms.flow
        now = self.clock.now()
        self.tokens = min(self.tokens + (now - self.at) * flow.amount / flow.per, flow.burst)
        self.at = now
        amount = min(wanted, int(self.tokens))
        if fails:
            told(-1, 0.0)
            return True
        self.tokens -= amount
        self.given += amount
        told(amount, 0.0 if amount else (1 - self.tokens) * flow.per / flow.amount)
        return True


class Proxy:
    """Two workers by calls."""

    def __init__(self, clock: Any, keeper: Keeper, flow: FlowTerms, on_error: Any = "refuse") -> None:
        self.terms = SharedTerms(flow, Redis(ADDRESS, "web", on_error=on_error))
        self.ledger = Ledger(clock, 2, keeper.draw)
        self.flows: list[Flow] = []
        for number in range(2):

            def say(said: Said, number: int = number) -> None:
                self.ledger.hear(number, said)

            limits = Limits(clock, say)
            self.flows.append(limits.flow("web"))
            self.ledger.join(number, limits.hear)
        self.ledger.define({"web": self.terms})

    def offer(self, worker: int, answers: list[bool]) -> None:
        flow = self.flows[worker]
        if flow.take():
            answers.append(True)
        else:
            flow.ask(answers.append)


class Anything(RuleBasedStateMachine):
    """Two proxies, a keeper that answers late, in any order, or fails."""

    new_clock: Callable[[], Any]

    def __init__(self) -> None:
        super().__init__()
        self.clock = self.new_clock()
        self.keeper = Keeper(self.clock)
        self.proxies = [Proxy(self.clock, self.keeper, FlowTerms(100, 1, 10)) for _ in range(2)]
        self.offered: list[list[bool]] = []

    @rule(proxy=st.integers(0, 1), worker=st.integers(0, 1), times=st.integers(1, 5))
    def offer(self, proxy: int, worker: int, times: int) -> None:
        for _ in range(times):
            answers: list[bool] = []
            self.offered.append(answers)
            self.proxies[proxy].offer(worker, answers)

    @rule(fails=st.booleans())
    def answer(self, fails: bool) -> None:
        self.keeper.answer(fails=fails)

    @rule(seconds=st.sampled_from([0.001, 0.01, 0.1, 0.5]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(proxy=st.integers(0, 1), amount=st.sampled_from([10, 100, 1000]))
    def redefine(self, proxy: int, amount: int) -> None:
        changed = self.proxies[proxy]
        changed.ledger.define({"web": SharedTerms(FlowTerms(amount, 1, 10), changed.terms.redis)})

    @invariant()
    def no_more_is_let_in_than_was_drawn(self) -> None:
        assert sum(map(sum, self.offered)) <= self.keeper.given

    @invariant()
    def nobody_is_told_twice_and_one_draw_is_under_way_for_each_proxy(self) -> None:
        assert all(len(answers) <= 1 for answers in self.offered)
        assert len(self.keeper.asked) <= 2

    def teardown(self) -> None:
        self.clock.advance(PATIENCE)
        assert all(len(answers) == 1 for answers in self.offered)


def test_anything_may_happen_in_any_order(clock: Any) -> None:
    class Here(Anything):
        new_clock = type(clock)

    run_state_machine_as_test(Here, settings=examples(100, stateful_step_count=40, deadline=None))


def run_for(clock: Any, keeper: Keeper, proxies: list[Proxy], seconds: float, *, fails: bool = False) -> int:
    """What is let in where each worker of each proxy is offered 1000 per second, and an answer takes 1 ms."""
    answers: list[bool] = []
    for _ in range(round(seconds * 1000)):
        for proxy in proxies:
            for worker in range(2):
                proxy.offer(worker, answers)
        clock.advance(0.001)
        while keeper.answer(fails=fails):
            pass
    return sum(answers)


def test_proxies_have_exactly_the_limit_together(clock: Any) -> None:
    keeper = Keeper(clock)
    proxies = [Proxy(clock, keeper, FlowTerms(500, 1, 50)) for _ in range(3)]
    inside = run_for(clock, keeper, proxies, 5)
    assert abs(inside - 2550) <= 125
    assert keeper.draws <= 3 * 5 * 200, "and ask seldom"


def test_the_usual_request_waits_for_nobody(clock: Any) -> None:
    keeper = Keeper(clock)
    proxy = Proxy(clock, keeper, FlowTerms(10_000, 1, 10_000))
    clock.advance(1)
    keeper.answer()
    waited = 0
    for _ in range(2000):
        waited += not proxy.flows[0].take()
        clock.advance(0.001)
        keeper.answer()
    assert waited == 0
    assert keeper.draws <= 2000 / 100


@pytest.mark.parametrize(("on_error", "least", "most"), [("local", 950, 1100), ("allow", 2000, 4000), ("refuse", 0, 0)])
def test_what_happens_while_nobody_answers(clock: Any, on_error: str, least: int, most: int) -> None:
    keeper = Keeper(clock)
    keeper.tokens = 500
    proxy = Proxy(clock, keeper, FlowTerms(500, 1, 500), on_error)
    run_for(clock, keeper, [proxy], 1)
    left = proxy.ledger._accounts["web"]._drawn  # type: ignore[union-attr]
    lent = sum(flow._spare for flow in proxy.flows)
    inside = run_for(clock, keeper, [proxy], 2, fails=True)
    assert least <= inside - left - lent <= most
    run_for(clock, keeper, [proxy], 1)
    assert abs(run_for(clock, keeper, [proxy], 1) - 500) <= 25, "and after it the limit is the limit"


def test_a_wait_that_another_clock_has_made_up_is_not_believed(clock: Any) -> None:
    asked: list[Drawn] = []
    keeper = Keeper(clock)
    keeper.draw = lambda terms, wanted, told: asked.append(told)  # type: ignore[method-assign]
    proxy = Proxy(clock, keeper, FlowTerms(10, 1, 1))
    answers: list[bool] = []
    proxy.offer(0, answers)
    asked.pop()(0, 1e9)
    assert answers == [False]
    clock.advance(0.2)
    proxy.offer(0, answers)
    asked.pop()(1, 0.0)
    assert answers == [False, True]
