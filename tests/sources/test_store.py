"""The store: what was in force is there again, whatever the disk did."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from meshproxy.sources.store import MOST_CHANGES, TEMPORARY, Record, Store, default_directory


def record(generation: int, size: int = 0) -> Record:
    layers = {"default": {"clusters": {"books": {"endpoints": ["127.0.0.1:1"]}}, "key": "secret", "pad": "x" * size}}
    return Record(generation, f"v{generation}", 1000.5 + generation, "file", (f"change {generation}",), layers)


def generations(store: Store) -> list[int]:
    return [summary.generation for summary in store.history()]


def file_of(directory: Path, generation: int) -> Path:
    return directory / "generations" / f"generation-{generation:010d}.json"


@pytest.fixture(params=["memory", "disk"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "state" if request.param == "disk" else None


def test_what_is_saved_is_found_again(directory: Path | None) -> None:
    store = Store(directory)
    assert (store.last(), store.history(), store.get(1), store.newest) == (None, [], None, 0)
    for generation in (1, 2, 10):
        store.save(record(generation))
    assert store.last() == record(10)
    assert store.get(2) == record(2)
    assert store.get(3) is None
    assert generations(store) == [10, 2, 1]
    assert store.history()[0].changes == ("change 10",)
    assert store.newest == 10


def test_what_is_kept_is_bounded_in_number(directory: Path | None) -> None:
    store = Store(directory, keep=3)
    for generation in range(1, 8):
        store.save(record(generation))
    assert generations(store) == [7, 6, 5]
    assert store.get(4) is None


def test_what_is_kept_is_bounded_in_bytes_but_for_the_newest(directory: Path | None) -> None:
    store = Store(directory, max_bytes=5000)
    for generation in range(1, 5):
        store.save(record(generation, size=2000))
    assert generations(store) == [4, 3]
    store.save(record(5, size=9000))
    assert generations(store) == [5]
    assert store.last() == record(5, size=9000)


def test_what_is_kept_cannot_be_changed_from_outside(directory: Path | None) -> None:
    store, saved = Store(directory), record(1)
    store.save(saved)
    saved.layers["default"].clear()
    assert store.last() == record(1)


def test_a_long_list_of_changes_is_cut(directory: Path | None) -> None:
    store = Store(directory)
    store.save(replace(record(1), changes=tuple(f"c{number}" for number in range(5000))))
    assert len(store.history()[0].changes) == MOST_CHANGES + 1
    assert store.history()[0].changes[-1] == "and 4900 more"


def test_another_process_finds_it(tmp_path: Path) -> None:
    Store(tmp_path).save(record(1))
    again = Store(tmp_path)
    assert (again.last(), again.newest, again.problems) == (record(1), 1, ())


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "state"
    previous = os.umask(0)
    try:
        Store(state).save(record(1))
    finally:
        os.umask(previous)
    assert stat.S_IMODE(file_of(state, 1).stat().st_mode) == 0o600
    for directory in (state, state / "generations"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_directory_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / "generations").mkdir(mode=0o755)
    Store(tmp_path).save(record(1))
    assert stat.S_IMODE((tmp_path / "generations").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\n",
        b"\xff\xfe\n{}\n",
        b"[]\n{}\n",
        b"null\n",
        b"[" * 100_000,
        b'{"format": 2}\n{}\n',
        b'{"format": 1}\n{}\n',
        b'{"format": 1, "generation": Infinity, "version": "", "time": 0, "source": "", "changes": [], "sha256": ""}\n',
        b'{"format": 1, "generation": 1, "version": "", "time": 0, "source": "", "changes": null, "sha256": ""}\n',
    ],
)
def test_a_file_that_is_no_record_is_skipped_and_named(tmp_path: Path, damage: bytes) -> None:
    store = Store(tmp_path)
    store.save(record(1))
    file_of(tmp_path, 2).write_bytes(damage)
    assert store.last() == record(1)
    assert generations(store) == [1]
    assert store.get(2) is None
    assert [problem.source for problem in store.problems] == [str(file_of(tmp_path, 2))]
    assert store.newest == 2, "its number is taken"


def forged(layers: Any, **summary: Any) -> bytes:
    """A record whose digest is right."""
    data = json.dumps(layers).encode()
    head = {"format": 1, "generation": 2, "version": "v", "time": 1.5, "source": "file", "changes": ["a"]}
    return json.dumps({**head, "sha256": sha256(data).hexdigest(), **summary}).encode() + b"\n" + data + b"\n"


def test_what_the_next_tests_forge_is_a_record(tmp_path: Path) -> None:
    file_of(tmp_path, 2).parent.mkdir()
    file_of(tmp_path, 2).write_bytes(forged({"default": {"a": 1}}))
    assert Store(tmp_path).last() == Record(2, "v", 1.5, "file", ("a",), {"default": {"a": 1}})


@pytest.mark.parametrize("layers", [None, 7, "x", [], [1], {"default": 7}, {"default": None}, {"a": {}, "b": []}])
def test_layers_that_are_no_mappings_are_skipped_though_their_digest_is_right(tmp_path: Path, layers: Any) -> None:
    store = Store(tmp_path)
    store.save(record(1))
    file_of(tmp_path, 2).write_bytes(forged(layers))
    assert store.last() == record(1)
    assert "mappings" in store.problems[0].message


@pytest.mark.parametrize(
    "summary",
    [
        {"generation": "2"},
        {"generation": 2.0},
        {"version": 7},
        {"time": "1"},
        {"time": float("nan")},
        {"time": float("inf")},
        {"time": 10**400},
        {"source": None},
        {"changes": "abc"},
        {"changes": [1]},
        {"changes": {"a": 1}},
    ],
)
def test_a_summary_of_another_shape_is_skipped(tmp_path: Path, summary: dict[str, Any]) -> None:
    store = Store(tmp_path)
    store.save(record(1))
    file_of(tmp_path, 2).write_bytes(forged({}, **summary))
    assert store.last() == record(1)
    assert generations(store) == [1]
    assert [problem.source for problem in store.problems] == [str(file_of(tmp_path, 2))]


@pytest.mark.parametrize("cut", [1, 2, 10, 50])
def test_a_file_that_lost_its_end_is_skipped(tmp_path: Path, cut: int) -> None:
    store = Store(tmp_path)
    store.save(record(1))
    store.save(record(2))
    whole = file_of(tmp_path, 2).read_bytes()
    file_of(tmp_path, 2).write_bytes(whole[: -1 - cut])
    assert store.last() == record(1)
    assert "damaged" in store.problems[0].message


def test_a_file_that_was_changed_is_skipped_and_its_secret_not_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(record(1))
    changed = file_of(tmp_path, 1).read_bytes().replace(b"127.0.0.1:1", b"127.0.0.1:2")
    file_of(tmp_path, 1).write_bytes(changed)
    assert store.last() is None
    assert "secret" not in str(store.problems)


def test_a_file_under_another_name_is_not_that_generation(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(record(1))
    file_of(tmp_path, 1).rename(file_of(tmp_path, 7))
    assert store.last() is None
    assert "generation 1" in store.problems[0].message


def test_a_damaged_record_can_be_saved_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    file_of(tmp_path, 1).parent.mkdir()
    file_of(tmp_path, 1).write_bytes(b"?")
    assert store.last() is None
    store.save(record(1))
    assert (store.last(), store.problems) == (record(1), ())


def test_damaged_records_age_out(tmp_path: Path) -> None:
    store = Store(tmp_path, keep=2)
    file_of(tmp_path, 1).parent.mkdir()
    file_of(tmp_path, 1).write_bytes(b"?")
    assert store.last() is None
    store.save(record(2))
    store.save(record(3))
    assert (store.problems, file_of(tmp_path, 1).exists()) == ((), False)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path, keep=1)
    file_of(tmp_path, 1).parent.mkdir()
    other = file_of(tmp_path, 1).with_name("generation-x.json")
    other.write_text("?")
    store.save(record(1))
    store.save(record(2))
    assert (generations(store), store.problems, other.read_text()) == ([2], (), "?")


def test_a_disk_that_fails_is_reported_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.save(record(1))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            store.save(record(2))
        with pytest.raises(OSError, match="No space left"):
            store.save(record(3))
    assert store.last() == record(3)
    assert generations(store) == [3, 2, 1]
    assert os.listdir(tmp_path / "generations") == [file_of(tmp_path, 1).name], "no part of a record stays"
    store.save(record(4))
    assert generations(Store(tmp_path)) == [4, 3, 2, 1], "the disk has what it missed"


def test_a_place_that_cannot_be_a_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        store.save(record(1))
    assert store.last() == record(1)


def test_what_the_disk_does_not_take_is_bounded_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file", keep=2)
    for generation in range(1, 6):
        with pytest.raises(OSError, match="file"):
            store.save(record(generation))
    assert generations(store) == [5, 4]


def test_a_write_that_was_cut_short_before_does_not_matter(tmp_path: Path) -> None:
    file_of(tmp_path, 1).parent.mkdir()
    file_of(tmp_path, 1).with_name(TEMPORARY).write_text("half of a much longer record" * 1000)
    store = Store(tmp_path)
    assert store.last() is None
    store.save(record(1))
    assert Store(tmp_path).last() == record(1)


def test_a_link_in_the_place_of_the_temporary_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("whole")
    file_of(tmp_path, 1).parent.mkdir()
    file_of(tmp_path, 1).with_name(TEMPORARY).symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        Store(tmp_path).save(record(1))
    assert victim.read_text() == "whole"


def test_a_link_in_the_place_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    Store(elsewhere).save(record(7))
    target = elsewhere / "generations"
    target.chmod(0o755)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "generations").symlink_to(target)
    store = Store(tmp_path / "state", keep=1)
    assert (store.last(), store.history(), store.get(7), store.newest) == (None, [], None, 0)
    with pytest.raises(OSError, match=r"link .* not followed: .*state/generations"):
        store.save(record(8))
    assert (store.last(), store.problems) == (record(8), ()), "it is in memory"
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
    assert os.listdir(target) == [file_of(elsewhere, 7).name]


def test_the_directory_above_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "real")
    Store(tmp_path / "state").save(record(1))
    assert Store(tmp_path / "real").last() == record(1)


@pytest.mark.parametrize("name", ["9" * 18, "9" * 17, "1", "٣" * 10])
def test_a_number_that_no_record_has_counts_for_nothing(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path, keep=1)
    store.save(record(1))
    other = file_of(tmp_path, 1).with_name(f"generation-{name}.json")
    other.write_text("?")
    store.save(record(store.newest + 1))
    assert (Store(tmp_path).last(), store.problems, other.exists()) == (record(2), (), True)


def test_a_generation_that_no_name_can_hold_is_reported_and_kept_in_memory(tmp_path: Path) -> None:
    store, largest = Store(tmp_path), 9_999_999_999
    store.save(record(largest))
    with pytest.raises(OSError, match="No file can have this generation"):
        store.save(record(largest + 1))
    assert (store.last(), store.get(largest), store.get(10**17)) == (record(largest + 1), record(largest), None)
    assert os.listdir(tmp_path / "generations") == [file_of(tmp_path, largest).name], "nothing that is not found again"


def test_the_history_does_not_read_layers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(record(1))
    first = file_of(tmp_path, 1).read_bytes().splitlines(keepends=True)[0]
    file_of(tmp_path, 1).write_bytes(first)
    assert generations(store) == [1]
    assert json.loads(first)["source"] == "file"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_STATE_HOME": "/home/a/.local/state"}, Path("/home/a/.local/state/meshproxy")),
        ({"XDG_STATE_HOME": "relative"}, None),
        ({"XDG_STATE_HOME": ""}, None),
        ({}, None),
    ],
)
def test_the_default_directory(environ: dict[str, str], expected: Path | None) -> None:
    assert default_directory(environ) == expected
