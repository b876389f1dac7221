"""What is decided about a topic, and for how long it is remembered."""

from __future__ import annotations

import pytest

from meshproxy.core.mqtt.access import Access
from meshproxy.core.mqtt.client import Client
from meshproxy.core.mqtt.rewrite import Rewriting
from meshproxy.core.mqtt.ruling import MOST_BYTES, MOST_TOPICS, Judge, Ruling
from meshproxy.model.topics import TopicAccess, TopicRewrite

ANN = Client("press-7", "ann", "", "", 5)
BOB = Client("press-8", "bob", "", "", 4)
RULES = [(("telemetry/#", "a/b"), "first"), (("+/b", "telemetry/x"), "second")]


class Checked:
    """How often a topic was looked at."""

    def __init__(self) -> None:
        self.topics: list[bytes] = []

    def __call__(self, topic: bytes) -> None:
        self.topics.append(topic)
        if b"+" in topic:
            raise ValueError("wildcard")


def test_a_topic_is_looked_at_once() -> None:
    check = Checked()
    rulings = Judge(check, None, RULES).rulings(None, b"")
    assert rulings[b"c"] == Ruling(True, b"c", True, None)
    assert rulings[b"c"] is rulings[b"c"]
    assert check.topics == [b"c"]


def test_what_is_no_topic_is_raised_and_not_remembered() -> None:
    rulings = Judge(Checked(), None, RULES).rulings(None, b"")
    for _ in range(2):
        with pytest.raises(ValueError, match="wildcard"):
            rulings[b"a/+"]
    assert not rulings


def test_the_first_rule_whose_filter_matches_what_the_broker_sees() -> None:
    judge = Judge(Checked(), Rewriting([TopicRewrite("t/#", "telemetry/%1")]), RULES)
    rulings = judge.rulings(None, b"")
    assert rulings[b"a/b"] == Ruling(True, b"a/b", False, "first")
    assert rulings[b"c/b"] == Ruling(True, b"c/b", False, "second")
    assert rulings[b"t/x"] == Ruling(True, b"telemetry/x", False, "first")
    assert judge.rulings(None, b"p/")[b"a/b"] == Ruling(True, b"p/a/b", False, None)


def test_what_is_not_granted_or_has_no_name_there_is_not_allowed() -> None:
    access = Access([TopicAccess(users=("ann",), publish=("%c/#", "out/#"))], "cluster.local")
    judge = Judge(Checked(), Rewriting([TopicRewrite("out/#", "%1")]), RULES)
    rulings = judge.rulings(access.of(ANN), b"")
    assert rulings[b"press-7/x"] == Ruling(True, b"press-7/x", True, None)
    for denied in (b"press-8/x", b"a/b", b"out/$SYS/x", b"out"):
        assert rulings[denied] == Ruling(False, denied, False, None)
    assert not judge.rulings(access.of(BOB), b"")[b"press-7/x"].allowed


def test_those_who_are_alike_share_what_is_remembered() -> None:
    access = Access([TopicAccess(publish=("#",)), TopicAccess(users=("ann",), publish=("%c",))], "cluster.local")
    judge = Judge(Checked(), None, RULES)
    carl = Client("press-9", "carl", "", "", 4)
    assert judge.rulings(access.of(BOB), b"") is judge.rulings(access.of(carl), b"")
    assert judge.rulings(access.of(BOB), b"") is not judge.rulings(access.of(BOB), b"t/")
    own = access.of(ANN)
    assert judge.rulings(own, b"") is not judge.rulings(own, b""), "it is forgotten with the client"
    assert judge.rulings(None, b"") is judge.rulings(None, b"")


def test_what_is_delivered_has_the_clients_name() -> None:
    judge = Judge(Checked(), Rewriting([TopicRewrite("old/#", "new/%1")]), RULES)
    heard = judge.heard(b"t/ann/")
    assert heard is not None
    assert heard is judge.heard(b"t/ann/")
    assert [heard[topic] for topic in (b"t/ann/new/a", b"t/ann/b", b"t/bob/b")] == [b"old/a", b"b", None]
    assert judge.heard(b"") is not None
    assert Judge(Checked(), None, RULES).heard(b"") is None


@pytest.mark.parametrize("size", [10, 1000, 60_000])
def test_only_so_much_is_remembered(size: int) -> None:
    judge = Judge(Checked(), None, RULES)
    rulings, heard = judge.rulings(None, b"t/"), judge.heard(b"t/")
    assert heard is not None
    for number in range(2 * MOST_TOPICS if size < 1000 else 200):
        topic = b"%d/" % number + b"x" * size
        assert rulings[topic].topic == b"t/" + topic
        assert heard[b"t/" + topic] == topic
        assert heard[topic] is None
        for held in (rulings, heard):
            assert len(held) <= MOST_TOPICS
            assert sum(map(len, held)) <= max(MOST_BYTES, size + 10)
    assert len(rulings) > 1 or size == 60_000
