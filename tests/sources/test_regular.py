"""What stands in the place of a file holds nobody up: it is named, and what is good goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from meshproxy.errors import Invalid
from meshproxy.sources.files import Files
from meshproxy.sources.store import TEMPORARY, Record, Store

LONGEST = 10


@pytest.fixture(autouse=True)
def never_hang() -> Iterator[None]:
    """Who opens a FIFO waits for its other end: a failure here, and not a test that never ends."""
    previous = signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"it hangs: {LONGEST} s"))
    signal.alarm(LONGEST)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def write(path: Path, name: str, *, include: str = "") -> Path:
    path.write_text(f"include: [{include}]\nclusters: {{{name}: {{endpoints: ['127.0.0.1:1']}}}}\n")
    return path


def names(files: Files) -> list[str]:
    return [cluster.name for document in files.read() for cluster in document.config.clusters]


def problem(files: Files) -> str:
    with pytest.raises(Invalid) as refusal:
        files.read()
    (found,) = refusal.value.problems
    return str(found)


STAND_INS: dict[str, Callable[[Path], None]] = {
    "Too many levels of symbolic links": lambda path: path.symlink_to(path.name),
    "Not a regular file": os.mkfifo,
    "Is a directory": Path.mkdir,
    "No such file": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("words", STAND_INS)
def test_what_stands_in_the_place_of_a_file_is_named_and_held_against_nobody(tmp_path: Path, words: str) -> None:
    write(tmp_path / "a.yaml", "a")
    files = Files([str(tmp_path)], {})
    assert names(files) == ["a"]
    STAND_INS[words](tmp_path / "b.yaml")
    assert files.changed()
    found = problem(files)
    assert found.startswith(f"{tmp_path}/b.yaml: cannot be read: ")
    assert words in found
    assert not files.changed()
    (tmp_path / "b.yaml").rename(tmp_path / "b")
    assert files.changed()
    assert names(files) == ["a"]


def test_a_device_is_not_read(tmp_path: Path) -> None:
    assert "Not a regular file" in problem(Files(["/dev/zero"], {}))


def test_a_pipe_that_is_named_is_read_once_and_remembered(tmp_path: Path) -> None:
    pipe, beside = tmp_path / "pipe", write(tmp_path / "beside.yaml", "beside")
    os.mkfifo(pipe)
    files = Files([str(pipe), str(beside)], {})
    with ThreadPoolExecutor() as writer:
        writer.submit(write, pipe, "said")
        assert names(files) == ["said", "beside"]
    assert not files.changed()
    write(beside, "changed")
    assert files.changed()
    assert names(files) == ["said", "changed"]


def test_a_file_that_became_a_pipe_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "a")
    files = Files([str(path)], {})
    assert names(files) == ["a"]
    path.unlink()
    os.mkfifo(path)
    assert "Not a regular file" in problem(files)


def test_a_pipe_cannot_be_included(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    top = write(tmp_path / "top.yaml", "top", include="pipe")
    assert "Not a regular file" in problem(Files([str(top)], {}))


def record(generation: int) -> Record:
    return Record(generation, f"v{generation}", 1.5, "file", (), {"default": {}})


def test_a_pipe_in_the_place_of_a_record_is_skipped(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(record(1))
    os.mkfifo(tmp_path / "generations" / "generation-0000000002.json")
    assert (store.last(), [summary.generation for summary in store.history()]) == (record(1), [1])
    assert "Not a regular file" in store.problems[0].message
    store.save(record(3))
    assert Store(tmp_path).last() == record(3)


def test_a_pipe_in_the_place_of_the_temporary_is_cleared_away(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(record(1))
    os.mkfifo(tmp_path / "generations" / TEMPORARY)
    with pytest.raises(OSError, match="No such device"):
        store.save(record(2))
    store.save(record(3))
    assert [summary.generation for summary in Store(tmp_path).history()] == [3, 2, 1]
