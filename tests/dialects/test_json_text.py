"""Strict JSON: what `json` reads is read alike, and what it lets pass is refused."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.dialects import json_text
from meshproxy.dialects.text import LONGEST_TEXT, PIECE
from meshproxy.dialects.trail import Mark, Trail
from meshproxy.errors import Invalid
from tests.examples import examples


def refused(text: str, expand: Callable[[str], str] | None = None) -> list[str]:
    with pytest.raises(Invalid) as caught:
        json_text.parse(text, "f", expand)
    return [str(problem) for problem in caught.value.problems]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=15,
)


@examples(60)
@given(values, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_it_reads_what_json_writes(value: object, indent: int | str | None, ascii_only: bool) -> None:
    assert json_text.parse(json.dumps(value, indent=indent, ensure_ascii=ascii_only), "f") == value


@examples(100)
@given(
    st.lists(st.sampled_from([*'{}[],:"\\ 01-.eE', "true", "null", '"a"', "\n", "\\u00e9"]), max_size=12).map("".join)
)
def test_it_refuses_what_json_refuses(text: str) -> None:
    def duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        expected = json.loads(text, object_pairs_hook=duplicates)
    except ValueError:
        refused(text)
    else:
        assert json_text.parse(text, "f") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n"b": 2,\n"a": 3}', "f:3: a: duplicate key `a`: lines 1 and 3"),
        ('{"a": NaN}', 'f:1: not JSON: a value is expected, not "NaN"'),
        ('{"a": -Infinity}', 'f:1: not JSON: "-Infinity}"'),
        ('{"a": 1e999}', 'f:1: not JSON: a finite number is expected, not "1e999"'),
        ('{"a": 1,\n}', 'f:2: not JSON: another item after the comma is expected, not "}"'),
        ('{"a": 1}\n\n{}', 'f:3: not JSON: the end is expected, not "{"'),
        ('{"a"\n', "f:2: not JSON: `:` is expected, not the end"),
        ("{a: 1}", 'f:1: not JSON: a key in quotes is expected, not "a"'),
        ('["\\x"]', "f:1: not JSON: a string with valid escapes is expected, not a string"),
        ('{"token" "s3cret"}', "f:1: not JSON: `:` is expected, not a string"),
        ('{"token": "s3cret}', "f:1: not JSON: a string does not end, or has a control character"),
        ('{"a" 1}', "f:1: not JSON: `:` is expected"),
        ("[1 2]", "f:1: not JSON: `,` or `]` is expected"),
        ("[01]", "f:1: not JSON: `,` or `]` is expected"),
        ("[" * 65, "f:1: nested more than 64 levels deep"),
        ("[" * 100_000, "f:1: nested more than 64 levels deep"),
        ("9" * 5000, "f:1: not JSON: a shorter number is expected"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    assert refused(text)[0].startswith(message)


def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "LARGEST_NODES", 100)
    assert refused(str([1] * 100)) == ["f:1: more than 100 values"]
    assert json_text.parse(str([1] * 99), "f")


# What is small is read at once, and must be what the steps read -----------------------------------


def by_steps(text: str) -> object:
    return json_text._Scanner(text, "f", None, Trail()).document()


def outcome(read: Callable[[str], object], text: str) -> object:
    """With its types: 1 is neither True nor 1.0."""
    try:
        return repr(read(text))
    except Invalid as invalid:
        return [str(problem) for problem in invalid.problems]


def agree(text: str) -> None:
    assert outcome(lambda text: json_text.parse(text, "f"), text) == outcome(by_steps, text)


pieces = st.sampled_from(
    [
        *'{}[],:"\\ 01-.eE\n', "true", "null", '"a"', '"a":', "\\u00e9", "\\ud800", "NaN", "-Infinity",
        "1e999", "1e-999", '{"a": 1, "a": 2}', '"\x7f"', '",,,[[{{"', "9" * 999, "9" * 1001, " " * 990,
        f'"{"k" * 1024}"', f'"{"k" * 1025}": 1', "[" * 30, "]" * 30, '{"a":' * 33, "}" * 33, "[[1, 2], [3]]",
        '{"a": [true, {"b": null}]}',
    ]
)  # fmt: skip
texts = st.lists(pieces, max_size=12).map("".join)


@examples(400)
@given(st.one_of(texts, texts.map("[1, {}]".format), texts.map('{{"a": [{}], "b": 1}}'.format)))
def test_quick_and_careful_agree(text: str) -> None:
    agree(text)


@examples(100)
@given(values, st.integers(0, 40), st.text(alphabet='{}[],:"\\0e-N ', max_size=3))
def test_they_agree_on_what_is_almost_right(value: object, place: int, more: str) -> None:
    text = json.dumps([value, {"a": value}])
    agree(text[:place] + more + text[place:])


def test_nobody_waits_for_json(monkeypatch: pytest.MonkeyPatch) -> None:
    read, windows = json_text._read_small, []

    def watched(window: str) -> tuple[object, int]:
        windows.append(len(window))
        return read(window)

    monkeypatch.setattr(json_text, "_read_small", watched)
    value = {"long": ["x" * 5000], "many": [{"n": [1, "two"]}] * 2000, "blank": []}
    assert json_text.parse(json.dumps(value), "f") == value
    assert max(windows) <= 4096
    assert len(windows) == 2000 + 4, "one for each thing that is small, and for each that is not"


def test_commas_in_strings_are_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "LARGEST_NODES", 100)
    assert json_text.parse(json.dumps([[","] * 40] * 2), "f")
    assert refused(json.dumps([[","] * 40] * 3)) == ["f:1: more than 100 values"]


def test_many_side_by_side_are_not_deep() -> None:
    text = json.dumps([{"a": [number]} for number in range(200)])
    agree(text)
    for above in range(58, 65):
        agree("[" * above + text + "]" * above)


def test_the_deepest_of_what_is_small() -> None:
    assert json_text.parse("[" * 64 + "]" * 64, "f")
    assert refused('{"a":' * 30 + "[" * 35 + "]" * 35 + "}" * 30) == ["f:1: nested more than 64 levels deep"]


def test_large_integers_are_exact() -> None:
    assert json_text.parse(str(2**200), "f") == 2**200


def test_variables_are_replaced_in_strings_but_not_in_keys() -> None:
    assert json_text.parse('{"${N}": ["${N}"]}', "f", lambda _: "12") == {"${N}": ["12"]}


def test_every_missing_variable_is_reported_with_its_line() -> None:
    def missing(text: str) -> str:
        raise ValueError(f"{text} is missing")

    assert refused('{"a": "${X}",\n"b": ["${Y}"]}', missing) == [
        "f:1: a: ${X} is missing",
        "f:2: b[0]: ${Y} is missing",
    ]


def test_the_longest_string_may_be_written_in_escapes() -> None:
    longest = "\\u00e9\\n" * (LONGEST_TEXT // 2)
    assert len(json_text.parse(f'["{longest}"]', "f")[0]) == LONGEST_TEXT
    assert refused(f'["{longest}\\n"]') == ["f:1: a string is longer than 65536 characters"]


def test_a_broken_string_of_escapes_is_read_in_one_way_only() -> None:
    assert refused('["' + "\\u00e9" * 10_000 + '\n"]')[0].startswith("f:1: not JSON: a string does not end")


def test_blanks_may_be_as_many_as_one_likes() -> None:
    blanks = "\n" * (3 * PIECE + 1)
    assert json_text.parse(f"{blanks}[{blanks}1{blanks}]{blanks}", "f") == [1]
    assert refused(f"[{blanks}?]") == [f'f:{len(blanks) + 1}: not JSON: "?]"']


def test_lines_of_paths() -> None:
    text = '{\n"a": {"b":\n[1,\n{"c.d": "x\\ny"}]}}'
    inner = Mark(2, {0: Mark(3), 1: Mark(4, {"c.d": Mark(4)})})
    assert json_text.lines(text).top == Mark(1, {"a": Mark(2, {"b": inner})})
