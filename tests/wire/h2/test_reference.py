"""The library in the place of the engine: the same words, heard by the same owner."""

from __future__ import annotations

from typing import cast

import pytest

from meshproxy.wire.h2 import Code, Engine, Limits, Reason, Role, StreamFault
from meshproxy.wire.h2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from meshproxy.wire.h2.reference import ReferenceEngine
from meshproxy.wire.hpack import field
from tests.wire.h2.heard import ACKNOWLEDGED, GET, HELLO, OK, Owner, frame, frames_of, head, number, settings

WHOLE = END_HEADERS | END_STREAM
ASKS = GET + field(b":authority", b"a")


def reference(role: Role = Role.SERVER, limits: Limits | None = None) -> Owner:
    owner = Owner(role, limits, engine=cast(type[Engine], ReferenceEngine))
    owner.engine.feed((PREFACE if role is Role.SERVER else b"") + HELLO + ACKNOWLEDGED)
    owner.written()
    owner.heard.clear()
    return owner


def test_what_it_says_of_itself() -> None:
    owner = Owner(limits=Limits(max_streams=7), engine=cast(type[Engine], ReferenceEngine))
    (kind, _, _, payload), update = owner.says()
    assert kind == SETTINGS
    assert b"\0\x03" + number(7) in payload
    assert b"\0\x08" + number(1) in payload
    assert update == (WINDOW_UPDATE, 0, 0, number((1 << 20) - 65535))


def test_a_peer_that_breaks_the_rules_is_told_by_the_library() -> None:
    owner = reference()
    owner.engine.feed(frame(DATA, 0, 1, b"x" * 10))
    assert [(fault.code, fault.reason) for fault in owner.faults] == [(Code.PROTOCOL_ERROR, Reason.REFUSED_BY_H2)]
    assert owner.says()[-1][0] == GOAWAY
    owner.engine.feed(head(1, WHOLE, ASKS))
    assert owner.heard == []


def test_a_user_that_finds_fault() -> None:
    owner = reference()
    owner.engine.feed(head(1, END_HEADERS, ASKS))
    owner.users[1].fault = StreamFault(Code.PROTOCOL_ERROR, "its_word")
    owner.engine.feed(frame(DATA, 0, 1, b"x" * 10))
    assert owner.says() == [(RST_STREAM, 0, 1, number(1))]
    assert owner.counts == ["its_word"]
    assert owner.heard[-1] == ("reset", 1, 1)


def test_whoever_is_stopped_is_given_nothing_until_it_starts() -> None:
    owner = reference()
    owner.engine.feed(head(1, END_HEADERS, ASKS))
    owner.engine.stop(1)
    owner.engine.feed(frame(DATA, 0, 1, bytes(16384)) * 4)
    assert owner.written() == b""
    owner.engine.start(1)
    assert (WINDOW_UPDATE, 0, 1, number(65536)) in owner.says()


def test_what_waits_for_a_window_or_the_socket() -> None:
    owner = reference()
    owner.engine.feed(settings(_4=2) + head(1, WHOLE, ASKS))
    owner.engine.head(1, OK, False)
    owner.written()
    assert not owner.engine.data(1, b"abc", True)
    user = owner.users[1]
    assert user.held
    assert owner.says() == [(DATA, 0, 1, b"ab")]
    owner.engine.block()
    owner.engine.feed(frame(WINDOW_UPDATE, 0, 1, number(5)))
    assert owner.written() == b""
    owner.engine.unblock()
    assert owner.says() == [(DATA, END_STREAM, 1, b"c")]
    assert not user.held
    assert not owner.engine.streams


def test_a_server_that_goes() -> None:
    owner = reference(Role.CLIENT)
    assert owner.engine.room == 100
    owner.open(ASKS)
    owner.open(ASKS)
    owner.engine.feed(frame(GOAWAY, 0, 0, number(1) + number(0)))
    assert owner.heard == [("reset", 1, 0), ("refused", 3), ("went", 1, 0)]
    assert owner.engine.room == 0


def test_we_drain_in_two_steps() -> None:
    owner = reference()
    owner.engine.goaway(final=False)
    owner.engine.feed(head(1, WHOLE, ASKS))
    owner.engine.goaway()
    owner.engine.feed(head(3, WHOLE, ASKS))
    owner.engine.head(1, OK, True)
    assert [said[:3] for said in owner.says()] == [(GOAWAY, 0, 0), (GOAWAY, 0, 0), (HEADERS, WHOLE, 1)]
    assert [heard[:2] for heard in owner.heard] == [("opened", 1)]


@pytest.mark.parametrize(
    ("reason", "flood"),
    [
        (Reason.PING_FLOOD, frame(PING, 0, 0, bytes(8))),
        (Reason.SETTINGS_FLOOD, settings()),
        (Reason.WINDOW_FLOOD, frame(WINDOW_UPDATE, 0, 0, number(1))),
        (Reason.PRIORITY_FLOOD, frame(PRIORITY, 0, 1, number(0) + b"\0")),
        (Reason.UNKNOWN_FLOOD, frame(0x55, 0, 0, b"x")),
        (Reason.EMPTY_FLOOD, frame(DATA, 0, 1)),
        (Reason.DRIBBLE_FLOOD, frame(DATA, 0, 1, b"x")),
    ],
)
def test_what_it_tells_of_is_counted(reason: Reason, flood: bytes) -> None:
    owner = reference()
    owner.engine.feed(head(1, END_HEADERS, ASKS))
    for _ in range(1000):
        owner.engine.feed(flood)
    assert [fault.reason for fault in owner.faults] == [reason]
    assert owner.says()[-1][0] == GOAWAY


def test_rapid_resets_are_counted() -> None:
    owner = reference()
    for stream in range(1, 1001, 2):
        owner.engine.feed(head(stream, WHOLE, ASKS) + frame(RST_STREAM, 0, stream, number(8)))
    assert [fault.reason for fault in owner.faults] == [Reason.RESET_FLOOD]


def test_nobody_is_told_of_a_connection_that_is_closed() -> None:
    owner = reference(Role.CLIENT)
    owner.open(ASKS)
    owner.heard.clear()
    engine = owner.engine
    engine.close()
    assert engine.over
    assert engine.room == 0
    assert not engine.streams
    assert not owner.heard


def test_ping_and_settings() -> None:
    owner = reference()
    owner.engine.ping()
    ((_, _, _, payload),) = owner.says()
    owner.engine.feed(frame(PING, ACK, 0, payload) + settings(_3=5, _8=1))
    assert owner.heard == [("pong",), ("settled",)]
    assert (owner.engine.peer.max_streams, owner.engine.peer.connect_protocol) == (5, True)
    assert frames_of(owner.written()) == [(SETTINGS, ACK, 0, b"")]
