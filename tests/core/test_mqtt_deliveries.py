"""The ids of what is delivered, over the deaths of brokers: each stage of a message, and any order of all of them."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from meshproxy.core.mqtt.deliveries import MOST, Deliveries, Settled, Stage
from meshproxy.wire.mqtt import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL
from tests.examples import examples


def at(stage: Stage) -> Deliveries:
    """A message under id 7, so far."""
    deliveries = Deliveries()
    assert deliveries.sent(7, 1 if stage is Stage.PUBACK else 2) == 7
    if stage >= Stage.PUBREL:
        deliveries.received(7)
    if stage is Stage.PUBCOMP:
        assert deliveries.released(7) == 7
    assert deliveries.stages == {7: stage}
    return deliveries


@pytest.mark.parametrize(
    ("stage", "released", "left"),
    [
        (Stage.PUBACK, [], Stage.PUBACK),
        (Stage.PUBREC, [], Stage.PUBREC),
        (Stage.PUBREL, [7], Stage.PUBCOMP),
        (Stage.PUBCOMP, [], Stage.PUBCOMP),
    ],
)
def test_what_was_begun_is_brought_to_its_end(stage: Stage, released: list[int], left: Stage) -> None:
    deliveries = at(stage)
    assert deliveries.is_open is (stage is not Stage.PUBACK)
    assert deliveries.open == 1
    assert deliveries.orphaned() == released
    assert deliveries.orphans == {7: left}
    assert (deliveries.stages, deliveries.open, deliveries.is_open) == ({}, 1, False)
    assert deliveries.settle(7, left) is (Settled.RELEASE if left is Stage.PUBREC else Settled.OVER)
    if left is Stage.PUBREC:
        assert deliveries.orphans == {7: Stage.PUBCOMP}
        assert deliveries.settle(7, left) is Settled.KNOWN
        assert deliveries.settle(7, Stage.PUBCOMP) is Settled.OVER
    assert deliveries.settle(7, Stage.PUBCOMP) is Settled.OTHER
    assert deliveries.open == 0


@pytest.mark.parametrize("stage", [Stage.PUBACK, Stage.PUBREL])
def test_what_is_acknowledged_is_over(stage: Stage) -> None:
    deliveries = at(stage)
    deliveries.acknowledged(7)
    assert deliveries.orphaned() == []
    assert deliveries.orphans == {}
    assert deliveries.settle(7, stage) is Settled.OTHER


def test_another_message_under_an_id_that_is_not_over() -> None:
    deliveries = at(Stage.PUBREC)
    deliveries.orphaned()
    given = deliveries.sent(7, 2)
    assert given == MOST
    assert deliveries.has(7)
    assert deliveries.sent(7, 2) == given, "the same once more"
    deliveries.received(given)
    assert deliveries.broker_id(given) == 7
    assert deliveries.released(7) == given
    deliveries.acknowledged(given)
    assert deliveries.settle(7, Stage.PUBREC) is Settled.RELEASE
    assert deliveries.settle(7, Stage.PUBCOMP) is Settled.OVER
    assert not deliveries.has(7)
    assert deliveries.sent(7, 1) == 7, "it is free again"


def test_an_id_that_was_given_in_the_place_of_another_is_not_the_brokers() -> None:
    deliveries = at(Stage.PUBACK)
    deliveries.orphaned()
    given = deliveries.sent(7, 1)
    other = deliveries.sent(given, 1)
    assert other not in (7, given)
    assert deliveries.broker_id(other) == given
    assert deliveries.broker_id(given) == 7


def test_an_id_that_the_broker_uses_is_not_given() -> None:
    deliveries = at(Stage.PUBACK)
    deliveries.orphaned()
    assert deliveries.sent(MOST, 1) == MOST
    assert deliveries.sent(7, 1) == MOST - 1


def test_what_was_given_is_forgotten_with_the_broker() -> None:
    deliveries = at(Stage.PUBACK)
    deliveries.orphaned()
    given = deliveries.sent(7, 1)
    deliveries.orphaned()
    assert deliveries.orphans == {7: Stage.PUBACK, given: Stage.PUBACK}
    for number in (7, given):
        assert deliveries.settle(number, Stage.PUBACK) is Settled.OVER
        assert deliveries.sent(number, 1) == number
        assert deliveries.broker_id(number) == number


def test_a_message_that_comes_again_is_where_it_was() -> None:
    deliveries = at(Stage.PUBREL)
    assert deliveries.has(7)
    assert deliveries.sent(7, 2) == 7
    assert deliveries.stages == {7: Stage.PUBREL}


class Broker:
    def __init__(self) -> None:
        self.open: dict[int, tuple[int, int, bool]] | None = None
        """The session, by id: QoS, message, and whether it was received."""


class Brokers(RuleBasedStateMachine):
    """Two brokers that deliver under few ids, one client, and a relay that does what a session does."""

    def __init__(self) -> None:
        super().__init__()
        self.deliveries = Deliveries()
        self.brokers = [Broker(), Broker()]
        self.home = -1
        self.left_open: set[int] = set()
        self.there = False
        self.down: deque[tuple[int, int, int, int]] = deque()
        """From the broker: kind, id, QoS, message."""
        self.up: deque[tuple[int, int]] = deque()
        self.sent = 0
        self.got: list[int] = []
        self.qos: dict[int, int] = {}
        self.unacknowledged: set[int] = set()
        """Of QoS 1, by the client."""
        self.unreleased: dict[int, int] = {}
        """Messages of QoS 2, by id."""
        self.said: deque[tuple[int, int]] = deque()
        """By the client: kind and id."""

    @initialize()
    def begin(self) -> None:
        self.connect(0, kept=False)

    # The broker

    def session(self) -> dict[int, tuple[int, int, bool]]:
        open = self.brokers[self.home].open
        assert open is not None
        return open

    @precondition(lambda self: self.there)
    @rule(number=st.sampled_from([1, 2, MOST, MOST - 1]), qos=st.sampled_from([1, 2]))
    def delivers(self, number: int, qos: int) -> None:
        if number not in self.session():
            self.sent += 1
            self.qos[self.sent] = qos
            self.session()[number] = qos, self.sent, False
            self.down.append((PUBLISH, number, qos, self.sent))

    @precondition(lambda self: self.up)
    @rule()
    def broker_hears(self) -> None:
        kind, number = self.up.popleft()
        session = self.session()
        if number not in session:
            return
        qos, message, received = session[number]
        if kind == PUBREC and qos == 2:
            session[number] = qos, message, True
            self.down.append((PUBREL, number, 2, message))
        elif kind == (PUBACK if qos == 1 else PUBCOMP):
            assert qos == 1 or received
            del session[number]

    @precondition(lambda self: self.there)
    @rule()
    def dies(self) -> None:
        self.there = False
        self.up.clear()
        self.down.clear()
        if self.deliveries.is_open:
            self.left_open.add(self.home)

    @precondition(lambda self: not self.there)
    @rule(which=st.sampled_from([0, 1]), kept=st.booleans())
    def connect(self, which: int, kept: bool) -> None:
        broker = self.brokers[which]
        if not kept or (which != self.home and which in self.left_open):
            broker.open = None
        same = broker.open is not None and which == self.home
        broker.open = broker.open or {}
        self.there, self.home = True, which
        self.left_open.discard(which)
        if not same:
            for given in self.deliveries.orphaned():
                self.client_hears(PUBREL, given, 2, 0)
        for number, (qos, message, received) in broker.open.items():
            self.down.append((PUBREL if received else PUBLISH, number, qos, message))

    # The relay

    @precondition(lambda self: self.down)
    @rule()
    def relay_hears(self) -> None:
        kind, number, qos, message = self.down.popleft()
        given = self.deliveries.sent(number, qos) if kind == PUBLISH else self.deliveries.released(number)
        self.client_hears(kind, given, qos, message)

    @precondition(lambda self: self.said)
    @rule()
    def relay_takes(self) -> None:
        kind, given = self.said.popleft()
        stage = {PUBACK: Stage.PUBACK, PUBREC: Stage.PUBREC, PUBCOMP: Stage.PUBCOMP}[kind]
        settled = self.deliveries.settle(given, stage)
        if settled is not Settled.OTHER:
            if settled is Settled.RELEASE:
                self.client_hears(PUBREL, given, 2, 0)
            return
        number = self.deliveries.broker_id(given)
        if stage is Stage.PUBREC:
            self.deliveries.received(given)
        else:
            self.deliveries.acknowledged(given)
        if self.there:
            self.up.append((kind, number))

    # The client

    def client_hears(self, kind: int, number: int, qos: int, message: int) -> None:
        if kind == PUBREL:
            self.unreleased.pop(number, None)
            self.said.append((PUBCOMP, number))
        elif qos == 1:
            self.got.append(message)
            self.said.append((PUBACK, number))
        else:
            if number in self.unreleased:
                assert self.unreleased[number] == message, "it is taken for one that has come before, and lost"
            else:
                self.got.append(message)
                self.unreleased[number] = message
            self.said.append((PUBREC, number))

    def teardown(self) -> None:
        if not self.there:
            self.connect(self.home, kept=True)
        while self.said or self.up or self.down:
            while self.said:
                self.relay_takes()
            while self.up:
                self.broker_hears()
            while self.down:
                self.relay_hears()
        assert not self.unreleased, "nobody has released what the client waits for"
        assert self.deliveries.open == 0
        assert not self.session(), "the broker waits"
        for message in self.got:
            assert self.qos[message] == 1 or self.got.count(message) == 1, "exactly once"


TestBrokers: Any = Brokers.TestCase
TestBrokers.settings = examples(100, stateful_step_count=40, deadline=None)
