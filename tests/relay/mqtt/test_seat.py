"""Conversations with one seat of a house that takes what is published and gives what a test says."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import pytest

from meshproxy.core.mqtt.message import Message
from meshproxy.relay.mqtt.hearing import MOST_ANSWERS
from meshproxy.relay.mqtt.house import Aside, Done, Guest, Measure
from meshproxy.relay.mqtt.parcel import Parcel
from meshproxy.relay.mqtt.seat import Seat
from meshproxy.wire.mqtt import (
    PINGREQ_BYTES,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    V5,
    V311,
    Ack,
    Auth,
    Code,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Pong,
    Properties,
    Property,
    Publish,
    Suback,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
    encode,
)
from tests.conftest import FakeClock
from tests.relay.mqtt.houses import LEVELS, MANNERS, Client, FakeOutlet, Somebody, Turns, codes


class Lobby(Aside):
    """Where one has to say who one is."""

    def seat(self, client: Guest) -> Seat:
        return Seat(self, client.id)


class World:
    def __init__(self, clock: FakeClock, level: int, measure: Measure = MANNERS) -> None:
        self.turns = Turns()
        self.outlet = FakeOutlet()
        self.house = Lobby(self.outlet, measure, clock, self.turns.soon)
        self.client = Client(self.house.seat(Somebody()), level)

    def deliver(self, payload: bytes, qos: int = 0, **said: object) -> None:
        message = Message(b"t", payload, qos, properties=said.get("properties", {}))  # type: ignore[arg-type]
        self.client.seat.deliver(Parcel(message), qos, False)


@pytest.fixture(params=LEVELS)
def world(clock: FakeClock, request: pytest.FixtureRequest) -> World:
    world = World(clock, request.param)
    world.client.connect()
    return world


def both(clock: FakeClock, level: int, measure: Measure = MANNERS) -> tuple[World, Client]:
    world = World(clock, level, measure)
    world.client.connect()
    return world, world.client


# Coming


def test_a_connect_of_3_1_1_is_answered_without_a_session(clock: FakeClock) -> None:
    assert World(clock, V311).client.connect() == Connack(False, 0)


def test_one_of_5_0_is_told_the_bounds_and_that_its_session_will_not_last(clock: FakeClock) -> None:
    connack = World(clock, V5).client.connect(properties={Property.SESSION_EXPIRY_INTERVAL: 60})
    assert connack == Connack(
        False,
        0,
        {
            Property.RECEIVE_MAXIMUM: 4,
            Property.MAXIMUM_PACKET_SIZE: 1 << 20,
            Property.SESSION_EXPIRY_INTERVAL: 0,
        },
    )


def test_who_has_no_name_is_told_the_one_it_was_given(clock: FakeClock) -> None:
    connack = World(clock, V5).client.connect(id="")
    assert connack.properties[Property.ASSIGNED_CLIENT_IDENTIFIER] == b"boat"


def test_an_authentication_of_its_own_is_not_there(clock: FakeClock) -> None:
    world = World(clock, V5)
    connack = world.client.connect(properties={Property.AUTHENTICATION_METHOD: b"x"})
    assert connack.code == Code.BAD_AUTHENTICATION_METHOD
    world.turns.run()
    assert world.client.ended == 1


@pytest.mark.parametrize("first", [Ping(), Publish(b"a", b""), Disconnect()], ids=lambda each: type(each).__name__)
def test_nothing_comes_before_a_connect(clock: FakeClock, first: Packet) -> None:
    world = World(clock, V311)
    assert world.client.say(first) == []
    world.turns.run()
    assert world.client.ended == 1
    assert world.outlet.heard == []


def test_no_answer_is_given_before_the_start(clock: FakeClock) -> None:
    world = World(clock, V311)
    world.client.seat.stop()
    assert world.client.say(Connect(V311, "boat"), Ping()) == []
    world.client.seat.start()
    assert world.client.pieces == [encode(Connack(False, 0), V311) + encode(Pong(), V311)]


def test_a_seat_aside_needs_no_connect(clock: FakeClock) -> None:
    outlet = FakeOutlet()
    client = Client(Aside(outlet, MANNERS, clock, Turns().soon).seat(Somebody(level=V5)), V5)
    assert client.say(Publish(b"a", b"hi", qos=1, id=9)) == []
    assert outlet.heard == [Message(b"a", b"hi", 1, publisher="boat")]
    outlet.acknowledge()
    assert client.take() == [Ack(PUBACK, 9)]
    assert codes(client.subscribe(b"a", b"b/#", qos=1)) == (1, 1)
    assert client.say(Unsubscribe(2, (b"a", b"b/#"))) == [Unsuback(2, (0, 0))]


# Publishing


def test_qos_0_goes_out_and_is_not_answered(world: World) -> None:
    assert world.client.say(Publish(b"a", b"1"), Publish(b"b", b"2", retain=True)) == []
    assert world.outlet.heard == [
        Message(b"a", b"1", publisher="boat"),
        Message(b"b", b"2", retain=True, publisher="boat"),
    ]


def test_qos_1_is_acknowledged_when_the_outlet_has_done_so(world: World) -> None:
    assert world.client.say(Publish(b"a", b"1", qos=1, id=7)) == []
    world.outlet.acknowledge()
    assert world.client.take() == [Ack(PUBACK, 7)]


def test_the_code_of_the_outlet_reaches_a_client_of_5_0(clock: FakeClock) -> None:
    world, client = both(clock, V5)
    client.say(Publish(b"a", b"1", qos=1, id=7), Publish(b"a", b"2", qos=2, id=8))
    world.outlet.acknowledge(Code.NO_SUBSCRIBERS)
    world.outlet.acknowledge(Code.QUOTA_EXCEEDED)
    assert client.take() == [Ack(PUBACK, 7, Code.NO_SUBSCRIBERS), Ack(PUBREC, 8, Code.QUOTA_EXCEEDED)]
    # What was refused is over: the id may be used anew.
    client.say(Publish(b"a", b"3", qos=2, id=8))
    assert world.outlet.payloads == [b"1", b"2", b"3"]


def test_to_one_of_3_1_1_a_message_that_was_not_taken_is_not_acknowledged(clock: FakeClock) -> None:
    world, client = both(clock, V311)
    client.say(Publish(b"a", b"1", qos=1, id=7))
    world.outlet.acknowledge(Code.QUOTA_EXCEEDED)
    world.turns.run()
    assert (client.take(), client.ended) == ([], 1)


def test_but_what_would_be_refused_for_ever_is(clock: FakeClock) -> None:
    world, client = both(clock, V311)
    client.say(Publish(b"a", b"1", qos=1, id=7))
    world.outlet.acknowledge(Code.NOT_AUTHORIZED)
    assert client.take() == [Ack(PUBACK, 7)]


def test_qos_2_goes_its_four_steps_and_is_published_once(world: World) -> None:
    client, outlet = world.client, world.outlet
    assert client.say(Publish(b"a", b"1", qos=2, id=7)) == []
    assert client.say(Publish(b"a", b"1", qos=2, id=7, dup=True)) == []
    outlet.acknowledge()
    assert client.take() == [Ack(PUBREC, 7)]
    assert client.say(Publish(b"a", b"1", qos=2, id=7, dup=True)) == [Ack(PUBREC, 7)]
    assert outlet.payloads == [b"1"]
    assert client.say(Ack(PUBREL, 7)) == [Ack(PUBCOMP, 7)]
    client.say(Publish(b"a", b"2", qos=2, id=7))
    assert outlet.payloads == [b"1", b"2"]


def test_an_unknown_id_is_released_with_a_code(clock: FakeClock) -> None:
    assert both(clock, V5)[1].say(Ack(PUBREL, 9)) == [Ack(PUBCOMP, 9, Code.PACKET_ID_NOT_FOUND)]
    assert both(clock, V311)[1].say(Ack(PUBREL, 9)) == [Ack(PUBCOMP, 9)]


def test_an_outlet_that_answers_at_once_is_as_good(clock: FakeClock) -> None:
    world, client = both(clock, V311)

    def publish(message: Message, done: Done) -> None:
        done(0)

    world.outlet.publish = publish  # type: ignore[method-assign]
    said: list[Packet] = [Publish(b"a", b"1", qos=1, id=1), Publish(b"a", b"2", qos=2, id=2), Ping()]
    assert client.say(*said) == [Ack(PUBACK, 1), Ack(PUBREC, 2), Pong()]
    # All in one piece, and after the whole of what was written.
    assert len(client.pieces) == 2


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([Connect(V5, "boat")], Code.PROTOCOL_ERROR),
        ([Publish(b"", b"1", properties={Property.TOPIC_ALIAS: 1})], Code.TOPIC_ALIAS_INVALID),
        ([Publish(b"a", b"1", properties={Property.SUBSCRIPTION_IDENTIFIER: (1,)})], Code.PROTOCOL_ERROR),
        ([Publish(b"a", b"1", qos=1, id=1), Publish(b"a", b"1", qos=2, id=1)], Code.PROTOCOL_ERROR),
        ([Publish(b"a", b"1", qos=2, id=1), Ack(PUBREL, 1)], Code.PROTOCOL_ERROR),
        ([Publish(b"a", b"1", qos=1, id=n) for n in range(1, 6)], Code.RECEIVE_MAXIMUM_EXCEEDED),
        ([Suback(1, (0,))], Code.PROTOCOL_ERROR),
        ([Connack(False, 0)], Code.PROTOCOL_ERROR),
        ([Auth(0)], Code.PROTOCOL_ERROR),
    ],
    ids=["connect", "alias", "identifier", "id", "early", "flood", "suback", "connack", "auth"],
)
def test_what_a_client_must_not_say_ends_it_with_a_code(clock: FakeClock, said: list[Packet], code: Code) -> None:
    world = World(clock, V5)
    client = world.client
    client.connect(will=Will(b"will", b"gone"))
    assert client.say(*said) == [Disconnect(code)]
    assert client.ended == 0
    world.turns.run()
    assert client.ended == 1
    assert world.outlet.payloads[-1] == b"gone"
    # Nothing is heard after that.
    assert client.say(Ping()) == []


def test_good_packets_before_a_malformed_one_count(clock: FakeClock) -> None:
    world, client = both(clock, V5)
    client.seat.write(encode(Publish(b"a", b"1"), V5) + b"\x00\x00")
    assert world.outlet.payloads == [b"1"]
    assert client.take() == [Disconnect(Code.MALFORMED_PACKET)]


def test_a_packet_may_come_in_pieces(world: World) -> None:
    packet = encode(Publish(b"a", b"1"), world.client.level)
    for byte in packet:
        world.client.seat.write(bytes((byte,)))
    assert world.outlet.payloads == [b"1"]


def test_a_full_outlet_holds_the_client_until_it_is_relieved(world: World) -> None:
    client, outlet = world.client, world.outlet
    outlet.full = True
    assert client.say(Ping(), Publish(b"a", b"1"), Publish(b"a", b"2", qos=1, id=1)) == [Pong()]
    # What has been read already waits too, in its order.
    assert client.say(Publish(b"a", b"3"), Ping()) == []
    assert (client.held, client.seat.full, len(outlet.waiters), outlet.payloads) == (1, True, 1, [])
    outlet.relieve()
    assert (client.held, client.seat.full, outlet.payloads) == (0, False, [b"1", b"2", b"3"])
    assert client.take() == [Pong()]
    outlet.full = True
    client.say(Publish(b"a", b"3"))
    client.seat.close()
    assert outlet.waiters == set()


def test_one_that_is_full_again_before_all_are_through_is_waited_for_again(world: World) -> None:
    client, outlet = world.client, world.outlet
    outlet.full = True
    client.say(*[Publish(b"a", b"%d" % number) for number in range(3)])
    took = outlet.publish

    def publish(message: Message, done: Done) -> None:
        took(message, done)
        outlet.full = True

    outlet.publish = publish  # type: ignore[method-assign]
    for number in range(3):
        assert (client.held, len(outlet.heard)) == (1, number)
        outlet.relieve()
    # Now it is known to be full before anything is published.
    assert client.held == 1
    outlet.relieve()
    assert client.held == 0


def test_a_farewell_that_waits_is_one(world: World) -> None:
    for farewell, wills in (([Disconnect()], []), ([], [b"gone"])):
        client = Client(world.house.seat(Somebody()), world.client.level)
        client.connect(will=Will(b"will", b"gone"))
        world.outlet.full = True
        client.say(Publish(b"a", b"1"), *farewell)
        client.seat.close()
        assert world.outlet.payloads == wills


def test_a_fault_behind_what_waits_is_found_afterwards(clock: FakeClock) -> None:
    world, client = both(clock, V5)
    world.outlet.full = True
    client.seat.write(encode(Publish(b"a", b"1"), V5) + b"\x00\x00")
    assert client.take() == []
    world.outlet.relieve()
    assert (world.outlet.payloads, client.take()) == ([b"1"], [Disconnect(Code.MALFORMED_PACKET)])


def test_a_client_of_3_1_1_with_too_much_under_way_is_not_read(clock: FakeClock) -> None:
    world, client = both(clock, V311)
    client.say(*[Publish(b"a", b"1", qos=2, id=n) for n in range(1, 5)])
    assert client.held == 1
    world.outlet.acknowledge()
    assert client.held == 0
    # A PUBREL that is due is none of that.
    for _ in range(3):
        world.outlet.acknowledge()
    client.say(*[Publish(b"a", b"1", qos=2, id=n) for n in range(11, 14)])
    assert client.held == 0


def test_who_asks_and_does_not_read_the_answers_is_not_heard_any_more(world: World) -> None:
    world.client.seat.hold()
    for _ in range(MOST_ANSWERS):
        world.client.seat.write(PINGREQ_BYTES)
    assert world.client.held == 1
    world.client.seat.release()
    assert world.client.held == 0
    assert world.client.take() == [Pong()] * MOST_ANSWERS


# Deliveries


def test_what_is_delivered_has_ids_of_its_own_and_a_window(world: World) -> None:
    client = world.client
    for number in range(6):
        world.deliver(b"%d" % number, 1)
    first = client.take()
    assert first == [Publish(b"t", b"%d" % n, 1, id=n + 1) for n in range(4)]
    client.say(Ack(PUBACK, 2))
    client.say(Ack(PUBACK, 1))
    assert client.take() == []
    client.say(Ack(PUBACK, 3))
    assert world.house.tally.delivered == 6


def test_the_next_go_with_the_answer_that_makes_room(world: World) -> None:
    for number in range(5):
        world.deliver(b"%d" % number, 1)
    world.client.take()
    assert world.client.say(Ack(PUBACK, 2)) == [Publish(b"t", b"4", 1, id=5)]


def test_qos_2_to_the_client_keeps_its_place_in_the_window_until_the_end(world: World) -> None:
    client = world.client
    for number in range(5):
        world.deliver(b"%d" % number, 2)
    client.take()
    assert client.say(Ack(PUBREC, 1)) == [Ack(PUBREL, 1)]
    assert client.say(Ack(PUBREC, 1)) == [Ack(PUBREL, 1)]
    assert client.say(Ack(PUBCOMP, 1)) == [Publish(b"t", b"4", 2, id=5)]


def test_a_pubrec_that_refuses_is_the_end_of_it(clock: FakeClock) -> None:
    world, client = both(clock, V5)
    for number in range(5):
        world.deliver(b"%d" % number, 2)
    client.take()
    assert client.say(Ack(PUBREC, 1, Code.UNSPECIFIED_ERROR)) == [Publish(b"t", b"4", 2, id=5)]


def test_ids_go_round_past_those_in_use(world: World) -> None:
    client = world.client
    world.deliver(b"first", 1)
    client.seat._last_id = 65_534
    world.deliver(b"last", 1)
    world.deliver(b"again", 1)
    assert [packet.id for packet in client.take() if isinstance(packet, Publish)] == [1, 65_535, 2]


@pytest.mark.parametrize("ack", [Ack(PUBACK, 1), Ack(PUBCOMP, 1)], ids=["puback", "pubcomp"])
def test_the_wrong_acknowledgement_ends_it(clock: FakeClock, ack: Ack) -> None:
    world, client = both(clock, V5)
    world.deliver(b"x", 2)
    client.take()
    assert client.say(ack) == [Disconnect(Code.PROTOCOL_ERROR)]


def test_and_one_that_nobody_waits_for_is_nothing(world: World) -> None:
    assert world.client.say(Ack(PUBACK, 1), Ack(PUBCOMP, 2)) == []
    world.turns.run()
    assert world.client.ended == 0


def test_a_client_of_5_0_bounds_what_is_sent_to_it(clock: FakeClock) -> None:
    world = World(clock, V5)
    world.client.connect(properties={Property.RECEIVE_MAXIMUM: 1, Property.MAXIMUM_PACKET_SIZE: 20})
    world.deliver(b"1", 1)
    world.deliver(b"2", 1)
    world.deliver(bytes(30))
    assert world.client.take() == [Publish(b"t", b"1", 1, id=1)]
    assert world.client.say(Ack(PUBACK, 1)) == [Publish(b"t", b"2", 1, id=2)]
    assert world.house.tally.oversized == 1


def test_properties_go_to_who_speaks_5_0(clock: FakeClock) -> None:
    kept: Properties = {Property.CONTENT_TYPE: b"x", Property.SUBSCRIPTION_IDENTIFIER: (3,)}
    for level, said in ((V5, kept), (V311, {})):
        _, client = both(clock, level)
        client.seat.deliver(Parcel(Message(b"t", b"1", properties={3: b"x"})), 0, True, (3,))
        assert client.take() == [Publish(b"t", b"1", retain=True, properties=said)]


def test_who_is_slow_gets_it_later_and_in_order(world: World) -> None:
    client = world.client
    client.seat.hold()
    for number in range(3):
        world.deliver(b"%d" % number, number % 2)
    assert client.take() == []
    client.seat.release()
    assert [each[1] for each in client.published] == [b"0", b"1", b"2"]
    world.deliver(b"3")
    assert [each[1] for each in client.published] == [b"3"]


def test_what_does_not_fit_drops_the_oldest_of_qos_0_first(world: World) -> None:
    client = world.client
    client.seat.hold()
    for number in range(20):
        world.deliver(b"%d" % number, 1 if number < 2 else 0)
    client.seat.release()
    assert [each[1] for each in client.published] == [b"0", b"1"] + [b"%d" % n for n in range(6, 20)]
    assert world.house.tally.overflowed == 4


def test_and_then_what_comes(world: World) -> None:
    world.client.seat.hold()
    for number in range(20):
        world.deliver(b"%d" % number, 1)
    world.client.seat.release()
    assert [each[1] for each in world.client.published] == [b"0", b"1", b"2", b"3"]
    assert world.house.tally.overflowed == 4


def test_the_queue_is_bounded_in_bytes_too(world: World) -> None:
    world.client.seat.hold()
    for number in range(5):
        world.deliver(bytes(1000) + b"%d" % number)
    world.deliver(bytes(5000))
    world.client.seat.release()
    assert [each[1][-1:] for each in world.client.published] == [b"2", b"3", b"4"]
    assert world.house.tally.overflowed == 3


def test_or_the_slow_client_is_disconnected(clock: FakeClock) -> None:
    world, client = both(clock, V5, replace(MANNERS, patient=False))
    client.seat.hold()
    for number in range(17):
        world.deliver(b"%d" % number)
    assert client.lost == []
    world.turns.run()
    # It would never come to an end.
    assert isinstance(client.lost[0], ConnectionAbortedError)
    assert world.house.tally.disconnected == 1
    client.seat.close()


def test_one_that_reads_and_does_not_acknowledge_is_told_why(clock: FakeClock) -> None:
    world, client = both(clock, V5, replace(MANNERS, patient=False))
    for number in range(21):
        world.deliver(b"%d" % number, 1)
    world.turns.run()
    assert (client.take()[-1], client.ended) == (Disconnect(Code.QUOTA_EXCEEDED), 1)


def test_what_has_waited_says_how_long_it_is_still_of_use(clock: FakeClock) -> None:
    world, client = both(clock, V5)
    client.seat.hold()
    world.deliver(b"1", properties={Property.MESSAGE_EXPIRY_INTERVAL: 10})
    world.deliver(b"2", properties={Property.MESSAGE_EXPIRY_INTERVAL: 3})
    clock.advance(4)
    client.seat.release()
    assert client.take() == [Publish(b"t", b"1", properties={Property.MESSAGE_EXPIRY_INTERVAL: 6})]
    assert world.house.tally.expired == 1


def test_a_client_that_becomes_slow_within_a_delivery_gets_no_more(world: World) -> None:
    client = world.client
    client.seat.hold()
    for number in range(4):
        world.deliver(b"%d" % number)
    took = client.seat._take

    def take(data: bytes) -> None:
        took(data)
        client.seat.hold()

    client.seat.read_to(take)
    client.seat.release()
    assert [each[1] for each in client.published] == [b"0"]
    client.seat.release()
    assert [each[1] for each in client.published] == [b"1"]


# Subscriptions


def test_a_flood_of_subscriptions_is_refused_one_by_one(clock: FakeClock) -> None:
    for level, code in ((V5, Code.QUOTA_EXCEEDED), (V311, Code.UNSPECIFIED_ERROR)):
        world, client = both(clock, level)
        # The house that takes only what is published remembers none.
        client.seat.filters = dict.fromkeys([b"%d" % n for n in range(7)])
        client.seat.filters[b"a"] = None
        assert codes(client.subscribe(b"a", b"b", b"0", qos=1)) == (1, code, 1)
        assert world.house.tally.refused == {Code.QUOTA_EXCEEDED: 1}


# Going


def test_a_will_is_published_where_nobody_has_said_farewell(clock: FakeClock) -> None:
    for leave in ("end", "close", "abort"):
        world = World(clock, V5)
        said: Properties = {Property.WILL_DELAY_INTERVAL: 60, Property.CONTENT_TYPE: b"x"}
        world.client.connect(will=Will(b"will", b"gone", 1, True, said))
        getattr(world.client.seat, leave)()
        world.client.seat.close()
        assert world.outlet.heard == [Message(b"will", b"gone", 1, True, {3: b"x"}, "boat")]
        world.outlet.acknowledge()


def test_and_not_where_it_has(clock: FakeClock) -> None:
    for level in LEVELS:
        world = World(clock, level)
        world.client.connect(will=Will(b"will", b"gone"))
        world.client.say(Disconnect(), Ping())
        world.turns.run()
        assert world.client.ended == 1
        world.client.seat.close()
        assert world.outlet.heard == []


def test_unless_it_has_asked_for_it(clock: FakeClock) -> None:
    world = World(clock, V5)
    world.client.connect(will=Will(b"will", b"gone"))
    world.client.say(Disconnect(Code.DISCONNECT_WITH_WILL))
    assert world.outlet.payloads == [b"gone"]


def test_an_end_is_answered_by_an_end(world: World) -> None:
    world.client.seat.end()
    assert (world.client.ended, world.client.lost) == (1, [None])
    world.client.seat.close()
    assert world.client.seat.closed


def test_after_close_nothing_is_heard(world: World) -> None:
    client = world.client
    client.say(Publish(b"a", b"1", qos=1, id=1))
    client.say(Disconnect())
    client.seat.close()
    world.turns.run()
    world.outlet.acknowledge()
    world.deliver(b"late")
    world.deliver(b"late", 1)
    client.seat.close()
    assert (client.take(), client.ended, client.lost) == ([], 0, [])


def test_what_is_over_is_freed_by_counting_alone(clock: FakeClock) -> None:
    for level in LEVELS:
        world, client = both(clock, level)
        client.subscribe(b"a", b"b")
        client.say(Publish(b"a", b"1", qos=2, id=1), Publish(b"a", b"1", qos=1, id=2))
        client.seat.hold()
        world.outlet.full = True
        client.say(Publish(b"a", b"2"))
        world.deliver(b"waits", 1)
        world.outlet.acknowledge()
        world.outlet.acknowledge()
        gc.disable()
        try:
            seat = weakref.ref(client)
            client.seat.close()
            world.turns.run()
            del client, world.client
            assert seat() is None
        finally:
            gc.enable()


def test_the_counters_are_those_of_a_connection(world: World) -> None:
    before = world.client.seat.sent, world.client.seat.received
    world.client.say(Ping())
    world.deliver(b"12")
    seat = world.client.seat
    assert (seat.sent - before[0], seat.received - before[1]) == (2, 2 + sum(map(len, world.client.pieces[-1:])))


def test_a_subscription_aside_goes_nowhere(world: World) -> None:
    assert codes(world.client.subscribe(Subscription(b"a", 2), Subscription(b"b", 0))) == (2, 0)
    assert world.client.say(Unsubscribe(9, (b"a",))) == [Unsuback(9, (0,) if world.client.level == V5 else ())]
