"""Whether a pod has done its work: what is found in a /proc that a test has made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from meshproxy.server.pod import LOOKS, Pod

OURS, OTHER = "mnt:[1]", "mnt:[2]"


class Proc:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.begin("self", OURS)
        self.begin("1", OTHER)
        (path / "uptime").write_text("1 1\n")

    def begin(self, name: str | int, namespace: str, state: str = "S") -> None:
        process = self.path / str(name)
        (process / "ns").mkdir(parents=True)
        os.symlink(namespace, process / "ns" / "mnt")
        (process / "stat").write_text(f"{name} (a) Z (b) {state} 1 1 1\n")

    def end(self, name: int) -> None:
        shutil.rmtree(self.path / str(name))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def looks(pod: Pod) -> list[bool]:
    return [pod.over() for _ in range(LOOKS + 1)]


NOT_OVER = [False] * (LOOKS + 1)
OVER = [False] * (LOOKS - 1) + [True, True]


def test_it_has_not_begun_while_nobody_else_is_there(proc: Proc) -> None:
    pod = Pod(proc.path)
    proc.begin(7, OURS)
    assert looks(pod) == NOT_OVER, "a pause, ourselves and a worker"
    assert not pod.begun


def test_it_is_over_when_all_others_have_been_and_gone(proc: Proc) -> None:
    pod = Pod(proc.path)
    for number in (20, 30):
        proc.begin(number, OTHER)
    assert looks(pod) == NOT_OVER
    assert pod.begun
    proc.end(20)
    assert looks(pod) == NOT_OVER
    proc.end(30)
    assert looks(pod) == OVER


def test_a_command_in_our_own_container_is_not_the_application(proc: Proc) -> None:
    pod = Pod(proc.path)
    proc.begin(20, OURS)
    assert not pod.over()
    proc.end(20)
    assert looks(pod) == NOT_OVER
    proc.begin(30, OTHER)
    assert not pod.over()
    proc.end(30)
    proc.begin(40, OURS)
    assert looks(pod) == OVER


def test_what_is_dead_is_not_there(proc: Proc) -> None:
    pod = Pod(proc.path)
    proc.begin(20, OTHER, "Z")
    assert looks(pod) == NOT_OVER
    proc.end(20)
    proc.begin(20, OTHER, "R")
    assert not pod.over()
    proc.end(20)
    proc.begin(20, OTHER, "Z")
    assert looks(pod) == OVER


def test_a_script_between_two_commands_is_not_the_end(proc: Proc) -> None:
    pod = Pod(proc.path)
    for number in (20, 21, 22):
        proc.begin(number, OTHER)
        assert not pod.over()
        proc.end(number)
        assert [pod.over() for _ in range(LOOKS - 1)] == [False] * (LOOKS - 1)
    assert pod.over()


def test_who_ends_while_it_is_looked_at_has_ended(proc: Proc) -> None:
    pod = Pod(proc.path)
    (proc.path / "20").mkdir()
    (proc.path / "21").mkdir()
    (proc.path / "21" / "stat").write_text("")
    assert looks(pod) == NOT_OVER
