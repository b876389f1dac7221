"""The walker on a small format of its own: every problem at once, and `decode(encode(x)) == x`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated, Any, ClassVar

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.errors import Invalid
from meshproxy.schema import decode, encode, json_schema, reference
from meshproxy.schema import spelled as spelled_module
from meshproxy.schema.kinds import (
    Bool,
    Duration,
    Name,
    Network,
    Port,
    PositiveDuration,
    Scalar,
    Secret,
    SecretText,
    Size,
    Text,
    choice,
    read_duration,
    read_size,
    same,
    show_duration,
    show_size,
    shown,
    whole,
)
from meshproxy.schema.shapes import AT_LEAST_ONE, MOST_PROBLEMS, ONE_OR_MANY, Key, Keyed, path_text
from meshproxy.schema.spelled import spelled

Mood = Annotated[str, choice("calm", "wild", reserved={"cross": "bad temper"})]


@dataclass(frozen=True, slots=True)
class Bird:
    RESERVED: ClassVar[Mapping[str, str]] = {"song": "singing"}
    SHORTHAND: ClassVar[str] = "kind"

    kind: Annotated[Name, "which kind"]
    mood: Annotated[Mood, "how it is"] = "calm"


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree. It stands."""

    name: Annotated[Name, "its name"]
    birds: Annotated[tuple[Bird, ...], "who sits in it"] = ()
    ports: Annotated[tuple[Port, ...], ONE_OR_MANY, "its ports"] = (1,)


def _read_number(value: object) -> int:
    if not isinstance(value, str) or not value.isdigit():
        raise ValueError("must be a number")
    return int(value)


_NUMBER = Scalar("number", _read_number, str, {})


@dataclass(frozen=True, slots=True)
class Wood:
    age: Annotated[Duration, "how old"] = 5.0
    rest: Annotated[PositiveDuration | None, "its rest"] = None
    area: Annotated[Size, "how large"] = 65536
    open: Annotated[Bool, "whether one may enter"] = True
    key: Annotated[SecretText | None, "what opens it"] = None
    nets: Annotated[tuple[Network, ...], AT_LEAST_ONE, "its networks"] = (ip_network("10.0.0.0/8"),)
    signs: Annotated[tuple[tuple[str, Text], ...], "what is written"] = ()
    trees: Annotated[tuple[Tree, ...], Keyed("name"), "its trees"] = ()


SCHEMA = jsonschema.Draft202012Validator(json_schema(Wood))


def problems(value: object) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        decode(Wood, value)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_nothing_said_is_every_default() -> None:
    assert decode(Wood, {}) == Wood()


def test_everything_said() -> None:
    wood = decode(
        Wood,
        {
            "age": "1m",
            "rest": "250ms",
            "area": "10MiB",
            "open": False,
            "key": "sesame",
            "nets": ["::1", "192.168.0.0/16"],
            "signs": {"b": "2", "a": "1"},
            "trees": {"oak": {"birds": ["owl", {"kind": "jay", "mood": "wild"}], "ports": 7}, "ash": {}},
        },
    )
    assert wood == Wood(
        age=60.0,
        rest=0.25,
        area=10 << 20,
        open=False,
        key=Secret.of("sesame"),
        nets=(ip_network("::1/128"), ip_network("192.168.0.0/16")),
        signs=(("a", "1"), ("b", "2")),
        trees=(Tree("ash"), Tree("oak", (Bird("owl"), Bird("jay", "wild")), (7,))),
    )
    assert hash(wood) == hash(decode(Wood, encode(wood)))


def test_every_problem_is_reported_at_once_with_path_key_and_value() -> None:
    assert problems(
        {
            "age": 5,
            "rest": 0,
            "opne": True,
            "open": "yes",
            "nets": [],
            "signs": [],
            "trees": {"oak": {"birds": [{"kind": 3, "mood": "glad", "song": 1}], "ports": [0, True]}, "a b": 7},
        }
    ) == {
        "age": "`age` must be a duration such as 5s (units ms, s, m, h, d), not 5",
        "rest": "`rest` must be a duration longer than 0, such as 5s, not 0",
        "opne": "unknown key `opne`; did you mean `open`?",
        "open": '`open` must be true or false, not "yes"',
        "nets": "`nets` must not be an empty list",
        "signs": "`signs` must be a mapping, not a list",
        "trees.oak.birds[0].kind": "`kind` must be a name (letters, digits, and _ . : / | @ - after the first), not 3",
        "trees.oak.birds[0].mood": '`mood` must be calm or wild, not "glad"',
        "trees.oak.birds[0].song": "`song` is reserved: singing is not in this version",
        "trees.oak.ports[0]": "`ports[0]` must be a whole number from 1 to 65535, not 0",
        "trees.oak.ports[1]": "`ports[1]` must be a whole number from 1 to 65535, not true",
        'trees["a b"]': '`["a b"]` must be a mapping, not a number',
    }


def test_a_missing_key_and_a_null() -> None:
    assert problems({"trees": {"oak": {"birds": [{}]}}}) == {"trees.oak.birds[0].kind": "`kind` is missing"}
    assert problems({"age": None}) == {"age": "`age` must be a duration such as 5s (units ms, s, m, h, d), not nothing"}
    assert decode(Wood, {"rest": None}).rest is None


def test_the_key_of_a_named_mapping_cannot_be_said_twice() -> None:
    assert problems({"trees": {"oak": {"name": "elm"}}}) == {"trees.oak.name": "unknown key `name`"}


def test_a_reserved_value_is_called_by_its_name() -> None:
    (message,) = problems({"trees": {"oak": {"birds": [{"kind": "owl", "mood": "cross"}]}}}).values()
    assert message == "`mood` must be calm or wild: cross is reserved, bad temper is not in this version"


def test_the_document_itself_must_be_a_mapping() -> None:
    assert problems([]) == {"": "the document must be a mapping, not a list"}


def test_problems_are_bounded_in_number_and_length() -> None:
    with pytest.raises(Invalid) as caught:
        decode(Wood, {f"key-{number}": 1 for number in range(1000)})
    assert len(caught.value.problems) == MOST_PROBLEMS + 1
    assert str(caught.value.problems[-1]) == "and 900 more problems"
    (message,) = problems({"age": "9" * 10_000}).values()
    assert len(message) < 200
    ((path, message),) = problems({"k" * 10_000: 1}).items()
    assert len(path) < 100
    assert len(message) < 200


def test_only_problems_that_are_kept_are_put_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[object] = []

    def counted(path: Any) -> str:
        rendered.append(path)
        return path_text(path)

    monkeypatch.setattr("meshproxy.schema.shapes.path_text", counted)
    for wrong in (
        {"trees": {f"t{n}": 7 for n in range(1000)}},
        {"nets": ["x"] * 1000},
        {f"k{n}": 1 for n in range(1000)},
    ):
        rendered.clear()
        with pytest.raises(Invalid, match="and 900 more problems"):
            decode(Wood, wrong)
        assert len(rendered) <= 2 * MOST_PROBLEMS


def test_a_value_is_made_short_before_it_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    quoted: list[int] = []

    def dumps(value: str) -> str:
        quoted.append(len(value))
        return f'"{value}"'

    monkeypatch.setattr("json.dumps", dumps)
    assert shown("k" * 5_000_000) == '"' + "k" * 58 + "…"
    assert quoted == [60]


def test_a_secret_is_never_in_a_message_nor_in_a_repr() -> None:
    for wrong in ("has a space", {"redacted": "s3cret"}, ["s3cret"], {"s3cret": "s3cret"}):
        (message,) = problems({"key": wrong}).values()
        assert "s3cret" not in message
        assert "space" not in message.replace("without spaces", "")
    assert "sesame" not in repr(decode(Wood, {"key": "sesame"}))
    assert "s3cret" not in "".join(problems({"trees": "s3cret"}).values())


def test_a_redacted_secret_comes_back_as_equal() -> None:
    wood = decode(Wood, {"key": "sesame"})
    redacted = encode(wood, redact=True)
    assert redacted == {"key": {"redacted": Secret.of("sesame").digest}}
    assert decode(Wood, redacted) == wood
    assert encode(decode(Wood, redacted)) == redacted
    assert encode(wood) == {"key": "sesame"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("5s", 5.0), ("1.5s", 1.5), ("1m", 60.0), ("1h", 3600.0), ("1d", 86400.0), (0, 0.0), ("0s", 0.0)],
)
def test_durations(text: object, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["-1s", "5", "", "s", "1 s", "1S", "nan", "infs", "1e3s", "٣s", "5s\n", "0.0001ms", "40000d", 1, 0.0, False, []],
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        read_duration(text)


@pytest.mark.parametrize(("text", "size"), [("64KiB", 65536), ("10MiB", 10 << 20), ("1GiB", 1 << 30), (7, 7), (0, 0)])
def test_sizes(text: object, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["64", "64kb", "64 KiB", "-1KiB", "1.5MiB", -1, True, 1.0, 2**70, None])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        read_size(text)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "x", "", "fe80::1%eth0", 7, "1" * 100])
def test_what_is_no_network(text: object) -> None:
    (message,) = problems({"nets": [text]}).values()
    assert message.startswith("`nets[0]` must be a network")


def test_host_bits_come_with_the_network_that_was_meant() -> None:
    assert "did you mean 10.0.0.0/8?" in problems({"nets": ["10.0.0.1/8"]})["nets[0]"]


@given(st.integers(0, 36500 * 86400 * 10**6))
def test_a_duration_survives_its_text(microseconds: int) -> None:
    seconds = round(microseconds / 10**6, 6)
    assert read_duration(show_duration(seconds)) == seconds


@given(st.integers(0, 2**63 - 1) | st.integers(0, 2**30).map(lambda n: n << 30))
def test_a_size_survives_its_text(size: int) -> None:
    assert read_size(show_size(size)) == size


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["5s", "owl", "1KiB", "::1/128"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=6) | st.sampled_from([*Wood.__slots__, *Tree.__slots__, *Bird.__slots__]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


def decoded(value: object) -> Wood | None:
    try:
        return decode(Wood, value)
    except Invalid:
        return None


@given(junk)
def test_junk_raises_nothing_but_invalid(value: object) -> None:
    decoded(value)


@given(st.dictionaries(st.sampled_from(Wood.__slots__), junk, max_size=3))
def test_what_is_decoded_survives_encoding(value: dict[str, Any]) -> None:
    wood = decoded(value)
    if wood:
        assert decode(Wood, encode(wood)) == wood
        SCHEMA.validate(encode(wood))


def test_paths_of_odd_keys_are_quoted() -> None:
    assert path_text(("a", 0, "b-c", "d.e", "")) == 'a[0].b-c["d.e"][""]'


def test_json_schema_describes_and_closes_every_mapping() -> None:
    schema: Any = json_schema(Wood)
    jsonschema.Draft202012Validator.check_schema(schema)
    wood = schema["$defs"]["Wood"]
    assert wood["additionalProperties"] is False
    assert wood["properties"]["age"]["description"] == "how old"
    assert wood["properties"]["age"]["default"] == "5s"
    assert schema["$defs"]["Tree"]["description"] == "A tree. It stands."
    assert "name" not in schema["$defs"]["Tree"]["properties"]
    wrongs: tuple[object, ...] = (
        {"aeg": "5s"},
        {"age": 5},
        {"nets": []},
        {"trees": {"oak": {"birds": [{}]}}},
        {"trees": {"a b": {}}},
    )
    for wrong in wrongs:
        assert not SCHEMA.is_valid(wrong)


def test_the_reference_names_every_key_once() -> None:
    rows = reference(Wood).splitlines()
    assert "| `age` | duration | `5s` | how old |" in rows
    assert "| `trees.NAME.birds[].mood` | `calm` \\| `wild` | `calm` | how it is |" in rows
    assert "| `trees.NAME.ports` | port, or a list | `1` | its ports |" in rows
    assert "| `trees.NAME.birds[].song` | singing |" in rows
    assert len(rows) == len(set(rows))


def test_a_type_that_is_no_part_of_a_format_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Odd:
        what: complex = 1j

    Odd.__annotations__["what"] = complex
    with pytest.raises(TypeError, match="cannot hold"):
        decode(Odd, {})


@dataclass(frozen=True, slots=True)
class Nest:
    """As others write it."""

    FOREIGN: ClassVar[bool] = True

    bird_name: Annotated[Name, Key("birdName"), "whose it is"]
    egg_count: Annotated[int, Key("eggCount"), whole(0, 9), "how many"] = 3


@dataclass(frozen=True, slots=True)
class Hedge:
    FOREIGN: ClassVar[bool] = True
    OPEN: ClassVar[bool] = True

    nests: Annotated[tuple[Nest, ...], "who lives there"] = ()


def refused(cls: type[Any], value: object) -> list[str]:
    with pytest.raises(Invalid) as caught:
        decode(cls, value)
    return [str(problem) for problem in caught.value.problems]


def test_keys_are_as_others_spell_them() -> None:
    said = {"birdName": "wren", "eggCount": 5}
    assert decode(Nest, said) == Nest("wren", 5)
    assert encode(Nest("wren", 5)) == said
    assert "`birdName`" in reference(Nest)


def test_null_is_absent_in_a_foreign_format() -> None:
    assert decode(Nest, {"birdName": "wren", "eggCount": None}) == Nest("wren", 3)
    assert refused(Nest, {"birdName": None}) == ["birdName: `birdName` is missing"]


def test_an_open_class_passes_over_what_it_does_not_know_and_tells() -> None:
    told: list[object] = []
    value = {"nests": [{"birdName": "wren"}], "height": 2}
    assert decode(Hedge, value, passed_over=told.append) == decode(Hedge, value) == Hedge((Nest("wren"),))
    assert told == [("height",)]


def test_a_foreign_class_that_is_not_open_has_no_unknown_keys() -> None:
    value = {"nests": [{"birdNam": "wren"}]}
    assert refused(Hedge, value) == [
        "nests[0].birdNam: unknown key `birdNam`; did you mean `birdName`?",
        "nests[0].birdName: `birdName` is missing",
    ]


@dataclass(frozen=True, slots=True)
class Forest:
    trees: Annotated[tuple[tuple[Annotated[int, _NUMBER], Annotated[int | None, whole(0, 9)]], ...], "by number"] = ()


def test_keys_of_a_kind_and_values_that_may_be_null() -> None:
    assert decode(Forest, {"trees": {"10": None, "9": 3}}) == Forest(((9, 3), (10, None)))
    assert refused(Forest, {"trees": {"x": 1, "9": "a"}}) == [
        "trees.x: `x` must be a number",
        'trees["9"]: `["9"]` must be a whole number from 0 to 9, not "a"',
    ]
# JSON in pieces -----------------------------------------------------------------------------------

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=5),
    max_leaves=30,
)


@given(plain, st.booleans(), st.booleans(), st.integers(1, 4))
def test_what_is_spelled_in_pieces_is_what_json_writes(value: object, sort: bool, ascii_only: bool, many: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spelled_module, "MANY", many)
        pieces = [*spelled(value, sort_keys=sort, ensure_ascii=ascii_only)]
    assert "".join(pieces) == json.dumps(value, sort_keys=sort, ensure_ascii=ascii_only, separators=(",", ":"))


def test_no_piece_is_large() -> None:
    value = {"a": {f"c{number}": {"of": [number] * 3} for number in range(1000)}, "b": [[{"x": 1}] * 1000, "y"]}
    assert max(map(len, spelled(value))) < 1000


# What is alike in one document --------------------------------------------------------------------


@dataclass(frozen=True)
class Alike:
    names: Annotated[tuple[Name, ...], "some"] = ()
    name: Annotated[Name | None, "one"] = None


@dataclass(frozen=True)
class Loose:
    any: Annotated[dict[str, int], Scalar("any", lambda value: value, same, {}), "what others write"]


@dataclass(frozen=True)
class Several:
    items: Annotated[tuple[Alike, ...], "some"] = ()


def test_what_is_written_alike_becomes_one() -> None:
    same = '{"names": ["one", "two"], "name": "three"}'
    one, other = decode(Several, {"items": [json.loads(same), json.loads(same)]}).items
    assert one is other, "few texts"
    assert one.names is other.names


def test_what_cannot_be_a_key_is_read_all_the_same() -> None:
    assert decode(Loose, {"any": {"a": 1}}) == Loose({"a": 1})


def test_what_is_wrong_alike_is_told_of_each() -> None:
    with pytest.raises(Invalid) as caught:
        decode(Several, {"items": [{"names": ["a", "-"]}, {"names": ["a", "-"]}, {"name": "-"}, {"name": "-"}]})
    assert [problem.path for problem in caught.value.problems] == [
        "items[0].names[1]", "items[1].names[1]", "items[2].name", "items[3].name",
    ]


def test_what_equals_a_text_is_not_taken_for_it() -> None:
    with pytest.raises(Invalid):
        decode(Several, {"items": [{"names": ["1"]}, {"names": [1]}]})


@dataclass(frozen=True)
class Unreadable:
    """Nothing of this kind can be read."""

    what: object = None


@dataclass(frozen=True)
class Mostly:
    name: Name
    seldom: Unreadable | None = None


def test_what_a_document_does_not_have_is_not_inspected() -> None:
    assert decode(Mostly, {"name": "a"}) == Mostly("a")
    with pytest.raises(TypeError, match="a configuration cannot hold"):
        decode(Mostly, {"name": "a", "seldom": {}})
