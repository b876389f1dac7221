"""Topics by another name, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.core.mqtt.rewrite import Naming, Rewriting
from meshproxy.core.mqtt.topic import covers, matches, split_share
from meshproxy.model.topics import TopicRewrite, rewrite_problems
from tests.examples import examples


def naming(*rules: tuple[str, str], prefix: bytes = b"") -> Naming:
    rewrites = [TopicRewrite(*rule) for rule in rules]
    assert not list(rewrite_problems(rewrites))
    return Naming(Rewriting(rewrites), prefix)


OLD = ("old/+/temp/#", "new/%1/temp/%2")


@pytest.mark.parametrize(
    ("rule", "pairs"),
    [
        (
            OLD,
            [
                (b"old/7/temp/in", b"new/7/temp/in"), (b"old/7/temp", b"new/7/temp"), (b"old/7/temp/", b"new/7/temp/"),
                (b"old//temp//x", b"new//temp//x"), (b"old/7/tempo", b"old/7/tempo"),
                (b"old/7/8/temp", b"old/7/8/temp"),
                (b"old/$SYS/temp/$SYS", b"new/$SYS/temp/$SYS"), (b"$old/7/temp", b"$old/7/temp"),
            ],
        ),
        (("+/+/x", "x/%2/%1"), [(b"a/b/x", b"x/b/a"), (b"//x", b"x//"), (b"$a/b/x", b"$a/b/x")]),
        (("#", "all/%1"), [(b"a", b"all/a"), (b"/", b"all//"), (b"$SYS/a", b"$SYS/a"), (b"a\n/b", b"all/a\n/b")]),
        (("%1/+", "100%%/%1"), [(b"%1/a", b"100%/a")]),
        (("$SYS/#", "broker/%1"), [(b"$SYS", b"broker"), (b"$SYS/a", b"broker/a")]),
        (("a.b/+", "x/%1"), [(b"a.b/c", b"x/c"), (b"acb/c", b"acb/c")]),
        (("a", "b"), [(b"a", b"b"), (b"a/b", b"a/b")]),
    ],
)  # fmt: skip
def test_topics_by_another_name_and_back(rule: tuple[str, str], pairs: list[tuple[bytes, bytes]]) -> None:
    both = naming(rule)
    tenant = naming(rule, prefix=b"t/ann/")
    for ours, theirs in pairs:
        assert both.up(ours) == theirs
        assert both.down(theirs) == ours
        assert tenant.up(ours) == b"t/ann/" + theirs
        assert tenant.down(b"t/ann/" + theirs) == ours


@pytest.mark.parametrize(
    ("filter", "becomes"),
    [
        (b"old/+/temp/#", b"new/+/temp/#"),
        (b"old/7/temp/+/x", b"new/7/temp/+/x"),
        (b"old/+/temp", b"new/+/temp"),
        (b"$share/g/old/+/temp/#", b"$share/g/new/+/temp/#"),
        # Only partly, or not at all
        (b"old/#", b"old/#"),
        (b"old/+/+/a", b"old/+/+/a"),
        (b"#", b"#"),
        (b"old/7/x", b"old/7/x"),
        (b"$share/g/#", b"$share/g/#"),
    ],
)
def test_filters(filter: bytes, becomes: bytes) -> None:
    assert naming(OLD).up_filter(filter) == becomes
    share, inner = split_share(becomes)
    assert naming(OLD, prefix=b"t/ann/").up_filter(filter) == share + b"t/ann/" + inner


def test_a_rest_is_not_taken_for_a_level() -> None:
    assert naming(("a/+", "b/%1")).up_filter(b"a/#") == b"a/#"
    assert naming(("a/+", "b/%1")).up_filter(b"a/+") == b"b/+"
    assert naming(("+", "b/%1")).up_filter(b"#") == b"#"


def test_what_has_no_name_on_the_other_side() -> None:
    assert naming(("a/#", "%1")).up(b"a") is None
    assert naming(("a/+", "%1")).up(b"a/") is None
    assert naming(("a/+", "%1")).down(b"") is None
    assert naming(("#", "x/%1")).down(b"x") is None
    long = naming(("a/#", "a-long-name/%1"))
    assert long.up(b"a/" + b"x" * 65530) is None
    assert long.up(b"a/" + b"x" * 65523) is not None
    assert naming(("a-long-name/#", "a/%1")).down(b"a/" + b"x" * 65530) is None
    assert Naming(None, b"t/").up(b"x" * 65534) is None
    assert Naming(None, b"t/").up_filter(b"$share/g/" + b"x" * 65525) is None


def test_nobody_gets_at_what_is_the_brokers_own_by_having_it_captured() -> None:
    out = naming(("out/#", "%1"))
    assert out.up(b"out/$SYS/x") is None
    assert out.up_filter(b"out/$SYS/#") is None
    assert out.up_filter(b"out/$share/g/x") is None
    assert naming(("#", "x/%1")).down(b"x/$SYS/a") is None


def test_a_prefix_keeps_tenants_apart() -> None:
    ann = Naming(None, b"t/ann/")
    assert ann.up(b"$SYS/a") == b"t/ann/$SYS/a"
    assert ann.up_filter(b"#") == b"t/ann/#"
    for foreign in (b"t/anna/x", b"t/bob/x", b"t/ann", b"t/ann/", b"x", b"$SYS/a"):
        assert ann.down(foreign) is None
    assert ann.changes
    assert not Naming(None, b"").changes


@st.composite
def rules(draw: st.DrawFn) -> TopicRewrite:
    levels = draw(st.lists(st.sampled_from(["a", "b", "+"]), min_size=1, max_size=4))
    wild = [f"%{place + 1}" for place in range(levels.count("+"))]
    to = draw(st.permutations([*wild, *draw(st.lists(st.sampled_from(["a", "c"]), max_size=2)), "d"]))
    if draw(st.booleans()):
        levels.append("#")
        to = [*to, f"%{len(wild) + 1}"]
    return TopicRewrite("/".join(levels), "/".join(to))


LEVELS = st.sampled_from([b"a", b"b", b"c", b"d", b"", b"$"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=6).map(b"/".join).filter(len)
FILTERS = st.lists(st.sampled_from([b"a", b"b", b"+"]), min_size=1, max_size=5).flatmap(
    lambda levels: st.sampled_from([b"/".join(levels), b"/".join([*levels, b"#"])])
)


@examples(100)
@given(st.lists(rules(), min_size=1, max_size=3), st.lists(TOPICS, max_size=8), FILTERS)
def test_there_is_a_way_back(said: list[TopicRewrite], topics: list[bytes], filter: bytes) -> None:
    said = [rule for place, rule in enumerate(said) if not dict(rewrite_problems(said[: place + 1]))]
    both = Naming(Rewriting(said), b"t/")
    turned = both.up_filter(filter)
    assert turned is not None
    for topic in topics:
        mine = [rule for rule in said if matches(rule.match.encode(), topic)]
        up = both.up(topic)
        if up is None:
            assert mine
            continue
        if mine:
            assert both.down(up) == topic
            if covers(mine[0].match.encode(), filter) and filter != b"#":
                assert matches(turned, up) == matches(filter, topic)
        else:
            assert up == b"t/" + topic
