"""Limits: a machine is a tree of files, and the least of what it says counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meshproxy.server.container import cpus, memory, memory_share

MIB = 1024 * 1024
VERSION_1_NO_LIMIT = "9223372036854771712"


class Machine:
    """A root directory with what the kernel would show in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def cgroup(self, *lines: str) -> None:
        self.write("proc/self/cgroup", "\n".join(lines))

    def write(self, path: str, text: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((text.encode() if isinstance(text, str) else text) + b"\n")

    @property
    def cpus(self) -> int:
        return cpus(self.root)

    @property
    def memory(self) -> int | None:
        return memory(self.root)

    @property
    def memory_share(self) -> float | None:
        return memory_share(self.root)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Of 16 CPUs, whatever the tests run on."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    return Machine(tmp_path)


def test_nothing_said_is_no_limit(machine: Machine) -> None:
    assert (machine.cpus, machine.memory) == (16, None)
    machine.cgroup("0::/")
    assert (machine.cpus, machine.memory) == (16, None)


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ("max 100000", 16),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("1000 100000", 1),
        ("100001 100000", 2),
        ("6400000 100000", 16),
        ("25000 10000", 3),
    ],
)
def test_part_of_a_cpu_counts_as_one(machine: Machine, said: str, count: int) -> None:
    machine.cgroup("0::/")
    machine.write("sys/fs/cgroup/cpu.max", said)
    assert machine.cpus == count


def test_the_least_on_the_whole_path_counts(machine: Machine) -> None:
    machine.cgroup("0::/pods/books/proxy")
    machine.write("sys/fs/cgroup/pods/books/proxy/cpu.max", "max 100000")
    machine.write("sys/fs/cgroup/pods/books/cpu.max", "300000 100000")
    machine.write("sys/fs/cgroup/pods/cpu.max", "800000 100000")
    machine.write("sys/fs/cgroup/other/cpu.max", "100000 100000")
    assert machine.cpus == 3
    machine.write("sys/fs/cgroup/pods/books/proxy/memory.max", str(512 * MIB))
    machine.write("sys/fs/cgroup/pods/memory.max", str(256 * MIB))
    machine.write("sys/fs/cgroup/other/memory.max", str(MIB))
    assert machine.memory == 256 * MIB


def test_memory_is_felt_where_the_kernel_begins_to_slow_down(machine: Machine) -> None:
    machine.cgroup("0::/proxy")
    machine.write("sys/fs/cgroup/proxy/memory.max", str(512 * MIB))
    machine.write("sys/fs/cgroup/proxy/memory.high", "max")
    assert machine.memory == 512 * MIB
    machine.write("sys/fs/cgroup/proxy/memory.high", str(400 * MIB))
    assert machine.memory == 400 * MIB


def test_version_1(machine: Machine) -> None:
    machine.cgroup("5:memory:/box", "4:cpu,cpuacct:/box", "1:name=systemd:/cpu", "0::/")
    machine.write("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "-1")
    machine.write("sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000")
    machine.write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", VERSION_1_NO_LIMIT)
    assert (machine.cpus, machine.memory) == (16, None)
    machine.write("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "350000")
    machine.write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", str(64 * MIB))
    assert (machine.cpus, machine.memory) == (4, 64 * MIB)


def test_a_container_that_is_shown_the_path_of_its_host(machine: Machine) -> None:
    machine.cgroup("5:memory:/docker/c0ffee", "4:cpuacct,cpu:/docker/c0ffee")
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000")
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", str(128 * MIB))
    assert (machine.cpus, machine.memory) == (2, 128 * MIB)


def test_a_host_with_both_versions(machine: Machine) -> None:
    machine.cgroup("5:memory:/box", "0::/box")
    machine.write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", str(128 * MIB))
    machine.write("sys/fs/cgroup/unified/box/cpu.max", "500000 100000")
    machine.write("sys/fs/cgroup/unified/box/memory.max", str(64 * MIB))
    assert (machine.cpus, machine.memory) == (5, 64 * MIB)


GARBAGE = ["", "max", "words", "-1", "0", "1.5", "1e3", "0x10", "²", "1 2 3", "9" * 5000, b"\xff\xfe", b"\0"]


@pytest.mark.parametrize("said", GARBAGE)
def test_garbage_is_no_limit(machine: Machine, said: str | bytes) -> None:
    machine.cgroup("2:cpu:/", "1:memory:/", "0::/")
    for name in ("cpu.max", "memory.max", "memory.high"):
        machine.write(f"sys/fs/cgroup/{name}", said)
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", said)
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", said)
    assert (machine.cpus, machine.memory) == (16, None)


@pytest.mark.parametrize("said", ["100000 0", "0 100000", "-1 100000", "100000", "100000 x", "1 2 3"])
def test_a_share_that_is_none_is_no_limit(machine: Machine, said: str) -> None:
    machine.cgroup("0::/")
    machine.write("sys/fs/cgroup/cpu.max", said)
    assert machine.cpus == 16


@pytest.mark.parametrize("line", ["", "0", "0:", "::", "0::", "0::a\0b", ":::::", "0::/../../elsewhere", b"0::/\xff/x"])
def test_a_strange_line_hides_no_other(machine: Machine, line: str | bytes) -> None:
    text = line.encode() if isinstance(line, str) else line
    machine.write("proc/self/cgroup", text + b"\n0::/box")
    machine.write("sys/fs/cgroup/box/cpu.max", "200000 100000")
    machine.write("sys/fs/cgroup/box/memory.max", str(MIB))
    assert (machine.cpus, machine.memory) == (2, MIB)


def test_what_cannot_be_read_is_no_limit(machine: Machine) -> None:
    machine.cgroup("0::/box")
    (machine.root / "sys/fs/cgroup/box/cpu.max").mkdir(parents=True)
    (machine.root / "sys/fs/cgroup/box/memory.max").symlink_to("memory.max")
    assert (machine.cpus, machine.memory) == (16, None)


def test_fewer_cpus_may_be_allowed_than_the_share_would_pay_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5})
    machine.cgroup("0::/")
    machine.write("sys/fs/cgroup/cpu.max", "800000 100000")
    assert machine.cpus == 2


def test_this_machine() -> None:
    assert 1 <= cpus() <= len(os.sched_getaffinity(0))
    limit = memory()
    assert limit is None or limit > MIB


def test_how_much_of_its_memory_is_used(machine: Machine) -> None:
    machine.cgroup("0::/pods/one")
    machine.write("sys/fs/cgroup/pods/one/memory.current", "1000")
    assert machine.memory_share is None
    machine.write("sys/fs/cgroup/pods/one/memory.max", "2000")
    assert machine.memory_share == 0.5
    # What the kernel has read from files, and can forget
    machine.write("sys/fs/cgroup/pods/one/memory.stat", "anon 700\nactive_file 100\ninactive_file 200\nslab 0")
    assert machine.memory_share == 0.4
    # The one that it lies in may be nearer to its end, though its limit is higher
    machine.write("sys/fs/cgroup/pods/memory.max", "10000")
    machine.write("sys/fs/cgroup/pods/memory.current", "9000")
    assert machine.memory_share == 0.9
    # Where the kernel begins to slow it down
    machine.write("sys/fs/cgroup/pods/one/memory.high", "800")
    assert machine.memory_share == 1.0
    for said in ("", "max", "-1", "x", b"\xff"):
        machine.write("sys/fs/cgroup/pods/one/memory.current", said)
        assert machine.memory_share == 0.9


def test_how_much_of_its_memory_is_used_in_version_1(machine: Machine) -> None:
    machine.cgroup("6:memory:/one")
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", VERSION_1_NO_LIMIT)
    machine.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "123456")
    assert machine.memory_share is None
    machine.write("sys/fs/cgroup/memory/one/memory.limit_in_bytes", "2000")
    machine.write("sys/fs/cgroup/memory/one/memory.usage_in_bytes", "1000")
    machine.write("sys/fs/cgroup/memory/one/memory.stat", "inactive_file 900\ntotal_inactive_file 500")
    assert machine.memory_share == 0.25
