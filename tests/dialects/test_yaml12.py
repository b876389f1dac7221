"""YAML by the core rules of 1.2, with both of PyYAML's parsers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.dialects import yaml12
from meshproxy.dialects.trail import Mark
from meshproxy.errors import Invalid
from tests.examples import examples

DEFAULT = yaml12.Parser


@pytest.fixture(params=[yaml12.Parser, yaml12.PurePythonParser], ids=["default", "pure"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml12, "Parser", request.param)


def refused(text: str, expand: Callable[[str], str] | None = None) -> list[str]:
    with pytest.raises(Invalid) as caught:
        yaml12.parse(text, "f", expand)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("012", 12),
        ("-7", -7),
        ("+7", 7),
        ("0o14", 12),
        ("0x1F", 31),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        (".INF", math.inf),
        ("1.5.2", "1.5.2"),
        ("12:30:45", "12:30:45"),
        ("2001-01-01", "2001-01-01"),
        ("~", None),
        ("null", None),
        ("", None),
        ("nil", "nil"),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("|-\n  12", "12"),
        ("! 12", "12"),
        ("!!str 12", "12"),
        ("!!int '12'", 12),
        ("!!float 12", 12.0),
        ("=", "="),
        ("9" * 1001, "9" * 1001),
    ],
)
def test_scalars(text: str, value: object) -> None:
    (found,) = yaml12.parse(f"- {text}\n", "f")
    assert found == value
    assert type(found) is type(value)


def test_nan() -> None:
    assert math.isnan(yaml12.parse(".nan", "f"))


def test_collections_and_anchors() -> None:
    text = "a: &x [1, {b: 2}]\nc: *x\nno: {on: *x}\n"
    assert yaml12.parse(text, "f") == {"a": [1, {"b": 2}], "c": [1, {"b": 2}], "no": {"on": [1, {"b": 2}]}}


def test_the_merge_key_is_an_ordinary_key() -> None:
    assert yaml12.parse("a: &x {b: 1}\nc: {<<: *x}\n", "f")["c"] == {"<<": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 1,\n c: 2}\na: 3", "f:3: b.c: duplicate key `c`: lines 2 and 3"),
        ("a: 1\n---\nb: 1\n", "f:2: a second document begins; one is expected"),
        ("# nothing\n", "f: the document is empty"),
        ("a:\n  80: 1", "f:2: a: a key must be a string, not 80 (quote it)"),
        ("[1]: 2", "f:1: a key must be a string, not a list"),
        ("a: !!binary aGk=", 'f:1: a: tag tag:yaml.org,2002:binary does not fit "aGk="'),
        ("a: !!int x", 'f:1: a: tag tag:yaml.org,2002:int does not fit "x"'),
        ("a: !!set {b}", "f:1: a: tag tag:yaml.org,2002:set is not supported"),
        ("a: !mine [b]", "f:1: a: tag !mine is not supported"),
        ("a: *x", "f:1: alias *x has no anchor"),
        ("a:\n  &x [*x]", "f:2: alias *x stands inside what it names"),
        ("[" * 65, "f:1: nested more than 64 levels deep"),
        ("a: [1", "f:"),
        ("a: b: c", "f:1: not YAML: mapping values are not allowed"),
        ("\ta: 1", "f:1: not YAML: "),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    assert refused(text)[0].startswith(message)


def test_every_duplicate_key_is_reported() -> None:
    assert len(refused("a: 1\na: 2\na: 3\n")) == 2


def test_an_alias_bomb_is_refused_before_it_is_large() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
    assert refused("l0: &l0 [x]\n" + levels)[0].endswith("more than 200000 values, aliases expanded")


def test_aliases_count_in_depth() -> None:
    levels = "".join(f"l{n}: &l{n} [[[[[[[[*l{n - 1}]]]]]]]]\n" for n in range(1, 9))
    assert refused("l0: &l0 x\n" + levels)[0].endswith("nested more than 64 levels deep")
    assert yaml12.parse("l0: &l0 [[x]]\n" + "".join(f"m{n}: [*l0]\n" for n in range(200)), "f")


def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml12, "LARGEST_NODES", 100)
    assert refused("[" + "x," * 100 + "]") == ["f:1: more than 100 values, aliases expanded"]
    assert yaml12.parse("[" + "x," * 99 + "]", "f")


def test_the_fast_parser_is_taken_where_it_is_built() -> None:
    assert (DEFAULT is yaml12.PurePythonParser) != yaml.__with_libyaml__


def test_variables_are_replaced_in_values_and_plain_ones_are_read_again() -> None:
    def expand(text: str) -> str:
        return text.replace("${N}", "12")

    text = "${N}: ${N}\nb: '${N}'\nc: ${N}${N}\nd: !!str ${N}\n"
    assert yaml12.parse(text, "f", expand) == {"${N}": 12, "b": "12", "c": 1212, "d": "12"}


def test_what_a_variable_holds_cannot_become_structure() -> None:
    assert yaml12.parse("a: ${N}", "f", lambda _: "{b: [1]}\nc: 2") == {"a": "{b: [1]}\nc: 2"}


def test_every_missing_variable_is_reported_with_its_line() -> None:
    def missing(text: str) -> str:
        raise ValueError(f"{text} is missing")

    assert refused("a: ${X}\nb:\n- ${Y}\n", missing) == ["f:1: a: ${X} is missing", "f:3: b[0]: ${Y} is missing"]


def test_a_comment_has_a_longest() -> None:
    assert yaml12.parse("a: 1 #" + "x" * 100_000, "f") == {"a": 1}
    assert refused("a:\n- #" + "x" * 200_000)[0].endswith("more than 131072 characters without a value")


def test_the_text_is_handed_over_by_pieces() -> None:
    feed = yaml12.Feed("- é中😀\n" * 50_000, "f")
    parser = yaml12.Parser(feed)
    for _ in range(10):
        parser.get_event()
    assert feed.position <= 50_000


def test_a_tag_that_does_not_fit_is_refused_at_once() -> None:
    assert len(refused("%TAG ! tag:" + "x" * 1000 + "\n---\n" + "- !a b\n" * 1000)) == 1


def test_lines_of_paths() -> None:
    text = "a:\n  b:\n  - 1\n  - c: &x\n      d: 2\n'e.f': *x\n"
    inner = Mark(2, {0: Mark(3), 1: Mark(4, {"c": Mark(4, {"d": Mark(5)})})})
    assert yaml12.lines(text).top == Mark(1, {"a": Mark(1, {"b": inner}), "e.f": Mark(6)})


pieces = st.sampled_from(
    [
        *"&*!|>'\"%@`{}[],:?-#\n ~<",
        "a",
        "b: ",
        "- ",
        "\n  ",
        "&a ",
        "*a",
        "!!str ",
        "---\n",
        "...\n",
        "0x",
        "1",
        "${X}",
        "<<: ",
    ]
)


@examples(60)
@given(st.lists(pieces, max_size=25).map("".join))
def test_whatever_is_written_raises_nothing_but_invalid(text: str) -> None:
    try:
        yaml12.parse(text, "f", str.upper)
    except Invalid:
        return
    assert yaml12.lines(text).of(()) == 1
