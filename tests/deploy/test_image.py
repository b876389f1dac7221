"""What an image is made of: the Dockerfile says little itself, and the script that it calls takes the right things."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.scripts import SCRIPTS, script

ROOT = SCRIPTS.parent
DOCKERFILE = (ROOT / "Dockerfile.multiarch").read_text()
FINAL = ("distroless", "slim", "fsm")


def stages() -> dict[str, list[str]]:
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    parts = re.split(r"^FROM ", joined, flags=re.MULTILINE)[1:]
    return {part.split("\n")[0].split(" AS ")[1]: part.strip().split("\n") for part in parts}


@pytest.mark.parametrize("name", FINAL)
def test_a_final_stage_runs_nothing_and_has_no_more_than_it_was_given(name: str) -> None:
    first, *rest = stages()[name]
    assert first == ("slim AS fsm" if name == "fsm" else f"scratch AS {name}")
    assert not any(line.startswith(("RUN", "ADD")) for line in rest)
    said = rest if name != "fsm" else stages()["slim"]
    assert f"USER {script('image-root').USER}:{script('image-root').USER}" in said


def test_fsm_calls_the_programs_of_its_own_image_with_nothing_before_them() -> None:
    assert "ENTRYPOINT []" in stages()["fsm"]
    programs = sorted(path.name for path in (ROOT / "deploy/image/fsm").iterdir())
    assert programs == ["gkill", "pipy", "wait-pipy"]
    for name in programs:
        path = ROOT / "deploy/image/fsm" / name
        assert os.access(path, os.X_OK)
        assert path.read_text() == f'#!/bin/sh\nexec /usr/bin/python3 -m meshproxy.dropin {name} "$@"\n'


def test_what_the_builder_is_sent_is_what_the_dockerfile_copies() -> None:
    copied = {
        words[1] for line in DOCKERFILE.splitlines() if (words := line.split())[:1] == ["COPY"] and "--" not in words[1]
    }
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all(any(each == one or each.startswith(f"{one}/") for one in sent) for each in copied)
    assert all(any(each == one or each.startswith(f"{one}/") for each in copied) for one in sent)
    assert all((ROOT / each).exists() for each in copied)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/usr/bin/python3.13", True),
        ("/usr/lib/python3.13/asyncio/base_events.py", True),
        ("/usr/lib/python3.13/lib-dynload/_ssl.cpython-313-x86_64-linux-gnu.so", True),
        ("/usr/lib/python3.13/unittest/mock.py", True),
        ("/lib/x86_64-linux-gnu/libc.so.6", True),
        ("/usr/lib/riscv64-linux-gnu/xtables/libxt_owner.so", True),
        ("/usr/sbin/xtables-nft-multi", True),
        ("/usr/bin/ip", True),
        ("/usr/sbin/ip", True),
        ("/etc/ssl/openssl.cnf", True),
        ("/etc/shadow", False),
        ("/usr/share/doc/iptables/README", False),
        ("/usr/share/man/man8/iptables.8.gz", False),
        ("/usr/lib/python3.13/test/test_asyncio/utils.py", False),
        ("/usr/lib/python3.13/asyncio/__pycache__/base_events.cpython-313.pyc", False),
        ("/usr/lib/python3.13/lib-dynload/_sqlite3.cpython-313-x86_64-linux-gnu.so", False),
        ("/usr/lib/python3.13/pydoc_data/topics.py", False),
        ("/usr/bin/ss", False),
        ("/usr/sbin/tc", False),
        ("/usr/sbin/ebtables-nft", False),
    ],
)
def test_of_packages_programs_and_libraries_are_kept(path: str, kept: bool) -> None:
    assert script("image-root").is_kept(path) is kept


def test_a_link_is_copied_with_what_it_leads_to_and_a_directory_link_is_followed(tmp_path: Path) -> None:
    real = tmp_path / "usr/lib"
    real.mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (real / "libx.so.1.2").write_bytes(b"\x7fELF")
    (real / "libx.so.1").symlink_to("libx.so.1.2")
    to = tmp_path / "root"
    script("image-root").copy(tmp_path / "lib/libx.so.1", to)
    below = to / real.relative_to("/")
    assert os.readlink(below / "libx.so.1") == "libx.so.1.2"
    assert script("image-root").is_elf(below / "libx.so.1")


@pytest.mark.skipif(shutil.which("ldd") is None, reason="no ldd here")
def test_a_program_brings_its_libraries_and_the_linker(tmp_path: Path) -> None:
    shutil.copy(os.path.realpath(sys.executable), tmp_path / "python")
    names = {path.name for path in script("image-root").needed(tmp_path)}
    assert any(name.startswith("libc.so") for name in names)
    assert any(name.startswith("ld-linux") for name in names)
    assert "libgcc_s.so.1" in names


def test_bytecode_says_no_time_and_files_have_the_one_that_was_said(tmp_path: Path) -> None:
    tree = tmp_path / "opt/meshproxy"
    tree.mkdir(parents=True)
    (tree / "a.py").write_text("b = 1\n")
    library = tmp_path / "usr/lib" / script("image-root").PYTHON
    library.mkdir(parents=True)
    script("image-root").compiled(tmp_path)
    (compiled,) = tree.rglob("*.pyc")
    content = compiled.read_bytes()
    # PEP 552: made of a hash of the source, which is never looked at.
    assert int.from_bytes(content[4:8], "little") == 0b01
    # A traceback names the file as the image has it.
    assert b"/opt/meshproxy/a.py" in content
    assert str(tmp_path).encode() not in content
    script("image-root").dated(tmp_path, 1_000_000)
    assert {path.stat().st_mtime for path in tmp_path.rglob("*")} == {1_000_000.0}
