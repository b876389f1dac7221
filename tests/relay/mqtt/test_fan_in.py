"""Many clients over few uplinks: what is asked of the broker, and who gets what comes from it."""

from __future__ import annotations

import gc
import weakref

import pytest

from meshproxy.core.mqtt.message import Message
from meshproxy.relay.mqtt.echoes import AWAITED, MOST
from meshproxy.relay.mqtt.fan_in import FanIn
from meshproxy.relay.mqtt.house import Measure
from meshproxy.relay.mqtt.trunk import LATE, MOST_FETCHES, Hear
from meshproxy.wire.mqtt import (
    PUBACK,
    V5,
    V311,
    Ack,
    Code,
    Disconnect,
    Ping,
    Pong,
    Property,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from tests.conftest import FakeClock
from tests.relay.mqtt.houses import LEVELS, MANNERS, Client, FakeUplink, Somebody, Turns, codes


class World:
    def __init__(
        self,
        clock: FakeClock,
        level: int = V5,
        *,
        connections: int = 1,
        filters: int = 100,
        up: bool = True,
        measure: Measure = MANNERS,
    ) -> None:
        self.clock = clock
        self.level = level
        self.turns = Turns()
        self.uplinks: list[FakeUplink] = []
        self._up = up
        self.house = FanIn(self.make, connections, level, filters, measure, clock, self.turns.soon)
        self.uplink = self.uplinks[0]

    def make(self, number: int, hear: Hear) -> FakeUplink:
        assert number == len(self.uplinks)
        self.uplinks.append(FakeUplink(hear, self._up))
        return self.uplinks[-1]

    def client(self, id: str, level: int = V5, will: Will | None = None) -> Client:
        client = Client(self.house.seat(Somebody(id, level)), level)
        client.connect(will, id)
        return client

    def subscriber(self, id: str, *filters: bytes | Subscription, qos: int = 0, level: int = V5) -> Client:
        client = self.client(id, level)
        client.subscribe(*filters, qos=qos)
        self.grant()
        client.take()
        return client

    def grant(self) -> None:
        for uplink in self.uplinks:
            uplink.grant_all()

    def asked(self) -> list[Subscription]:
        """What was asked of the broker and is not answered yet."""
        return [each.subscription for each in self.uplink.subscribed]


@pytest.fixture(params=LEVELS)
def world(clock: FakeClock, request: pytest.FixtureRequest) -> World:
    return World(clock, request.param)


# What is asked of the broker


def test_a_filter_is_subscribed_once_for_all(world: World) -> None:
    first, second = world.client("a"), world.client("b")
    assert first.subscribe(Subscription(b"t/+", 1, retain_handling=2)) == []
    assert second.subscribe(Subscription(b"t/+", 1, retain_handling=2)) == []
    assert len(world.uplink.subscribed) == 1
    world.uplink.grant()
    assert codes(first.take()) == codes(second.take()) == (1,)
    third = world.client("c")
    assert codes(third.subscribe(Subscription(b"t/+", 0, retain_handling=2))) == (0,)
    assert world.asked() == []


def test_a_broker_of_5_0_is_asked_with_an_identifier_and_as_published(clock: FakeClock) -> None:
    world = World(clock)
    world.client("a").subscribe(Subscription(b"t/+", 1, retain_handling=2))
    assert world.asked() == [Subscription(b"t/+", 1, as_published=True, retain_handling=2)]
    assert world.uplink.subscribed[0].identifier == 1


def test_a_higher_qos_is_asked_for_when_the_first_wants_it(world: World) -> None:
    first, second = world.client("a"), world.client("b")
    first.subscribe(Subscription(b"t", 0, retain_handling=2))
    second.subscribe(Subscription(b"t", 2, retain_handling=2))
    assert [each.qos for each in world.asked()] == [0, 2]
    world.uplink.grant()
    assert (codes(first.take()), codes(second.take())) == ((0,), (2,))
    third = world.client("c")
    assert codes(third.subscribe(Subscription(b"t", 2, retain_handling=2))) == (2,)


def test_what_the_broker_grants_is_what_clients_are_told(world: World) -> None:
    first = world.client("a")
    first.subscribe(Subscription(b"t", 2, retain_handling=2), Subscription(b"u", 2, retain_handling=2))
    asked = world.uplink.subscribed
    asked[0].done(1)
    assert first.take() == []
    asked[1].done(Code.NOT_AUTHORIZED)
    assert codes(first.take()) == (1, Code.NOT_AUTHORIZED)
    assert world.uplink.unsubscribed == [b"u"]
    assert codes(world.client("b").subscribe(Subscription(b"t", 2, retain_handling=2))) == (1,)


def test_the_last_one_who_leaves_unsubscribes(world: World) -> None:
    first, second, third = (world.subscriber(name, b"t", b"u/#", level=world.level) for name in "abc")
    assert first.say(Unsubscribe(5, (b"t", b"x"))) == [
        Unsuback(5, (Code.SUCCESS, Code.NO_SUBSCRIPTION) if world.level == V5 else ())
    ]
    second.say(Disconnect())
    assert world.uplink.unsubscribed == []
    third.seat.close()
    assert world.uplink.unsubscribed == [b"t"]
    first.seat.close()
    assert world.uplink.unsubscribed == [b"t", b"u/#"]
    assert (world.house.filters, len(world.house)) == (0, 0)


def test_who_unsubscribes_before_the_answer_still_gets_one(world: World) -> None:
    client = world.client("a")
    client.subscribe(b"t", qos=1)
    assert client.say(Unsubscribe(9, (b"t",))) == [Suback(1, (1,)), Unsuback(9, (0,))]
    world.grant()
    assert client.take() == []


def test_different_filters_are_bounded_for_all_together(clock: FakeClock) -> None:
    world = World(clock, filters=3)
    first = world.subscriber("a", b"1", b"2")
    second = world.client("b", V311)
    second.subscribe(b"2", b"3", b"4")
    world.grant()
    assert codes(second.take()) == (0, 0, Code.UNSPECIFIED_ERROR)
    assert codes(first.subscribe(b"4")) == (Code.QUOTA_EXCEEDED,)
    first.seat.close()
    second.subscribe(b"4")
    world.grant()
    assert codes(second.take()) == (0,)


def test_a_client_has_so_many_of_its_own(world: World) -> None:
    client = world.client("a")
    client.subscribe(*[b"%d" % number for number in range(9)])
    world.grant()
    assert codes(client.take()) == (0,) * 8 + (Code.QUOTA_EXCEEDED,)


def test_who_asks_faster_than_the_broker_answers_is_not_read(world: World) -> None:
    client = world.client("a")
    for number in range(MANNERS.in_flight):
        client.subscribe(b"%d" % number)
    assert client.held == 1
    world.grant()
    assert client.held == 0


def test_a_filter_of_more_levels_than_are_looked_for_is_refused(world: World) -> None:
    assert codes(world.client("a").subscribe(b"+/" * 200)) == (Code.TOPIC_FILTER_INVALID,)


# What comes


def test_a_message_goes_to_all_who_want_it_with_the_lower_qos(world: World) -> None:
    clients = [world.subscriber("abc"[qos], b"t/+", qos=qos, level=LEVELS[qos % 2]) for qos in range(3)]
    other = world.subscriber("d", b"u/#")
    world.uplink.spread(b"t/1", b"hi", 1)
    assert [client.published for client in clients] == [
        [(b"t/1", b"hi", 0, False)],
        [(b"t/1", b"hi", 1, False)],
        [(b"t/1", b"hi", 1, False)],
    ]
    assert other.published == []
    assert world.uplink.acknowledged == 1


def test_overlapping_filters_of_one_client_give_one_copy_with_the_highest_qos(world: World) -> None:
    client = world.client("a")
    client.subscribe(Subscription(b"t/#", 0, retain_handling=2), number=7)
    client.subscribe(Subscription(b"t/+", 2, retain_handling=2), number=9)
    client.subscribe(Subscription(b"u", 2, retain_handling=2), number=11)
    world.grant()
    client.take()
    other = world.subscriber("b", Subscription(b"t/#", 2), Subscription(b"t/+", 0))
    world.uplink.spread(b"t/1", b"hi", 2)
    assert other.published == [(b"t/1", b"hi", 2, False)]
    assert client.take() == [
        Publish(b"t/1", b"hi", 2, id=1, properties={Property.SUBSCRIPTION_IDENTIFIER: (7, 9)})
    ]


def test_a_copy_for_one_filter_does_not_go_to_those_of_another(clock: FakeClock) -> None:
    """Where a broker of 5.0 sends one for each."""
    world = World(clock)
    narrow, wide = world.subscriber("a", b"t/1"), world.subscriber("b", b"t/#")
    for filter in (b"t/1", b"t/#"):
        world.uplink.say(b"t/1", b"hi", 0, (world.uplink.current[filter].identifier,))
    assert len(narrow.published) == len(wide.published) == 1


def test_what_carries_only_identifiers_that_are_gone_goes_to_nobody(clock: FakeClock) -> None:
    world = World(clock)
    client = world.subscriber("a", b"t")
    world.uplink.say(b"t", b"late", 1, (99,))
    assert client.published == []
    assert world.uplink.acknowledged == 1


def test_each_comes_over_the_uplink_of_its_filter_and_leaves_over_that_of_its_topic(clock: FakeClock) -> None:
    world = World(clock, connections=3)
    client = world.subscriber("a", *[b"%d" % number for number in range(8)])
    assert sum(len(uplink.current) for uplink in world.uplinks) == 8
    assert all(uplink.current for uplink in world.uplinks)
    for number in range(40):
        client.say(Publish(b"%d" % (number % 8), b"%d" % number))
    for uplink in world.uplinks:
        assert uplink.heard
        numbers = [int(payload) for payload in uplink.payloads]
        assert numbers == sorted(numbers)
        assert {message.topic for message in uplink.heard} <= {b"%d" % (n % 8) for n in numbers}
    assert sum(len({message.topic for message in uplink.heard}) for uplink in world.uplinks) == 8


def test_clients_of_both_versions_share_an_uplink(clock: FakeClock) -> None:
    world = World(clock)
    old, new = world.subscriber("a", b"t", level=V311), world.subscriber("b", b"t")
    world.uplink.hear(
        Message(b"t", b"hi", properties={Property.CONTENT_TYPE: b"x"}),
        False,
        (world.uplink.current[b"t"].identifier,),
        world.uplink.acknowledge_one,
    )
    assert old.take() == [Publish(b"t", b"hi")]
    assert new.take() == [Publish(b"t", b"hi", properties={Property.CONTENT_TYPE: b"x"})]


# What is retained


def test_who_subscribes_gets_what_is_retained_and_nobody_else_does(world: World) -> None:
    first, second = world.client("a"), world.client("b")
    first.subscribe(b"t/#", qos=1)
    asked = next(each for each in world.uplink.grant() if not each.subscription.retain_handling)
    world.uplink.replay(asked, b"t/1", b"kept", 1)
    world.uplink.replay(asked, b"t/2", b"kept", 1)
    assert first.published == [(b"t/1", b"kept", 1, True), (b"t/2", b"kept", 1, True)]
    # Granted already, so it is answered before.
    assert codes(second.subscribe(b"t/#", qos=1)) == (1,)
    asked = world.uplink.subscribed[0]
    world.uplink.replay(asked, b"t/1", b"kept", 1)
    world.uplink.grant()
    world.uplink.replay(asked, b"t/2", b"kept", 1)
    assert second.published == [(b"t/1", b"kept", 1, True), (b"t/2", b"kept", 1, True)]
    assert first.published == []


def test_under_an_identifier_of_its_own_that_is_taken_back_at_once(clock: FakeClock) -> None:
    world = World(clock)
    world.client("a").subscribe(b"t")
    before, fetch, live = world.uplink.subscribed
    assert fetch.subscription == Subscription(b"t", 0)
    assert before.subscription == live.subscription == Subscription(b"t", 0, as_published=True, retain_handling=2)
    assert before.identifier == live.identifier != fetch.identifier


def test_what_is_published_in_the_meantime_is_for_all(clock: FakeClock) -> None:
    world = World(clock)
    first = world.subscriber("a", b"t")
    second = world.client("b")
    second.subscribe(b"t")
    second.take()
    world.uplink.say(b"t", b"new", 0, (world.uplink.subscribed[0].identifier,))
    assert first.published == second.published == [(b"t", b"new", 0, False)]


@pytest.mark.parametrize(("handling", "again"), [(0, 2), (1, 1), (2, 0)])
def test_retain_handling(world: World, handling: int, again: int) -> None:
    client = world.client("a")
    got = 0
    for _ in range(2):
        client.subscribe(Subscription(b"t", 0, retain_handling=handling))
        for asked in world.uplink.grant():
            if not asked.subscription.retain_handling:
                world.uplink.replay(asked, b"t", b"kept")
        got += len(client.published)
    assert got == again


def test_many_who_come_at_once_are_fetched_for_together(world: World) -> None:
    clients = [world.client(f"c{number}") for number in range(10)]
    for client in clients:
        client.subscribe(b"t")
    rounds = 0
    while world.uplink.subscribed:
        rounds += 1
        for asked in world.uplink.grant():
            if not asked.subscription.retain_handling:
                world.uplink.replay(asked, b"t", b"kept")
    assert rounds == 2
    assert [client.published for client in clients] == [[(b"t", b"kept", 0, True)]] * 10


def test_overlapping_filters_are_fetched_apart(world: World) -> None:
    first, second = world.client("a"), world.client("b")
    first.subscribe(b"t/#")
    second.subscribe(b"t/+")
    for asked in world.uplink.grant():
        if not asked.subscription.retain_handling:
            world.uplink.replay(asked, b"t/1", b"kept")
    assert first.published == second.published == [(b"t/1", b"kept", 0, True)]


def test_what_comes_too_late_from_a_broker_of_3_1_1_is_for_nobody(clock: FakeClock) -> None:
    world = World(clock, V311)
    client = world.subscriber("a", b"t")
    clock.advance(LATE + 1)
    world.uplink.say(b"t", b"kept", retain=True)
    assert client.published == []


def test_how_many_fetches_are_kept_is_bounded(clock: FakeClock) -> None:
    world = World(clock)
    client = world.client("a")
    for _ in range(100):
        client.subscribe(b"t")
        world.grant()
    trunk = world.house._trunks[0]
    assert len(trunk._fetches) == MOST_FETCHES
    clock.advance(LATE + 1)
    client.subscribe(b"t")
    assert len(trunk._fetches) == 1
    client.seat.close()
    assert len(trunk._fetches) == 0


def test_retain_as_published_is_what_each_has_asked_for(clock: FakeClock) -> None:
    world = World(clock)
    plain = world.subscriber("a", b"t")
    as_published = world.subscriber("b", Subscription(b"t", 0, as_published=True))
    world.uplink.spread(b"t", b"hi", retain=True)
    assert plain.published == [(b"t", b"hi", 0, False)]
    assert as_published.published == [(b"t", b"hi", 0, True)]


def test_a_broker_of_5_0_without_identifiers_is_served_by_topic(clock: FakeClock) -> None:
    world = World(clock)
    first, second = world.subscriber("a", b"t"), world.subscriber("b", b"u")
    clock.advance(LATE + 1)
    world.uplink.say(b"t", b"hi", retain=True)
    assert (len(first.published), len(second.published)) == (1, 0)


# No Local


def test_its_own_messages_do_not_come_back_to_who_wants_none(world: World) -> None:
    client = world.subscriber("a", Subscription(b"t/+", 0, no_local=True))
    other = world.subscriber("b", b"t/+")
    client.say(Publish(b"t/1", b"mine"))
    world.uplink.spread(b"t/1", b"mine")
    world.uplink.spread(b"t/1", b"theirs")
    world.uplink.spread(b"t/1", b"mine")
    assert [each[1] for each in client.published] == [b"theirs", b"mine"]
    assert len(other.published) == 3


def test_nor_do_they_by_overlapping_filters(world: World) -> None:
    client = world.subscriber("a", Subscription(b"t/+", 0, no_local=True), Subscription(b"#", 0, no_local=True))
    client.say(Publish(b"t/1", b"mine"))
    world.uplink.spread(b"t/1", b"mine")
    assert client.published == []
    client.subscribe(Subscription(b"#", 0))
    world.grant()
    client.take()
    client.say(Publish(b"t/1", b"mine"))
    world.uplink.spread(b"t/1", b"mine")
    assert len(client.published) == 1


def test_an_echo_is_not_awaited_for_ever_nor_are_too_many(clock: FakeClock) -> None:
    world = World(clock)
    client = world.subscriber("a", Subscription(b"t", 0, no_local=True))
    client.say(Publish(b"t", b"mine"))
    clock.advance(AWAITED + 1)
    world.uplink.spread(b"t", b"mine")
    assert len(client.published) == 1
    for number in range(MOST + 1):
        client.say(Publish(b"t", b"%d" % number))
    for number in range(MOST + 1):
        world.uplink.spread(b"t", b"%d" % number)
    assert [each[1] for each in client.published] == [b"0"]


# Shared subscriptions


def test_a_group_has_one_member_of_ours_and_takes_turns_within(world: World) -> None:
    clients = [world.subscriber(name, b"$share/g/t/+", qos=1) for name in "abc"]
    other = world.subscriber("d", b"t/+")
    assert [each for each in world.uplink.current if each[:1] == b"$"] == [b"$share/g/t/+"]
    shared = world.uplink.current[b"$share/g/t/+"]
    assert shared.subscription.filter == b"$share/g/t/+"
    for number in range(6):
        world.uplink.spread(b"t/1", b"%d" % number, 1)
    assert [[each[1] for each in client.published] for client in clients] == [
        [b"0", b"3"],
        [b"1", b"4"],
        [b"2", b"5"],
    ]
    assert len(other.published) == 6


def test_who_would_have_to_wait_is_left_out(world: World) -> None:
    first, second = (world.subscriber(name, b"$share/g/t", qos=1) for name in "ab")
    first.seat.hold()
    for number in range(3):
        world.uplink.spread(b"t", b"%d" % number, 1)
    assert [each[1] for each in second.published] == [b"0", b"1", b"2"]
    second.seat.hold()
    for number in range(2):
        world.uplink.spread(b"t", b"%d" % number, 1)
    for client in (first, second):
        client.seat.release()
        assert len(client.published) == 1


def test_a_shared_subscription_has_nothing_retained(world: World) -> None:
    world.subscriber("a", b"$share/g/t")
    world.client("b").subscribe(b"$share/g/t")
    assert world.asked() == []


# The uplink comes and goes


def test_what_is_published_is_acknowledged_by_the_uplink(world: World) -> None:
    client = world.client("a")
    client.say(Publish(b"t", b"1", qos=1, id=4))
    world.uplink.acknowledge()
    assert client.take() == [Ack(PUBACK, 4)]


def test_while_the_uplink_is_down_subscriptions_are_granted(clock: FakeClock) -> None:
    world = World(clock, up=False)
    client = world.client("a")
    assert codes(client.subscribe(b"t", b"u", qos=1)) == (1, 1)
    assert [each.filter for each in world.asked()] == [b"t", b"u"]
    world.uplink.change(True)
    # What is retained is fetched now.
    fetches = [each for each in world.uplink.subscribed if not each.subscription.retain_handling]
    world.uplink.replay(fetches[0], b"t", b"kept")
    assert client.published == [(b"t", b"kept", 0, True)]


def test_who_waits_when_it_goes_is_granted_what_it_asked_for_once(world: World) -> None:
    client = world.client("a")
    client.subscribe(b"t", qos=1)
    late = world.uplink.subscribed
    world.uplink.change(False)
    assert codes(client.take()) == (1,)
    for each in late:
        each.done(0)
    assert client.take() == []


def test_what_was_granted_in_the_meantime_and_is_refused_is_counted(clock: FakeClock) -> None:
    world = World(clock, up=False)
    client = world.client("a")
    client.subscribe(b"t")
    world.uplink.grant(Code.NOT_AUTHORIZED)
    assert world.house.tally.refused == {Code.NOT_AUTHORIZED: 1}


def test_when_it_comes_back_all_get_what_was_retained_in_the_meantime(world: World) -> None:
    first = world.subscriber("a", b"t", level=V311)
    second = world.subscriber("b", Subscription(b"t", 0, retain_handling=2))
    world.uplink.change(False)
    world.uplink.change(True)
    world.uplink.replay(world.uplink.subscribed[0], b"t", b"kept")
    assert (first.published, second.published) == ([(b"t", b"kept", 0, True)], [])
    assert first.say(Ping()) == [Pong()]


# Clients come and go


def test_the_same_name_again_ends_the_older_one(clock: FakeClock) -> None:
    world = World(clock)
    older = world.client("a", will=Will(b"will", b"gone"))
    older.subscribe(b"t")
    world.grant()
    older.take()
    newer = world.client("a")
    assert older.take() == [Disconnect(Code.SESSION_TAKEN_OVER)]
    world.turns.run()
    assert (older.ended, newer.ended, len(world.house)) == (1, 0, 1)
    assert world.uplink.payloads == [b"gone"]
    assert world.uplink.unsubscribed == [b"t"]
    older.seat.close()
    assert len(world.house) == 1
    newer.seat.close()
    assert (len(world.house), world.house.tally.taken_over) == (0, 1)


def test_who_has_not_said_its_name_yet_ends_nobody(world: World) -> None:
    client = world.client("a")
    world.house.seat(Somebody("a")).close()
    assert len(world.house) == 1
    client.seat.close()


def test_the_last_will_goes_out_before_the_uplink_ends(world: World) -> None:
    client = world.client("a", will=Will(b"will", b"gone"))
    world.house.retire(60)
    stopped = []
    world.uplink.stop = lambda: stopped.append(list(world.uplink.payloads))  # type: ignore[method-assign]
    client.seat.close()
    assert stopped == [[b"gone"]]


def test_wills_are_kept_apart(world: World) -> None:
    clients = [world.client(name, will=Will(b"will/" + name.encode(), b"gone", 1)) for name in "abc"]
    clients[1].seat.end()
    clients[2].say(Disconnect())
    assert [message.topic for message in world.uplink.heard] == [b"will/b"]


def test_a_house_that_is_left_stops_when_the_last_has_gone(world: World) -> None:
    client = world.client("a")
    world.house.retire(60)
    assert not world.uplink.stopped
    client.seat.close()
    assert world.uplink.stopped


def test_or_when_the_time_is_over(clock: FakeClock) -> None:
    world = World(clock)
    client = world.client("a")
    world.house.retire(60)
    clock.advance(61)
    assert world.uplink.stopped
    assert client.take() == [Disconnect(Code.SERVER_SHUTTING_DOWN)]


# Many


def test_a_slow_client_keeps_nobody_waiting(world: World) -> None:
    slow, fast = (world.subscriber(name, b"t") for name in "ab")
    slow.seat.hold()
    for number in range(1000):
        world.uplink.spread(b"t", b"%d" % number)
    assert len(fast.published) == 1000
    assert (world.uplink.acknowledged, world.house.tally.overflowed) == (1000, 1000 - MANNERS.queued)
    slow.seat.release()
    assert len(slow.published) == MANNERS.queued


def test_a_thousand_get_the_same_bytes(clock: FakeClock) -> None:
    world = World(clock)
    clients = [world.subscriber(f"c{number}", b"t") for number in range(1000)]
    assert len(world.uplink.current) == 1
    world.uplink.spread(b"t", b"hi")
    last = [client.pieces[-1] for client in clients]
    assert len(set(map(id, last))) == 1


def test_who_ends_within_a_delivery_ends_alone(world: World) -> None:
    first, second, third = (world.subscriber(name, b"t") for name in "abc")

    def take(data: bytes) -> None:
        first.seat.close()
        second.seat.close()

    first.seat.read_to(take)
    world.uplink.spread(b"t", b"hi")
    assert second.published == []
    assert len(third.published) == 1


def test_seats_are_freed_by_counting_alone(clock: FakeClock) -> None:
    for level in LEVELS:
        world = World(clock, level)
        gc.collect()
        gc.disable()
        try:
            gone = []
            for number in range(3):
                client = world.subscriber(f"c{number}", b"t", Subscription(b"u/#", 1, no_local=True), b"$share/g/t")
                client.say(Publish(b"u/1", b"x"))
                client.subscribe(b"v")
                client.say(Subscribe(9, (Subscription(b"t"),)))
                world.uplink.spread(b"u/1", b"x", 1)
                gone.append(weakref.ref(client))
                client.seat.close()
                del client
            world.grant()
            world.turns.run()
            assert [each() for each in gone] == [None] * 3
        finally:
            gc.enable()
