"""Which filters match a topic and cover a filter, and that no choice of filters makes that long."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.core.mqtt import topic as module
from meshproxy.core.mqtt.topic import Filters, covers, matches, split_share
from meshproxy.model.topics import MOST_LEVELS
from tests.examples import examples


def found(filters: Iterable[bytes], topic: bytes) -> list[bytes]:
    """One way and the other."""
    filters = list(filters)
    many: Filters[bytes] = Filters()
    for each in filters:
        many.add(each, each)
    alone = [each for each in filters if matches(each, topic)]
    assert sorted(many.match(topic)) == sorted(alone)
    return alone


@pytest.mark.parametrize(
    ("filter", "those", "others"),
    [
        # 4.7.1.2 and 4.7.1.3 of both standards
        (
            b"sport/tennis/player1/#",
            [b"sport/tennis/player1", b"sport/tennis/player1/ranking", b"sport/tennis/player1/score/wimbledon"],
            [b"sport/tennis/player10", b"sport/tennis", b"Sport/tennis/player1"],
        ),
        (b"sport/#", [b"sport", b"sport/", b"sport//"], [b"sports", b"/sport"]),
        (b"#", [b"a", b"/", b"a/b/c"], [b"$SYS", b"$SYS/a", b"$"]),
        (
            b"sport/tennis/+",
            [b"sport/tennis/player1", b"sport/tennis/player2", b"sport/tennis/"],
            [b"sport/tennis/player1/ranking", b"sport/tennis"],
        ),
        (b"sport/+", [b"sport/"], [b"sport"]),
        (b"+", [b"finance", b"a b"], [b"/finance", b"$SYS", b"a/"]),
        (b"+/+", [b"/finance", b"/"], [b"finance", b"a/b/c"]),
        (b"/+", [b"/finance", b"/"], [b"/finance/"]),
        (b"+/tennis/#", [b"a/tennis", b"/tennis/x/y"], [b"$a/tennis", b"tennis", b"a/b/tennis"]),
        (b"sport/+/player1", [b"sport/x/player1", b"sport//player1", b"sport/$/player1"], [b"sport/player1"]),
        # 4.7.2
        (b"$SYS/#", [b"$SYS", b"$SYS/a", b"$SYS/$SYS"], [b"$SYSTEM", b"SYS"]),
        (b"$SYS/monitor/+", [b"$SYS/monitor/Clients"], [b"$SYS/monitor"]),
        (b"+/monitor/Clients", [b"a/monitor/Clients"], [b"$SYS/monitor/Clients"]),
        # 4.7.3
        (b"ACCOUNTS", [b"ACCOUNTS"], [b"Accounts", b"/ACCOUNTS", b"ACCOUNTS/"]),
        (b"a//b", [b"a//b"], [b"a/b"]),
        (b"/", [b"/"], [b"//"]),
        ("müll/+/🗑".encode(), ["müll/ä/🗑".encode()], [b"mull/x/y"]),
    ],
)  # fmt: skip
def test_what_a_filter_matches(filter: bytes, those: list[bytes], others: list[bytes]) -> None:
    assert [each for each in (*those, *others) if found([filter], each)] == those


NAMES = [b"a", b"b", b"", b"$x"]
LEVELS = [*NAMES, b"+"]
ALL = [
    b"/".join(levels) + end
    for depth in (1, 2, 3)
    for levels in product(LEVELS, repeat=depth)
    for end in (b"", b"/#")
    if levels != (b"",) and depth + bool(end) <= 3
] + [b"#"]  # fmt: skip
TOPICS = [
    b"/".join(levels)
    for depth in (1, 2, 3, 4)
    for levels in product([*NAMES, b"z"], repeat=depth)
    if levels != (b"",)
]  # fmt: skip


def naive(filter: list[bytes], topic: list[bytes]) -> bool:
    """As the standard says it, level by level."""
    if not filter or not topic:
        return filter in ([], [b"#"]) and not topic
    return filter[0] == b"#" or (filter[0] in (b"+", topic[0]) and naive(filter[1:], topic[1:]))


def expected(filter: bytes, topic: bytes) -> bool:
    hidden = topic.startswith(b"$") and filter[:1] in (b"+", b"#")
    return not hidden and naive(filter.split(b"/"), topic.split(b"/"))


def test_all_small_filters_and_topics() -> None:
    many: Filters[bytes] = Filters()
    for each in ALL:
        many.add(each, each)
    matched: dict[bytes, set[bytes]] = {each: set() for each in ALL}
    for topic in TOPICS:
        hits = many.match(topic)
        assert len(hits) == len(set(hits))
        for each in hits:
            matched[each].add(topic)
    assert matched == {each: {topic for topic in TOPICS if expected(each, topic)} for each in ALL}
    for narrow in ALL:
        wider = {wide for wide in ALL if matched[narrow] <= matched[wide]}
        assert {wide for wide in ALL if covers(wide, narrow)} == wider
        assert set(many.covering(narrow)) == wider
    for each in ALL:
        many.remove(each, each)
    assert not many
    assert not any(map(many.match, TOPICS))


@st.composite
def filters(draw: st.DrawFn) -> bytes:
    levels = draw(st.lists(st.sampled_from([b"a", b"b", b"+"]), min_size=1, max_size=6))
    return b"/".join([*levels, b"#"] if draw(st.booleans()) else levels)


@examples(150)
@given(
    st.lists(st.tuples(filters(), st.integers(0, 2), st.booleans()), max_size=60),
    st.lists(st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=7).map(b"/".join), max_size=5),
)
def test_what_comes_and_goes(changes: list[tuple[bytes, int, bool]], topics: list[bytes]) -> None:
    before, module.BLOCK = module.BLOCK, 4
    try:
        many: Filters[tuple[bytes, int]] = Filters()
        there: set[tuple[bytes, int]] = set()
        for each, value, stays in changes:
            if stays:
                many.add(each, (each, value))
                there.add((each, value))
            elif (each, value) in there:
                many.remove(each, (each, value))
                there.discard((each, value))
            else:
                with pytest.raises(KeyError):
                    many.remove(each, (each, value))
        for topic in topics:
            assert sorted(many.match(topic)) == sorted(each for each in there if expected(each[0], topic))
        for narrow, _, _ in changes[:5]:
            assert sorted(many.covering(narrow)) == sorted(each for each in there if covers(each[0], narrow))
        assert bool(many) == bool(there)
    finally:
        module.BLOCK = before


@pytest.mark.parametrize(
    ("wide", "narrow", "whether"),
    [
        (b"#", b"a/+/#", True), (b"#", b"$SYS/#", False), (b"+/#", b"#", True), (b"#", b"+/#", True),
        (b"a/#", b"a", True), (b"a/+", b"a/#", False), (b"a/+/#", b"a/#", False), (b"a/#", b"a/+/#", True),
        (b"+/x", b"$a/x", False), (b"$a/+", b"$a/x", True), (b"a/+", b"a/+", True), (b"a/b", b"a/+", False),
        (b"a/#", b"+/b", False), (b"+/+", b"a/+", True), (b"+", b"#", False), (b"a", b"a/#", False),
    ],
)  # fmt: skip
def test_what_covers(wide: bytes, narrow: bytes, whether: bool) -> None:
    many: Filters[None] = Filters()
    many.add(wide, None)
    assert covers(wide, narrow) is whether
    assert bool(many.covering(narrow)) is whether


def test_one_filter_has_many_values_and_each_once() -> None:
    many: Filters[int] = Filters()
    for value in (1, 2, 1):
        many.add(b"a/+", value)
        many.add(b"a/b", value)
    assert many.match(b"a/b") == [1, 2, 1, 2]
    many.remove(b"a/+", 1)
    assert many.match(b"a/b") == [1, 2, 2]


def test_a_filter_has_at_most_so_many_levels_and_a_topic_any_number() -> None:
    many: Filters[int] = Filters()
    longest = b"/".join([b"+"] * (MOST_LEVELS - 1) + [b"#"])
    many.add(longest, 1)
    with pytest.raises(ValueError, match="at most 128 levels"):
        many.add(longest[:-1] + b"+/#", 2)
    assert many.match(b"/" * 65534) == [1]
    assert many.match(b"/" * (MOST_LEVELS - 3)) == []
    assert many.match(b"/" * (MOST_LEVELS - 2)) == [1]


class Counted(dict[int, int]):
    """Numbers of which each look-up is a step."""

    steps = 0

    def get(self, block: int, otherwise: int = 0) -> int:  # type: ignore[override]
        Counted.steps += 1
        return super().get(block, otherwise)


def test_filters_made_to_multiply_cost_two_look_ups_for_each_level_and_block() -> None:
    depth, number = 16, 2**15
    many: Filters[int] = Filters()
    # The level that none takes is another one in each, so that no level by itself tells that nothing matches.
    for place, levels in enumerate(islice(product((b"a", b"+"), repeat=depth), number)):
        many.add(b"/".join([*levels[: place % depth], b"b", *levels[place % depth :]]), place)
    held = len(many._values)
    for each in many._depths:
        each.names = {name: Counted(bits) for name, bits in each.names.items()}
        each.any, each.ends = Counted(each.any), Counted(each.ends)
    Counted.steps = 0
    assert many.match(b"/".join([b"a"] * (depth + 1))) == []
    assert 0 < Counted.steps <= 2 * (depth + 2) * (held // module.BLOCK + 1)


@pytest.mark.parametrize(
    ("filter", "parts"),
    [
        (b"a/b", (b"", b"a/b")),
        (b"$share/g/a/+", (b"$share/g/", b"a/+")),
        (b"$share/g//a", (b"$share/g/", b"/a")),
        (b"$shared/g/a", (b"", b"$shared/g/a")),
    ],
)
def test_what_is_shared(filter: bytes, parts: tuple[bytes, bytes]) -> None:
    assert split_share(filter) == parts
