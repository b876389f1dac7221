"""What nobody takes is lost, and lost things are told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshproxy.dialects.writing.said import Said
from meshproxy.schema.shapes import Path

VALUE = {"a": {"b": 1, "c": [{"d": 2, "e": 3}, 4]}, "f": []}
Plain = st.recursive(st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("abc"), inner))


def left(said: Said) -> list[Path]:
    return list(said.left())


def test_all_of_it_is_left_at_first() -> None:
    assert left(Said(VALUE)) == [()]


def test_what_is_taken_is_not_left_and_its_neighbours_are() -> None:
    said = Said(VALUE)
    assert said["a"]["c"][0]["d"].take() == 2
    assert left(said) == [("a", "b"), ("a", "c", 0, "e"), ("a", "c", 1), ("f",)]
    assert said["f"].take() == []
    said["a"].take()
    assert left(said) == []


def test_what_is_not_there_can_be_asked_for() -> None:
    said = Said(VALUE)
    assert not said["x"]["y"][3]
    assert (said["x"].take("default"), list(said["x"]), list(said["x"].items())) == ("default", [], [])
    assert left(said) == [("a",), ("f",)]


def test_one_stands_for_a_list_of_one() -> None:
    said = Said({"listen": "a", "more": ["b", "c"]})
    assert [each.value for each in said["listen"]] == ["a"]
    assert (said["listen"].several(), said["more"].several()) == (["a"], ["b", "c"])
    assert left(said) == []


def test_what_is_lost_for_a_reason_is_told_once_and_not_left() -> None:
    said = Said(VALUE)
    said["a"]["b"].lose("no word")
    said["a"]["b"].lose("no word")
    said["f"].tell("only half of it")
    assert said.lost == [(("a", "b"), "no word"), (("f",), "only half of it")]
    assert left(said) == [("a", "c"), ("f",)]


@given(Plain, st.data())
def test_every_leaf_is_taken_or_left(value: object, data: st.DataObject) -> None:
    said = Said(value)
    leaves = [*_leaves(said)]
    taken = data.draw(st.sets(st.sampled_from(leaves))) if leaves else set()
    for path in taken:
        here = said
        for step in path:
            here = here[step]
        here.take()
    above = left(said)
    for leaf in leaves:
        assert (leaf in taken) != any(leaf[: len(path)] == path for path in above)


def _leaves(said: Said) -> list[Path]:
    if isinstance(said.value, dict | list) and said.value:
        return [leaf for below in said for leaf in _leaves(below)]
    return [said.path]
