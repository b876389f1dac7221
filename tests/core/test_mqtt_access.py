"""Which topics are a client's, whatever it calls itself."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.core.mqtt.access import Access
from meshproxy.core.mqtt.client import Client
from meshproxy.core.mqtt.glob import ByName
from meshproxy.core.mqtt.template import literal, template
from meshproxy.model.topics import TopicAccess


def client(id: str = "press-7", user: str = "ann", identity: str = "web.shop") -> Client:
    return Client(id, user, identity, "", 5)


def access(*entries: dict[str, Any]) -> Access:
    return Access([TopicAccess(**entry) for entry in entries], "cluster.local")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("a/+/#", b"a/+/#"),
        ("plant/%c/#", b"plant/press-7/#"),
        ("%u", b"ann"),
        ("%i/%c-%u/100%%/%%c", b"web.shop/press-7-ann/100%/%c"),
        ("$share/%u/ä", "$share/ann/ä".encode()),
    ],
)
def test_variables(text: str, made: bytes) -> None:
    assert template(text)(client()) == made
    assert literal(text) == (made if "%" not in text else None)


def test_a_percent_sign_is_no_variable() -> None:
    assert literal("100%%/%%c") == b"100%/%c"


WORSE = ["", "+", "#", "a/b", "/", "a+", "a#", "\x00", "a\x00b", "\ud800", "x" * 65536]


@pytest.mark.parametrize("word", WORSE, ids=repr)
@pytest.mark.parametrize("key", ["id", "user", "identity"])
def test_a_word_that_could_mean_more_means_nothing(key: str, word: str) -> None:
    who = client(**{key: word})
    variable = {"id": "%c", "user": "%u", "identity": "%i"}[key]
    for text in (variable, f"plant/{variable}/#", f"plant/x{variable}", f"$share/{variable}/a"):
        assert template(text)(who) is None
    granted = access({"publish": (f"plant/{variable}/#",), "subscribe": (f"plant/{variable}/#",)}).of(who)
    for topic in (b"plant/a/b", b"plant/+/x", b"plant/#/x", b"plant//x", b"plant/press-7/x", b"plant"):
        assert not granted.publish(topic)
        assert not granted.subscribe(topic)
    assert not granted.subscribe(b"plant/+/#")


def test_a_word_does_not_lead_to_what_is_the_brokers_own() -> None:
    for word in ("$SYS", "$share", "$"):
        assert template("%u/#")(client(user=word)) is None
        assert template("%u%c/#")(client(user=word)) is None
        assert template("a/%u/#")(client(user=word)) == b"a/%b/#" % word.encode()
    assert template("$%u/#")(client(user="SYS")) == b"$SYS/#"


def test_a_spiffe_id_has_slashes_and_makes_no_topic() -> None:
    who = client(identity="spiffe://cluster.local/ns/shop/sa/web")
    assert template("%i/#")(who) is None


@pytest.mark.parametrize(
    ("names", "those", "others"),
    [
        (("press-*",), ["press-", "press-7"], ["press", "xpress-7", "Press-7", ""]),
        (("*-test",), ["-test", "a-test"], ["a-testx", ""]),
        (("*",), ["a", "*"], [""]),
        (("ann", "bob"), ["ann", "bob"], ["Ann", "ann ", "an", ""]),
    ],
)
def test_names(names: tuple[str, ...], those: list[str], others: list[str]) -> None:
    named = ByName([(names, 1), (("x",), 2), (names, 3)])
    assert [each for each in (*those, *others) if named.of(each)] == those
    assert {tuple(named.of(each)) for each in those} == {(1, 3)}


def test_who_is_named_twice_is_named_once() -> None:
    assert ByName([(("a", "a*", "*a", "*"), 1)]).of("a") == [1]


def test_everything_that_an_entry_says_of_a_client_must_hold() -> None:
    held = access(
        {"users": ("ann",), "clients": ("press-*",), "identities": ("*.shop",), "publish": ("a",)},
        {"users": ("ann", "a*"), "publish": ("b",)},
        {"publish": ("c",)},
    )
    for who, topics in (
        (client(), b"abc"),
        (client(user="bob"), b"c"),
        (client(id="x"), b"bc"),
        (client(identity=""), b"bc"),
        (client("", "", ""), b"c"),
    ):
        granted = held.of(who)
        assert bytes(topic for topic in b"abcd" if granted.publish(bytes([topic]))) == topics


def test_what_no_entry_grants_is_denied() -> None:
    for held in (access(), access({"users": ("bob",), "publish": ("#",), "subscribe": ("#",)})):
        granted = held.of(client())
        assert not granted.publish(b"a")
        assert not granted.subscribe(b"a")
    only = access({"publish": ("#",)}).of(client())
    assert only.publish(b"a")
    assert not only.publish(b"$SYS/a")
    assert not only.subscribe(b"a")


@pytest.mark.parametrize(
    ("granted", "those", "others"),
    [
        (
            "plant/%u/+/state",
            [b"plant/ann/+/state", b"plant/ann/7/state", b"$share/g/plant/ann/+/state"],
            [b"plant/+/+/state", b"plant/ann/#", b"plant/bob/7/state", b"#", b"$share/g/plant/#"],
        ),
        (
            "plant/#",
            [b"plant", b"plant/#", b"plant/+", b"$share/plant/plant/#"],
            [b"#", b"+", b"+/#", b"plants", b"$share/plant/#", b"$share/plant/a"],
        ),
        (
            "$share/+/jobs/#",
            [b"$share/a/jobs/#", b"$share/b/jobs/x"],
            [b"jobs/#", b"jobs/x", b"$share/a/#", b"$share/jobs/x"],
        ),
        ("$share/g/#", [b"$share/g/a", b"$share/g/#"], [b"$share/h/a", b"$share/g/$SYS/a", b"a"]),
        ("$share/%u/+/x", [b"$share/ann/+/x"], [b"$share/bob/+/x", b"a/x", b"$share/ann/$SYS/x"]),
        ("#", [b"#", b"a/#", b"$share/g/#"], [b"$SYS/#", b"$share/g/$SYS/#"]),
    ],
)
def test_subscriptions(granted: str, those: list[bytes], others: list[bytes]) -> None:
    held = access({"subscribe": (granted,)}).of(client())
    assert [each for each in (*those, *others) if held.subscribe(each)] == those


def test_those_who_are_alike_share_what_they_are_granted() -> None:
    held = access({"publish": ("a",)}, {"users": ("ann",), "publish": ("%c/#",)})
    one, other = held.of(client(user="bob")), held.of(client("other", "carl"))
    assert one is other
    assert one.shared
    by_name = access({"users": ("a*", "b"), "publish": ("a",)}, {"users": ("a", "b*"), "publish": ("b",)})
    assert by_name.of(client(user="a")) is by_name.of(client(user="b")), "in whichever way they are named"
    own = held.of(client())
    assert not own.shared
    assert own.publish(b"press-7/x")
    assert not own.publish(b"press-8/x")
    assert held.of(client(id="+")).shared, "it has no filter of its own"
