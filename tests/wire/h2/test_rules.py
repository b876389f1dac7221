"""RFC 9113, rule by rule: the frames of a client, and what the server says of them."""

from __future__ import annotations

import pytest

from meshproxy.wire.h2 import Code, Limits, Role, StreamFault, states
from meshproxy.wire.h2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
)
from tests.wire.h2.heard import GET, HELLO, OK, TRAILER, Owner, client, frame, head, number, server, settings

OPEN = head(1)
ASKED = head(1, END_HEADERS | END_STREAM)
"""Half-closed on the client's side."""
WHOLE = END_HEADERS | END_STREAM
LARGEST = 2**31 - 1

Case = tuple[str, bytes]


def goes(code: Code, *cases: Case) -> list[object]:
    return [pytest.param(code, data, id=name.replace(" ", "_")) for name, data in cases]


CONNECTION = [
    *goes(
        Code.PROTOCOL_ERROR,
        ("CONTINUATION is due and PRIORITY comes", head(1, 0) + frame(PRIORITY, 0, 1, number(0) + b"\0")),
        ("CONTINUATION is due and DATA comes", head(1, 0) + frame(DATA, 0, 1, b"x" * 10)),
        ("CONTINUATION is due and HEADERS come", head(1, 0) + head(3)),
        ("CONTINUATION is due and an unknown frame comes", head(1, 0) + frame(0x16, 0, 0, b"x")),
        ("CONTINUATION is due for another stream", head(1, 0) + frame(CONTINUATION, END_HEADERS, 3, b"")),
        ("CONTINUATION is due and the HEADERS come again", head(1, 0) + head(1)),
        ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, GET)),
        ("CONTINUATION after a whole head", OPEN + frame(CONTINUATION, END_HEADERS, 1, GET)),
        ("CONTINUATION after the last one",
         head(1, 0) + frame(CONTINUATION, END_HEADERS, 1) + frame(CONTINUATION, END_HEADERS, 1)),
        ("CONTINUATION after DATA", OPEN + frame(DATA, 0, 1, b"x" * 9) + frame(CONTINUATION, 4, 1, GET)),
        ("CONTINUATION for the connection", head(1, 0) + frame(CONTINUATION, END_HEADERS, 0, GET)),
        ("DATA for a stream that is idle", frame(DATA, 0, 1, b"x" * 10)),
        ("RST_STREAM for a stream that is idle", frame(RST_STREAM, 0, 1, number(8))),
        ("WINDOW_UPDATE for a stream that is idle", frame(WINDOW_UPDATE, 0, 1, number(100))),
        ("DATA for the connection", frame(DATA, 0, 0, b"x" * 10)),
        ("HEADERS for the connection", head(0)),
        ("HEADERS in fragments for the connection", head(0, 0)),
        ("PRIORITY for the connection", frame(PRIORITY, 0, 0, number(1) + b"\0")),
        ("RST_STREAM for the connection", frame(RST_STREAM, 0, 0, number(8))),
        ("SETTINGS for a stream", frame(SETTINGS, 0, 1)),
        ("PING for a stream", frame(PING, 0, 1, b"12345678")),
        ("GOAWAY for a stream", frame(GOAWAY, 0, 1, number(0) * 2)),
        ("a stream of a server's number", head(2)),
        ("DATA for a stream of a server's number", frame(DATA, 0, 2, b"x" * 10)),
        ("a lower stream than the last", head(5) + head(3)),
        ("more padding than DATA", OPEN + frame(DATA, PADDED, 1, b"\x05abcd")),
        ("as much padding as DATA and its size", OPEN + frame(DATA, PADDED, 1, b"\x05abcde"[:5])),
        ("more padding than HEADERS", head(1, END_HEADERS | PADDED, b"\xff" + GET)),
        ("more padding than HEADERS with priority",
         head(1, END_HEADERS | PADDED | WITH_PRIORITY, b"\x04" + number(0) + b"\0" + GET)),
        ("ENABLE_PUSH of 2", settings(_2=2)),
        ("MAX_FRAME_SIZE below the smallest", settings(_5=16383)),
        ("MAX_FRAME_SIZE above the largest", settings(_5=2**24)),
        ("ENABLE_CONNECT_PROTOCOL of 2", settings(_8=2)),
        ("ENABLE_CONNECT_PROTOCOL taken back", settings(_8=1) + settings(_8=0)),
        ("WINDOW_UPDATE of nothing", frame(WINDOW_UPDATE, 0, 0, number(0))),
        ("PUSH_PROMISE", OPEN + frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + GET)),
        ("PRIORITY of an idle stream that depends on itself", frame(PRIORITY, 0, 3, number(3) + b"\0")),
    ),
    *goes(
        Code.FRAME_SIZE_ERROR,
        ("DATA larger than is taken", OPEN + frame(DATA, 0, 1, bytes(16385))),
        ("HEADERS larger than are taken", head(1, END_HEADERS, bytes(16385))),
        ("SETTINGS larger than are taken", frame(SETTINGS, 0, 0, bytes(16386))),
        ("an unknown frame larger than is taken", frame(0x55, 0, 0, bytes(16385))),
        ("RST_STREAM of 3", OPEN + frame(RST_STREAM, 0, 1, bytes(3))),
        ("RST_STREAM of 5", OPEN + frame(RST_STREAM, 0, 1, bytes(5))),
        ("SETTINGS of 5", frame(SETTINGS, 0, 0, bytes(5))),
        ("an acknowledgement that holds something", frame(SETTINGS, ACK, 0, bytes(6))),
        ("PING of 7", frame(PING, 0, 0, bytes(7))),
        ("PING of 9", frame(PING, 0, 0, bytes(9))),
        ("GOAWAY of 7", frame(GOAWAY, 0, 0, bytes(7))),
        ("WINDOW_UPDATE of 3", frame(WINDOW_UPDATE, 0, 0, bytes(3))),
        ("WINDOW_UPDATE of 5 for a stream", OPEN + frame(WINDOW_UPDATE, 0, 1, bytes(5))),
        ("PRIORITY of 4 for an idle stream", frame(PRIORITY, 0, 1, bytes(4))),
        ("DATA without the size of its padding", OPEN + frame(DATA, PADDED, 1)),
        ("HEADERS without the size of their padding", head(1, END_HEADERS | PADDED, b"")),
        ("HEADERS without their priority", head(1, END_HEADERS | WITH_PRIORITY, bytes(4))),
    ),
    *goes(
        Code.STREAM_CLOSED,
        ("HEADERS after the client has reset the stream", OPEN + frame(RST_STREAM, 0, 1, number(8)) + head(1)),
    ),
    *goes(
        Code.FLOW_CONTROL_ERROR,
        ("INITIAL_WINDOW_SIZE above the largest", settings(_4=2**31)),
        ("INITIAL_WINDOW_SIZE that makes a window too large",
         OPEN + frame(WINDOW_UPDATE, 0, 1, number(LARGEST - 65535)) + settings(_4=65536)),
        ("WINDOW_UPDATE that makes the window too large", frame(WINDOW_UPDATE, 0, 0, number(LARGEST))),
    ),
    *goes(
        Code.COMPRESSION_ERROR,
        ("a block that refers to nothing", head(1, WHOLE, b"\xff\xff\x03")),
        ("a block that is cut", head(1, WHOLE, b"\x40\x0a\x61")),
    ),
]  # fmt: skip


@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize(("code", "data"), CONNECTION)
def test_the_connection_ends(code: Code, data: bytes, piece: int) -> None:
    owner = server()
    for at in range(0, len(data), piece):
        owner.engine.feed(data[at : at + piece])
    (fault,) = owner.faults
    assert fault.code == code
    *_, (kind, _, stream, payload) = owner.says()
    assert (kind, stream, payload[4:8]) == (GOAWAY, 0, number(code))
    assert owner.engine.over
    owner.engine.feed(head(101))
    assert owner.written() == b""


STREAM = [
    *goes(
        Code.STREAM_CLOSED,
        ("DATA after the end", ASKED + frame(DATA, 0, 1, b"x" * 10)),
        ("HEADERS after the end", ASKED + head(1, WHOLE)),
        ("DATA after the client has reset the stream",
         OPEN + frame(RST_STREAM, 0, 1, number(8)) + frame(DATA, 0, 1, b"x" * 10)),
    ),
    *goes(
        Code.PROTOCOL_ERROR,
        ("a second head that is not the end", OPEN + head(1)),
        ("WINDOW_UPDATE of nothing", OPEN + frame(WINDOW_UPDATE, 0, 1, number(0))),
        ("HEADERS that depend on themselves", head(1, WHOLE | WITH_PRIORITY, number(1) + b"\0" + GET)),
        ("PRIORITY that depends on itself", OPEN + frame(PRIORITY, 0, 1, number(1) + b"\0")),
        ("PRIORITY that depends on itself, exclusively", OPEN + frame(PRIORITY, 0, 1, number(1 | 1 << 31) + b"\0")),
        ("trailers that depend on themselves", OPEN + head(1, WHOLE | WITH_PRIORITY, number(1) + b"\0" + TRAILER)),
    ),
    *goes(Code.FRAME_SIZE_ERROR, ("PRIORITY of 4", OPEN + frame(PRIORITY, 0, 1, bytes(4)))),
    *goes(
        Code.FLOW_CONTROL_ERROR,
        ("WINDOW_UPDATE that makes the window too large", OPEN + frame(WINDOW_UPDATE, 0, 1, number(LARGEST))),
    ),
    *goes(Code.ENHANCE_YOUR_CALM, ("a head of too many fields", head(1, WHOLE, GET + b"\x90" * 200))),
]  # fmt: skip


@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize(("code", "data"), STREAM)
def test_a_stream_ends_and_the_connection_goes_on(code: Code, data: bytes, piece: int) -> None:
    owner = server()
    for at in range(0, len(data), piece):
        owner.engine.feed(data[at : at + piece])
    assert owner.says() == [(RST_STREAM, 0, 1, number(code))]
    assert len(owner.counts) == 1
    assert not owner.engine.streams
    owner.engine.feed(head(3, WHOLE))
    assert owner.heard[-1] == ("opened", 3, GET_FIELDS, True)
    assert not owner.faults


GET_FIELDS = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")]

HARMLESS = [
    ("an unknown frame", frame(0x16, 0xFF, 0, b"12345678")),
    ("an unknown frame for an idle stream", frame(0x16, 0, 5, b"")),
    ("PRIORITY_UPDATE", frame(PRIORITY_UPDATE, 0, 0, number(1) + b"u=0")),
    ("flags that mean nothing", frame(PING, 0xFE, 0, b"12345678")),
    ("the reserved bit", frame(PRIORITY, 0, 1 << 31 | 5, number(1) + b"\0")),
    ("PRIORITY of an idle stream", frame(PRIORITY, 0, 7, number(5) + b"\xff")),
    ("an answer to no PING", frame(PING, ACK, 0, b"12345678")),
    ("an acknowledgement of nothing", frame(SETTINGS, ACK)),
    ("a setting that nobody knows", settings(_99=7)),
    ("SETTINGS that say nothing", settings()),
    ("GOAWAY with an unknown code", frame(GOAWAY, 0, 0, number(0) + number(0xFF) + b"debug")),
    ("a reset with an unknown code", head(1) + frame(RST_STREAM, 0, 1, number(0xFF))),
    ("WINDOW_UPDATE of a stream that was reset",
     head(1) + frame(RST_STREAM, 0, 1, number(8)) + frame(WINDOW_UPDATE, 0, 1, number(1))),
    ("a reset of a stream that was reset",
     head(1) + frame(RST_STREAM, 0, 1, number(8)) + frame(RST_STREAM, 0, 1, number(8))),
    ("PRIORITY of a stream that was reset",
     head(1) + frame(RST_STREAM, 0, 1, number(8)) + frame(PRIORITY, 0, 1, number(0) + b"\0")),
    ("WINDOW_UPDATE after the end", ASKED + frame(WINDOW_UPDATE, 0, 1, number(1))),
    ("PRIORITY after the end", ASKED + frame(PRIORITY, 0, 1, number(0) + b"\0")),
    ("RST_STREAM after the end", ASKED + frame(RST_STREAM, 0, 1, number(8))),
    ("the largest window", frame(WINDOW_UPDATE, 0, 0, number(LARGEST - 65535))),
    ("the largest window of a stream", head(1) + frame(WINDOW_UPDATE, 0, 1, number(LARGEST - 65535))),
    ("streams left out", head(101, WHOLE)),
    ("padding",
     head(1, END_HEADERS | PADDED, b"\x03" + GET + b"abc") + frame(DATA, PADDED, 1, b"\x03" + b"12345678abc")),
    ("padding alone", head(1) + frame(DATA, PADDED | END_STREAM, 1, b"\x03abc")),
    ("priority", head(1, WHOLE | WITH_PRIORITY, number(3) + b"\x10" + GET)),
    ("priority and padding", head(1, WHOLE | WITH_PRIORITY | PADDED, b"\x02" + number(0) + b"\x10" + GET + b"ab")),
    ("a head in fragments",
     head(1, END_STREAM, GET[:1]) + frame(CONTINUATION, 0, 1, GET[1:2]) + frame(CONTINUATION, END_HEADERS, 1, GET[2:])),
    ("the largest DATA", head(1) + frame(DATA, 0, 1, bytes(16384))),
]  # fmt: skip


@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize("data", [pytest.param(data, id=name.replace(" ", "_")) for name, data in HARMLESS])
def test_what_is_allowed_does_no_harm(data: bytes, piece: int) -> None:
    owner = server()
    for at in range(0, len(data), piece):
        owner.engine.feed(data[at : at + piece])
    owner.engine.feed(head(201, WHOLE))
    assert owner.heard[-1] == ("opened", 201, GET_FIELDS, True)
    assert {kind for kind, *_ in owner.says()} <= {SETTINGS, PING}
    assert not owner.faults
    assert not owner.counts


def test_a_client_has_to_begin_with_the_preface_and_settings() -> None:
    for data in (
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
        PREFACE + head(1),
        PREFACE + frame(DATA, 0, 1, bytes(9)),
        PREFACE + frame(SETTINGS, ACK),
    ):
        owner = Owner()
        owner.engine.feed(data)
        assert [fault.code for fault in owner.faults] == [Code.PROTOCOL_ERROR]
    owner = Owner()
    for at in range(len(PREFACE + HELLO)):
        owner.engine.feed((PREFACE + HELLO)[at : at + 1])
    assert owner.heard == [("settled",)]


def test_what_we_say_of_ourselves() -> None:
    assert Owner(limits=Limits(max_streams=7)).says() == [
        (SETTINGS, 0, 0, b"".join((
            b"\0\x03" + number(7), b"\0\x08" + number(1), b"\0\x04" + number(65536), b"\0\x06" + number(61440),
            b"\0\x09" + number(1),
        ))),
        (WINDOW_UPDATE, 0, 0, number((1 << 20) - 65535)),
    ]  # fmt: skip
    data = Owner(Role.CLIENT, Limits(window=65535, table=0, connection_window=65535)).written()
    assert data.startswith(PREFACE)
    assert data[len(PREFACE) :] == settings(_1=0, _2=0, _6=61440, _9=1)


def test_settings_and_ping_are_answered() -> None:
    owner = server()
    owner.engine.feed(settings(_3=5, _5=20000, _4=70000, _8=1, _6=99) + frame(PING, 0, 0, b"12345678"))
    assert owner.says() == [(SETTINGS, ACK, 0, b""), (PING, ACK, 0, b"12345678")]
    peer = owner.engine.peer
    assert (peer.max_streams, peer.max_frame, peer.window, peer.connect_protocol, peer.max_list) == (
        5, 20000, 70000, True, 99,
    )  # fmt: skip
    owner.engine.ping()
    ((kind, flags, _, payload),) = owner.says()
    assert (kind, flags) == (PING, 0)
    assert isinstance(payload, bytes)
    owner.engine.feed(frame(PING, ACK, 0, payload))
    assert owner.heard[-1] == ("pong",)


# Streams in the middle of things


def test_streams_above_the_limit_are_refused() -> None:
    owner = server(Limits(max_streams=2))
    owner.engine.feed(head(1) + head(3) + head(5) + frame(DATA, END_STREAM, 5, b"x" * 10))
    assert owner.says() == [(RST_STREAM, 0, 5, number(Code.REFUSED_STREAM))]
    assert [heard[:2] for heard in owner.heard] == [("opened", 1), ("opened", 3)]
    owner.engine.feed(frame(RST_STREAM, 0, 1, number(8)) + head(7))
    assert owner.heard[-1][:2] == ("opened", 7)


def test_what_was_under_way_when_we_reset_a_stream_does_no_harm() -> None:
    owner = server()
    owner.engine.feed(OPEN)
    owner.engine.reset(1, Code.CANCEL)
    owner.written()
    owner.engine.feed(frame(DATA, 0, 1, b"x" * 1000) + frame(WINDOW_UPDATE, 0, 1, number(5)) + head(1, WHOLE, TRAILER))
    assert owner.written() == b""
    assert not owner.faults
    owner.engine.feed(head(1, WHOLE, TRAILER))  # but its end was the end
    assert [fault.code for fault in owner.faults] == [Code.STREAM_CLOSED]


def test_late_data_may_be_no_more_than_the_window_was_and_is_given_back() -> None:
    owner = server(Limits(window=65535, connection_window=131072))
    owner.engine.feed(OPEN)
    owner.engine.reset(1, Code.CANCEL)
    owner.written()
    late = frame(DATA, 0, 1, bytes(16384))
    owner.engine.feed(late * 3)
    assert owner.written() == b""
    owner.engine.feed(frame(DATA, 0, 1, bytes(16383)))
    assert owner.written() == b""
    owner.engine.feed(frame(DATA, 0, 1, bytes(1)))
    assert [fault.code for fault in owner.faults] == [Code.FLOW_CONTROL_ERROR]

    owner = server(Limits(window=65535, connection_window=65535))
    for stream in range(1, 40, 2):  # forty times what the connection has
        owner.engine.feed(head(stream))
        owner.engine.reset(stream, Code.CANCEL)
        owner.engine.feed(frame(DATA, 0, stream, bytes(16384)) * 2)
    assert not owner.faults


def test_a_user_that_finds_fault_resets_its_stream_alone() -> None:
    owner = server()
    owner.engine.feed(OPEN + head(3))
    owner.users[1].fault = StreamFault(Code.PROTOCOL_ERROR, "its_word")
    owner.engine.feed(frame(DATA, END_STREAM, 1, b"x" * 10) + frame(DATA, END_STREAM, 3, b"x" * 10))
    assert owner.says() == [(RST_STREAM, 0, 1, number(Code.PROTOCOL_ERROR))]
    assert owner.counts == ["its_word"]
    assert owner.heard[-3:] == [("taken", 1, b"x" * 10, True), ("reset", 1, 1), ("taken", 3, b"x" * 10, True)]

    def refuse(stream: int) -> None:
        raise StreamFault(Code.PROTOCOL_ERROR, "another_word")

    owner.opening = refuse
    owner.engine.feed(head(5))
    assert owner.says() == [(RST_STREAM, 0, 5, number(Code.PROTOCOL_ERROR))]
    assert owner.counts == ["its_word", "another_word"]


def test_an_answer_may_be_whole_before_the_request_is_heard_of() -> None:
    owner = server()

    def answer(stream: int) -> None:
        owner.engine.head(stream, OK, False)
        owner.engine.data(stream, b"early", True)

    owner.opening = answer
    owner.engine.feed(ASKED + head(3))
    assert owner.says() == [
        (HEADERS, END_HEADERS, 1, OK), (DATA, END_STREAM, 1, b"early"),
        (HEADERS, END_HEADERS, 3, OK), (DATA, END_STREAM, 3, b"early"),
    ]  # fmt: skip
    assert list(owner.engine.streams) == [3]
    owner.engine.feed(frame(DATA, END_STREAM, 3, b"all of it"))
    assert owner.heard[-1] == ("taken", 3, b"all of it", True)
    assert not owner.engine.streams


def test_a_user_may_reset_another_stream_whose_data_waits_in_the_same_read() -> None:
    owner = server()
    owner.engine.feed(OPEN + head(3))
    user = owner.users[1]
    taken = user.taken

    def resets(data: bytes, last: bool) -> None:
        taken(data, last)
        owner.engine.reset(3, Code.CANCEL)

    user.taken = resets  # type: ignore[method-assign]
    owner.engine.feed(frame(DATA, 0, 1, b"x" * 10) + frame(DATA, 0, 3, b"x" * 10))
    assert owner.says() == [(RST_STREAM, 0, 3, number(8))]
    assert owner.heard[-1] == ("taken", 1, b"x" * 10, False)


def test_a_stream_whose_end_we_had_is_not_remembered_when_we_reset_it() -> None:
    owner = server()
    owner.engine.feed(ASKED)
    owner.engine.reset(1, Code.CANCEL)
    owner.written()
    owner.engine.feed(frame(DATA, 0, 1, bytes(9)))
    assert owner.says() == [(RST_STREAM, 0, 1, number(Code.STREAM_CLOSED))]


def test_the_table_is_complete() -> None:
    assert [len(row) for row in states.TABLE] == [6] * 7
    for happens in (states.HEADERS, states.DATA):
        row = states.TABLE[happens]
        assert [state for state in range(6) if row[state] <= states.REFUSED] == (
            [states.REMOTE, states.CLOSED] if happens == states.HEADERS else [states.REMOTE, states.IDLE, states.CLOSED]
        )


# Going away


def test_we_drain_in_two_steps() -> None:
    owner = server()
    owner.engine.goaway(final=False)
    assert owner.says() == [(GOAWAY, 0, 0, number(LARGEST) + number(0))]
    owner.engine.feed(OPEN)
    assert owner.heard[-1][:2] == ("opened", 1)
    owner.engine.goaway()
    assert owner.says() == [(GOAWAY, 0, 0, number(1) + number(0))]
    owner.engine.feed(head(3) + frame(DATA, 0, 3, bytes(100)) + frame(DATA, END_STREAM, 1, b"the rest"))
    assert owner.heard[1:] == [("taken", 1, b"the rest", True)]
    owner.engine.head(1, OK, True)
    assert owner.says() == [(HEADERS, WHOLE, 1, OK)]
    assert not owner.engine.streams


def test_a_client_hears_which_of_its_streams_were_not_processed() -> None:
    owner = client()
    for _ in range(3):
        owner.open()
    assert owner.engine.room == 97
    owner.engine.feed(frame(GOAWAY, 0, 0, number(LARGEST) + number(0)))
    assert owner.heard == [("went", LARGEST, 0)]
    assert owner.engine.room == 0
    owner.engine.feed(frame(GOAWAY, 0, 0, number(3) + number(0)))
    assert owner.heard[1:] == [("refused", 5), ("went", 3, 0)]
    owner.engine.feed(head(1, WHOLE, OK) + settings(_3=1000))
    assert owner.heard[3:] == [("headed", 1, [(b":status", b"200")], True), ("settled",)]
    assert owner.engine.room <= 0


def test_a_clients_room_is_what_both_allow() -> None:
    owner = Owner(Role.CLIENT, Limits(max_streams=150))
    assert owner.engine.room == 100
    owner.engine.feed(settings())
    assert owner.engine.room == 150
    owner.engine.feed(settings(_3=1))
    owner.open()
    assert owner.engine.room == 0
    owner.engine.feed(settings(_3=0))
    assert owner.engine.room == -1
    owner.engine.feed(settings(_3=2))
    assert owner.engine.room == 1


# What servers may not

SERVERS = [
    *goes(
        Code.PROTOCOL_ERROR,
        ("a stream of its own", head(2, WHOLE, OK)),
        ("a stream that nobody opened", head(3, WHOLE, OK)),
        ("PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + GET)),
        ("ENABLE_PUSH", settings(_2=1)),
    )
]


@pytest.mark.parametrize(("code", "data"), SERVERS)
def test_a_client_ends_the_connection(code: Code, data: bytes) -> None:
    owner = client()
    owner.open()
    owner.written()
    owner.engine.feed(data)
    assert [fault.code for fault in owner.faults] == [code]
    assert owner.engine.room == 0


WRONG_ANSWERS: list[tuple[str, bytes]] = [
    ("DATA before the head", frame(DATA, 0, 1, b"x" * 10)),
    ("DATA after an interim head", head(1, END_HEADERS, b"\x08\x03103") + frame(DATA, 0, 1, b"x" * 10)),
    ("an interim head that is the end", head(1, WHOLE, b"\x08\x03103")),
    ("trailers that are not the end", head(1, END_HEADERS, OK) + head(1, END_HEADERS, TRAILER)),
]


@pytest.mark.parametrize("data", [pytest.param(data, id=name.replace(" ", "_")) for name, data in WRONG_ANSWERS])
def test_a_client_resets_a_stream(data: bytes) -> None:
    owner = client()
    owner.open()
    owner.written()
    owner.engine.feed(data)
    assert owner.says() == [(RST_STREAM, 0, 1, number(Code.PROTOCOL_ERROR))]
    assert owner.heard[-1] == ("reset", 1, 1)


def test_late_answers_to_what_a_client_has_given_up_do_no_harm() -> None:
    owner = client()
    for _ in range(700):
        owner.engine.reset(owner.open(), Code.CANCEL)
    owner.engine.feed(b"".join(head(stream, WHOLE, OK) for stream in range(1, 1400, 2)))
    assert not owner.faults

