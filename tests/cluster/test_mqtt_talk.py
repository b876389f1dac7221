"""A check by MQTT: what a broker hears, and what is made of all that it may say."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.cluster.mqtt_talk import MqttTalk
from meshproxy.model import Health, decode
from meshproxy.model.health import MqttCheck

CONNECT = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04boat"
CONNECT_5 = b"\x10\x11\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x04boat"
CONNACK, CONNACK_5 = b"\x20\x02\x00\x00", b"\x20\x03\x00\x00\x00"
PINGREQ, PINGRESP, DISCONNECT = b"\xc0\x00", b"\xd0\x00", b"\xe0\x00"


def check(**said: Any) -> MqttCheck:
    found: Health = decode(Health, {"mqtt": said})
    assert found.mqtt is not None
    return found.mqtt


def outcome(answers: tuple[bytes, ...], size: int, **said: Any) -> tuple[str, bytes]:
    """Of answers in pieces of this size, after which the broker ends; and all that it has heard after CONNECT."""
    talk = MqttTalk(check(**said), "boat")
    talk.says()
    heard = b""
    for piece in (answer[at : at + size] for answer in answers for at in range(0, len(answer), size)):
        result = talk.feed(piece)
        heard += talk.says()
        if result is not None:
            return str(result), heard
    return str(talk.end()), heard


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, CONNECT),
        ({"version": "5"}, CONNECT_5),
        ({"user": "me"}, b"\x10\x14\x00\x04MQTT\x04\x82\x00\x3c\x00\x04boat\x00\x02me"),
        (
            {"user": "me", "password": "secret"},
            b"\x10\x1c\x00\x04MQTT\x04\xc2\x00\x3c\x00\x04boat\x00\x02me\x00\x06secret",
        ),
    ],
)
def test_how_it_begins(said: dict[str, Any], expected: bytes) -> None:
    talk = MqttTalk(check(**said), "boat")
    assert talk.says() == expected
    assert talk.says() == b""


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize(
    ("version", "answers", "found"),
    [
        ("3.1.1", (CONNACK, PINGRESP), "ok"),
        ("3.1.1", (b"\x20\x02\x00\x01",), "status wrong-version"),
        ("3.1.1", (b"\x20\x02\x00\x02",), "status rejected-id"),
        ("3.1.1", (b"\x20\x02\x00\x03",), "status unavailable"),
        ("3.1.1", (b"\x20\x02\x00\x04",), "status bad-credentials"),
        ("3.1.1", (b"\x20\x02\x00\x05",), "status not-authorized"),
        ("3.1.1", (b"\x20\x02\x00\x06",), "malformed bad_code"),
        ("3.1.1", (b"",), "closed"),
        ("3.1.1", (CONNACK,), "closed"),
        ("3.1.1", (CONNACK[:3],), "closed"),
        ("3.1.1", (PINGRESP,), "malformed not_mqtt"),
        ("3.1.1", (CONNACK, CONNACK), "malformed unexpected"),
        ("3.1.1", (CONNACK, b"\x30\x03\x00\x01a"), "malformed unexpected"),
        ("3.1.1", (CONNACK, DISCONNECT), "malformed unexpected"),
        ("3.1.1", (CONNACK, b"\xd0\x01\x00"), "malformed left_over"),
        ("3.1.1", (CONNACK, b"\x00\x00"), "malformed bad_type"),
        ("3.1.1", (b"HTTP/1.1 400 Bad Request\r\n\r\n",), "malformed not_mqtt"),
        ("3.1.1", (b"\x20\xff\xff\xff\x7f",), "malformed too_large"),
        ("5", (CONNACK_5, PINGRESP), "ok"),
        ("5", (b"\x20\x06\x00\x00\x03\x21\x00\x0a", PINGRESP), "ok"),
        ("5", (b"\x20\x03\x00\x87\x00",), "status not-authorized"),
        ("5", (b"\x20\x03\x00\x86\x00",), "status bad-user-or-password"),
        ("5", (b"\x20\x03\x00\x84\x00",), "status unsupported-protocol-version"),
        ("5", (CONNACK_5, b"\xe0\x01\x8b"), "status server-shutting-down"),
        ("5", (CONNACK,), "malformed cut_short"),
    ],
)
def test_answers(version: str, answers: tuple[bytes, ...], found: str, size: int) -> None:
    result, heard = outcome(answers, size, version=version)
    assert result == found
    taken = len(answers) > 1 or (answers == (CONNACK,) and version == "3.1.1")
    assert heard == (PINGREQ + DISCONNECT if found == "ok" else PINGREQ if taken else b"")


def test_an_answer_that_nobody_has_asked_for_yet_is_none() -> None:
    """PINGRESP before the broker can have heard PINGREQ."""
    talk = MqttTalk(check(), "boat")
    talk.says()
    result = talk.feed(CONNACK + PINGRESP)
    assert str(result) == "malformed unexpected"
