"""What a client has asked, over the deaths of brokers: each stage of a message, and any order of all of them."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from meshproxy.core.mqtt.requests import DUPLICATE, Again, Received, Requests
from meshproxy.wire.mqtt import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL
from tests.examples import examples


def publish(number: int, qos: int = 2, payload: bytes = b"") -> bytes:
    return bytes((PUBLISH << 4 | qos << 1,)) + number.to_bytes(2, "big") + payload


def ack(kind: int, number: int) -> bytes:
    return bytes((kind << 4,)) + number.to_bytes(2, "big")


def twice(packet: bytes) -> bytes:
    return bytes((packet[0] | DUPLICATE,)) + packet[1:]


ONE, TWO = publish(7, 1), publish(7)
RELEASE = ack(PUBREL, 7)
ASKS = b"\x82 what is subscribed"


def begun(stage: str) -> Requests:
    """A message of QoS 2 under id 7, so far."""
    requests = Requests()
    requests.asked(7, TWO)
    if stage != "sent":
        assert requests.received(7) is Received.TELL
    if stage == "released":
        assert requests.released(7, RELEASE)
    requests.lost()
    if stage == "released meanwhile":
        assert not requests.released(7, RELEASE)
    return requests


@pytest.mark.parametrize("present", [False, True])
@pytest.mark.parametrize("packet", [ONE, TWO])
def test_what_is_not_answered_is_asked_again(packet: bytes, present: bool) -> None:
    requests = Requests()
    requests.asked(7, packet)
    requests.lost()
    assert requests.again(present=present) == Again([twice(packet)], [])
    assert requests.waiting == 1
    requests.answered(7)
    assert requests.waiting == 0
    assert requests.again(present=present) == Again([], [])


def test_all_in_order_and_a_subscription_as_it_was() -> None:
    requests = Requests()
    requests.asked(3, publish(3, 1))
    requests.asked(1, ASKS)
    requests.asked(2, publish(2))
    requests.asked(4, publish(4, 1))
    requests.answered(4)
    requests.lost()
    assert requests.again(present=False).packets == [twice(publish(3, 1)), ASKS, twice(publish(2))]


@pytest.mark.parametrize("present", [False, True])
def test_a_client_that_has_its_pubrec_gets_no_second(present: bool) -> None:
    requests = begun("told")
    assert requests.waiting == 0
    assert requests.again(present=present).packets == [twice(TWO)]
    assert requests.is_known(7)
    assert requests.received(7) is Received.KNOWN
    assert not requests.is_known(7)
    assert requests.released(7, RELEASE)
    assert requests.kept == {7: RELEASE}


@pytest.mark.parametrize("present", [False, True])
def test_a_pubrel_waits_until_the_next_broker_has_the_message(present: bool) -> None:
    requests = begun("released meanwhile")
    assert requests.waiting == 1
    assert requests.again(present=present).packets == [twice(TWO)]
    assert requests.received(7) is Received.RELEASE
    assert requests.kept == {7: RELEASE}
    requests.answered(7)
    assert requests.waiting == 0


def test_a_pubrel_that_comes_before_the_second_pubrec() -> None:
    requests = begun("told")
    requests.again(present=False)
    assert not requests.released(7, RELEASE)
    assert requests.received(7) is Received.RELEASE


def test_a_pubrel_that_was_sent_is_nobody_elses_affair() -> None:
    assert begun("released").again(present=False) == Again([], [7])
    requests = begun("released")
    assert requests.again(present=True) == Again([RELEASE], [])
    requests.lost()
    assert requests.again(present=False) == Again([], [7])


def test_two_brokers_die_one_after_the_other() -> None:
    """The second has never said that it has the message: that it has the session is no reason to leave it out."""
    requests = begun("told")
    requests.again(present=False)
    requests.lost()
    assert requests.again(present=True).packets == [twice(TWO)]
    assert requests.received(7) is Received.KNOWN


def test_one_that_a_broker_refuses_whose_client_has_gone_on() -> None:
    requests = begun("released meanwhile")
    requests.again(present=False)
    assert requests.is_known(7)
    assert requests.answered(7) == RELEASE
    assert (requests.kept, requests.waiting, requests.is_known(7)) == ({}, 0, False)


@pytest.mark.parametrize(
    ("packet", "is_open"),
    [(ONE, False), (TWO, True), (RELEASE, True), (b"\xa2 what is left", False), (ASKS, False)],
)
def test_whether_a_broker_may_have_the_beginning_of_a_message(packet: bytes, is_open: bool) -> None:
    requests = Requests()
    assert not requests.is_open
    requests.asked(7, packet)
    assert requests.is_open is is_open


class Broker:
    """Passes a message of QoS 2 on when it is released."""

    def __init__(self) -> None:
        self.session: dict[int, bytes] | None = None
        """What is not released."""
        self.got: list[bytes] = []

    def take(self, packet: bytes) -> bytes:
        assert self.session is not None
        kind, number = packet[0] >> 4, int.from_bytes(packet[1:3], "big")
        if kind == PUBREL:
            if number in self.session:
                self.got.append(self.session.pop(number))
            return ack(PUBCOMP, number)
        if packet[0] & 4:
            self.session.setdefault(number, packet[3:])
            return ack(PUBREC, number)
        self.got.append(packet[3:])
        return ack(PUBACK, number)


class Brokers(RuleBasedStateMachine):
    """One client, two brokers of which one is there or none, and a relay that does what a session does."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = Requests()
        self.brokers = [Broker(), Broker()]
        self.home = -1
        self.left_open: set[int] = set()
        self.there = False
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.client: dict[int, tuple[int, bytes, str]] = {}
        """What it has under way: QoS, payload, and how far it is."""
        self.sent = 0
        self.promised: dict[bytes, int] = {}
        self.in_doubt: set[bytes] = set()

    @initialize()
    def begin(self) -> None:
        self.connect(0, kept=False)

    # The client

    @rule(number=st.integers(1, 4), qos=st.sampled_from([1, 2]))
    def publishes(self, number: int, qos: int) -> None:
        if number not in self.client:
            self.sent += 1
            payload = b"%d" % self.sent
            self.client[number] = qos, payload, "sent"
            packet = publish(number, qos, payload)
            self.requests.asked(number, packet)
            self.to_broker(packet)

    @rule(number=st.integers(1, 4))
    def releases(self, number: int) -> None:
        qos, payload, stage = self.client.get(number, (0, b"", ""))
        if stage == "received":
            self.client[number] = qos, payload, "released"
            if self.requests.released(number, ack(PUBREL, number)):
                self.to_broker(ack(PUBREL, number))

    def hears(self, kind: int, number: int) -> None:
        qos, payload, stage = self.client[number]
        if kind == PUBREC:
            assert (qos, stage) == (2, "sent"), "a client hears of each message once"
            self.client[number] = qos, payload, "received"
            self.promised[payload] = qos
            return
        assert (kind, stage) == ((PUBACK, "sent") if qos == 1 else (PUBCOMP, "released"))
        self.promised[payload] = qos
        del self.client[number]

    # The relay

    def to_broker(self, packet: bytes) -> None:
        if self.there:
            self.up.append(packet)

    @precondition(lambda self: self.down)
    @rule()
    def relay_hears(self) -> None:
        packet = self.down.popleft()
        kind, number = packet[0] >> 4, int.from_bytes(packet[1:3], "big")
        if kind == PUBREC:
            received = self.requests.received(number)
            if received is Received.RELEASE:
                self.to_broker(self.requests.kept[number])
            if received is not Received.TELL:
                return
        else:
            self.requests.answered(number)
        self.hears(kind, number)

    # The brokers

    @precondition(lambda self: self.up)
    @rule()
    def broker_hears(self) -> None:
        self.down.append(self.brokers[self.home].take(self.up.popleft()))

    @precondition(lambda self: self.there)
    @rule(kept=st.booleans())
    def dies(self, kept: bool) -> None:
        """With or without its memory; what is on the way is lost."""
        self.there = False
        self.up.clear()
        self.down.clear()
        if not kept:
            self.brokers[self.home].session = None
        self.requests.lost()
        if self.requests.is_open:
            self.left_open.add(self.home)

    @precondition(lambda self: not self.there)
    @rule(which=st.sampled_from([0, 1]), kept=st.booleans())
    def connect(self, which: int, kept: bool) -> None:
        broker = self.brokers[which]
        if not kept or (which != self.home and which in self.left_open):
            broker.session = None
        present, broker.session = broker.session is not None, broker.session or {}
        same = present and which == self.home
        self.there, self.home = True, which
        self.left_open.discard(which)
        again = self.requests.again(present=present)
        for packet in again.packets:
            self.to_broker(packet)
            if packet[0] >> 4 == PUBREL and not same:
                self.in_doubt.add(self.client[int.from_bytes(packet[1:3], "big")][1])
        for number in again.in_doubt:
            self.in_doubt.add(self.client[number][1])
            self.hears(PUBCOMP, number)

    def teardown(self) -> None:
        if not self.there:
            self.connect(0, kept=True)
        while self.client:
            for number in tuple(self.client):
                self.releases(number)
            assert self.up or self.down, f"{self.client} wait for nothing"
            while self.up:
                self.broker_hears()
            while self.down:
                self.relay_hears()
        assert not self.requests.kept
        assert self.requests.waiting == 0
        got = [each for broker in self.brokers for each in broker.got]
        for payload, qos in self.promised.items():
            assert payload in got or payload in self.in_doubt, "what was acknowledged is lost"
            assert qos == 1 or got.count(payload) <= 1, "exactly once"


TestBrokers: Any = Brokers.TestCase
TestBrokers.settings = examples(100, stateful_step_count=40, deadline=None)
