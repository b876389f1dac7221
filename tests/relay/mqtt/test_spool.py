"""Messages that waited on disk come to a broker in order, once each as far as it goes, and not after their time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.core.mqtt.message import Message
from meshproxy.net.journal import Journal
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.mqtt import SpoolStats
from meshproxy.relay.mqtt.spool import LONGEST_PAUSE, PAUSE, WINDOW, Done, Forwarder, Spool, pack, unpack
from meshproxy.wire.mqtt import Code, Malformed, Property
from tests.conftest import FakeClock
from tests.net.disks import Faulty, Hand

DAY = 86_400.0


class Broker:
    """At the end of a link: what it was sent and has not answered."""

    def __init__(self) -> None:
        self.up = False
        self.full = False
        self.waiters: set[Callable[[], None]] = set()
        self.sent: list[tuple[Message, Done]] = []
        self.answer_at_once: int | None = None
        self.got: list[Message] = []
        """All that it acknowledged."""

    def publish(self, message: Message, done: Done) -> None:
        assert self.up
        assert not self.full
        if self.answer_at_once is not None:
            self.got.append(message)
            done(self.answer_at_once)
        else:
            self.sent.append((message, done))

    def answer(self, *codes: int) -> None:
        for code in codes:
            message, done = self.sent.pop(0)
            if code < 0x80:
                self.got.append(message)
            done(code)


class Site:
    def __init__(self, path: Path, clock: FakeClock, size: int = 1 << 20, **how: bool) -> None:
        self.path = path
        self.clock = clock
        self.hand = Hand()
        self.disk = Faulty()
        self.stats = SpoolStats()
        clock.advance(0.001)
        self.journal = Journal(
            path, size, drop=how.pop("drop", False), clock=clock, aside=self.hand, log=Log(lambda line: None),
            stats=self.stats, disk=self.disk,
        )  # fmt: skip
        self.spool = Spool(self.journal, clock, **how)
        self.broker = Broker()
        self.emptied = 0
        self.forwarder = Forwarder(self.journal, self.broker, clock, expiry=DAY, emptied=self.on_emptied)
        self.codes: list[int] = []
        self.hand.settle()

    def on_emptied(self) -> None:
        assert self.spool.empty
        self.emptied += 1

    def publish(self, *messages: Message) -> None:
        for message in messages:
            self.spool.publish(message, self.codes.append)
        self.hand.settle()

    def link(self, up: bool) -> None:
        self.broker.up = up
        self.forwarder.changed(up)
        self.hand.settle()

    def answer(self, *codes: int) -> None:
        self.broker.answer(*codes)
        self.hand.settle()

    def sent(self) -> list[bytes]:
        return [message.payload for message, _ in self.broker.sent]

    def got(self) -> list[bytes]:
        return [message.payload for message in self.broker.got]

    def die(self) -> None:
        """The process is gone; nothing is noted."""
        for book in self.journal._shelf._books():
            book._close()
            self.disk.close(book._lock)


@pytest.fixture
def site(tmp_path: Path, clock: FakeClock) -> Callable[..., Site]:
    return lambda *size, **how: Site(tmp_path / "spool", clock, *size, **how)


def m(n: int, qos: int = 1, **more: int) -> Message:
    return Message(b"a/b", b"%d" % n, qos, **more)  # type: ignore[arg-type]


def payloads(*numbers: int) -> list[bytes]:
    return [b"%d" % n for n in numbers]


# What is kept


TEXT = st.text(st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), min_size=1, max_size=20)
PAIRS = st.lists(st.tuples(TEXT.map(str.encode), TEXT.map(str.encode)), min_size=1, max_size=4).map(tuple)
PROPERTIES = st.fixed_dictionaries({}, optional={
    Property.PAYLOAD_FORMAT_INDICATOR: st.integers(0, 1),
    Property.MESSAGE_EXPIRY_INTERVAL: st.integers(0, 2**32 - 1),
    Property.CONTENT_TYPE: TEXT.map(str.encode),
    Property.RESPONSE_TOPIC: TEXT.map(str.encode),
    Property.CORRELATION_DATA: st.binary(max_size=30),
    Property.USER_PROPERTY: PAIRS,
})  # fmt: skip
MESSAGES = st.builds(
    Message, TEXT.map(str.encode), st.binary(max_size=200), st.integers(0, 2), st.booleans(), PROPERTIES, st.text(
        st.characters(exclude_categories=["Cs"]), max_size=30)
)  # fmt: skip


@given(MESSAGES, st.integers(0, 2**41))
def test_a_message_is_kept_whole(message: Message, milliseconds: int) -> None:
    kept, came = unpack(pack(message, milliseconds / 1000))
    assert kept == message
    assert came == pytest.approx(milliseconds / 1000, abs=0.0011)


@given(st.binary(max_size=60))
def test_whatever_else_is_read_is_refused_in_one_of_the_known_ways(record: bytes) -> None:
    for data in (record, b"\1" + bytes(8) + b"\0\0" + record, b"\1" + bytes(8) + b"\0\1" + record):
        with suppress(Malformed, ValueError):
            unpack(data)


def test_acknowledged_when_it_is_on_disk_and_not_before(site: Callable[..., Site]) -> None:
    here = site()
    here.spool.publish(m(1), here.codes.append)
    here.hand.hear()
    assert here.hand.jobs
    assert here.codes == []
    assert not here.spool.empty
    here.hand.settle()
    assert here.codes == [Code.SUCCESS]
    assert here.stats.stored_total == here.stats.waiting == 1


def test_what_has_no_room_is_refused(site: Callable[..., Site]) -> None:
    here = site(400)
    here.publish(*(m(n) for n in range(20)))
    assert set(here.codes) == {Code.SUCCESS, Code.QUOTA_EXCEEDED}
    assert here.codes.count(Code.QUOTA_EXCEEDED) == here.stats.refused_total > 0
    here.broker.answer_at_once = 0
    here.link(True)
    assert here.got() == payloads(*range(here.stats.stored_total))


def test_the_oldest_give_way_where_it_is_said_so(site: Callable[..., Site]) -> None:
    here = site(8192, drop=True)
    for n in range(250):
        here.publish(m(n))
    assert set(here.codes) == {Code.SUCCESS}
    here.broker.answer_at_once = 0
    here.link(True)
    assert here.got() == payloads(*range(250))[-len(here.got()) :]
    assert here.stats.dropped_total == 250 - len(here.got()) > 0


def test_what_the_disk_refuses_is_not_acknowledged(site: Callable[..., Site]) -> None:
    here = site()
    here.disk.fails["sync"] = OSError(28, "No space left on device")
    here.publish(m(1))
    assert here.codes == [Code.IMPLEMENTATION_ERROR]
    assert here.stats.failed_total == 1
    here.disk.fails.clear()
    here.publish(m(2))
    assert here.codes[1:] == [Code.SUCCESS]


def test_who_publishes_faster_than_the_disk_writes_is_told_to_pause(site: Callable[..., Site]) -> None:
    here = site(8 << 20)
    told: list[bool] = []
    for _ in range(2):
        while not here.spool.full:
            here.spool.publish(Message(b"t", bytes(100_000), 1), here.codes.append)
        here.spool.waiters.add(lambda: told.append(here.spool.full))
        here.hand.settle()
    assert told == [False, False]


@pytest.mark.parametrize("kept", [False, True])
def test_qos_0_is_kept_only_where_it_is_said_so(site: Callable[..., Site], kept: bool) -> None:
    here = site(qos0=kept)
    here.spool.publish(m(1, qos=0), here.codes.append)
    assert here.codes == [Code.SUCCESS if kept else Code.UNSPECIFIED_ERROR]
    here.hand.settle()
    assert len(here.codes) == 1
    assert (here.stats.stored_total, here.stats.unfit_total) == ((1, 0) if kept else (0, 1))


# What is forwarded


def test_in_order_when_the_link_returns_a_window_at_a_time(site: Callable[..., Site]) -> None:
    here = site()
    here.publish(*(m(n, qos=1 + n % 2) for n in range(200)))
    assert here.sent() == []
    here.link(True)
    assert here.sent() == payloads(*range(WINDOW))
    here.answer(0, 0, Code.NO_SUBSCRIBERS)
    assert here.sent() == payloads(*range(3, WINDOW + 3))
    while here.broker.sent:
        here.answer(0)
    assert here.got() == payloads(*range(200))
    assert [message.qos for message in here.broker.got[:4]] == [1, 2, 1, 2]
    assert here.stats.forwarded_total == 200
    assert here.stats.waiting == 0


def test_told_when_nothing_waits_any_more_each_time(site: Callable[..., Site]) -> None:
    here = site()
    assert here.emptied == 1  # nothing was left behind
    here.publish(m(1))
    here.link(True)
    assert (here.emptied, here.spool.empty) == (1, False)
    here.answer(0)
    assert (here.emptied, here.spool.empty) == (2, True)
    here.publish(m(2))
    here.answer(0)
    assert here.emptied == 3


def test_what_is_published_while_it_is_forwarded_comes_behind(site: Callable[..., Site]) -> None:
    here = site()
    here.publish(m(1), m(2))
    here.link(True)
    here.publish(m(3))
    here.answer(0)
    here.publish(m(4))
    here.answer(0, 0, 0)
    assert here.got() == payloads(1, 2, 3, 4)


def test_what_a_link_that_is_gone_did_not_acknowledge_is_sent_again_in_order(site: Callable[..., Site]) -> None:
    here = site()
    here.publish(*(m(n) for n in range(6)))
    here.link(True)
    here.answer(0, 0)
    here.link(False)
    here.publish(m(6))
    assert here.sent() == payloads(2, 3, 4, 5)
    here.answer(*[Code.SERVER_UNAVAILABLE] * 4)
    assert here.sent() == []
    here.link(True)
    assert here.sent() == payloads(2, 3, 4, 5, 6)


def test_an_uplink_that_goes_on_by_itself_is_not_given_anything_twice(site: Callable[..., Site]) -> None:
    here = site()
    here.publish(m(1), m(2))
    here.link(True)
    here.link(False)
    here.link(True)
    assert here.sent() == payloads(1, 2)
    here.answer(0, 0)
    assert here.got() == payloads(1, 2)


def test_an_uplink_that_is_full_is_left_alone_until_it_is_not(site: Callable[..., Site]) -> None:
    here = site()
    here.publish(*(m(n) for n in range(3)))
    here.broker.full = True
    here.link(True)
    assert here.sent() == []
    here.broker.full = False
    (relieved,) = here.broker.waiters
    relieved()
    here.hand.settle()
    assert here.sent() == payloads(0, 1, 2)


def test_what_is_answered_at_once_needs_no_stack(site: Callable[..., Site]) -> None:
    here = site()
    here.publish(*(m(n) for n in range(3000)))
    here.broker.answer_at_once = 0
    here.link(True)
    assert here.got() == payloads(*range(3000))
    assert here.spool.empty


@pytest.mark.parametrize("code", [Code.NOT_AUTHORIZED, Code.TOPIC_NAME_INVALID, Code.PACKET_TOO_LARGE, 0x80, 0xFE])
def test_what_is_refused_for_good_is_counted_and_the_rest_goes_on(site: Callable[..., Site], code: int) -> None:
    here = site()
    here.publish(m(1), m(2), m(3))
    here.link(True)
    here.answer(0, code, 0)
    assert here.got() == payloads(1, 3)
    assert (here.stats.forwarded_total, here.stats.rejected_total) == (2, 1)
    assert here.spool.empty


@pytest.mark.parametrize("code", [Code.QUOTA_EXCEEDED, Code.IMPLEMENTATION_ERROR, Code.SERVER_BUSY])
def test_what_is_refused_for_now_is_sent_again_later_and_later(
    site: Callable[..., Site], clock: FakeClock, code: int
) -> None:
    here = site()
    here.publish(m(1), m(2), m(3))
    here.link(True)
    here.answer(0, code)
    here.publish(m(4))
    assert here.sent() == payloads(3)  # nothing more, until it is answered
    here.answer(0)
    assert here.sent() == []
    pause = PAUSE
    for _ in range(8):
        clock.advance(pause - 0.01)
        assert here.sent() == []
        clock.advance(0.01)
        here.hand.settle()
        assert here.sent() == payloads(2, 4)
        here.answer(code, code)
        pause = min(pause * 2, LONGEST_PAUSE)
    clock.advance(pause)
    here.hand.settle()
    here.answer(0, 0)
    assert here.got() == payloads(1, 3, 2, 4)
    assert here.stats.rejected_total == 0
    here.publish(m(5))
    here.answer(code)
    clock.advance(PAUSE)
    assert here.sent() == payloads(5)  # the pauses begin anew


def test_a_link_that_comes_back_does_not_wait_for_the_pause(site: Callable[..., Site]) -> None:
    here = site()
    here.publish(m(1))
    here.link(True)
    here.answer(Code.QUOTA_EXCEEDED)
    here.link(False)
    here.link(True)
    assert here.sent() == payloads(1)
    assert here.clock.pending == 1  # the journal's look; not the pause


def test_stopped_it_sends_nothing_more(site: Callable[..., Site], clock: FakeClock) -> None:
    here = site()
    here.publish(m(1), m(2))
    here.link(True)
    here.forwarder.stop()
    here.answer(0, Code.SERVER_UNAVAILABLE)
    assert clock.pending == 2  # the journal's
    clock.advance(100)
    here.publish(m(3))
    here.link(True)
    assert here.sent() == []
    assert here.stats.waiting == 2


# What is too old


def test_what_has_waited_too_long_is_dropped_and_counted(site: Callable[..., Site], clock: FakeClock) -> None:
    here = site()
    here.publish(m(1))
    clock.advance(DAY - 5)
    here.publish(m(2))
    clock.advance(5)
    here.link(True)
    assert here.sent() == payloads(2)
    assert here.stats.expired_total == 1


def test_an_expiry_interval_is_kept_and_what_is_left_of_it_is_passed_on(
    site: Callable[..., Site], clock: FakeClock
) -> None:
    here = site()
    said: dict[int, Any] = {Property.MESSAGE_EXPIRY_INTERVAL: 60, Property.CONTENT_TYPE: b"text"}
    here.publish(Message(b"t", b"1", 1, properties=said))
    clock.advance(20.5)
    here.publish(Message(b"t", b"2", 1, properties={Property.MESSAGE_EXPIRY_INTERVAL: 20}))
    clock.advance(20)
    here.link(True)
    ((message, _),) = here.broker.sent
    assert message.properties == {Property.MESSAGE_EXPIRY_INTERVAL: 20, Property.CONTENT_TYPE: b"text"}
    assert said[Property.MESSAGE_EXPIRY_INTERVAL] == 60
    assert here.stats.expired_total == 1


def test_a_clock_that_was_set_back_makes_nothing_older_or_younger_than_new(site: Callable[..., Site]) -> None:
    here = site()
    later = Message(b"t", b"1", 1, properties={int(Property.MESSAGE_EXPIRY_INTERVAL): 60})
    here.journal.append(pack(later, here.clock.wall() + 3600), lambda ok: None)
    here.hand.settle()
    here.link(True)
    assert [message for message, _ in here.broker.sent] == [later]


# The next process


def test_what_a_process_that_died_had_acknowledged_is_forwarded_by_the_next(site: Callable[..., Site]) -> None:
    here = site()
    here.publish(*(m(n) for n in range(5)))
    here.link(True)
    here.answer(0)
    here.die()
    there = site()
    assert there.emptied == 0
    assert not there.spool.empty
    there.publish(m(5))
    there.link(True)
    # That the first was acknowledged was not noted yet: at least once.
    assert there.sent() == payloads(*range(6))
    there.answer(*[0] * 6)
    assert there.spool.empty


def test_what_cannot_be_understood_is_counted_and_passed_over(site: Callable[..., Site]) -> None:
    here = site()
    for record in (b"", b"\2" + bytes(10), b"\1" + bytes(10) + b"\xc0\0", pack(m(1), 0)[:-3]):
        here.journal.append(record, lambda ok: None)
    here.publish(m(2))
    here.link(True)
    assert here.sent() == payloads(2)
    assert here.stats.damaged_total == 4
