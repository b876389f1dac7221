"""docs/certs.md: its commands work in the order in which they stand, and print the table that it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pki import MISSING

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "certs.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def dateless(table: str) -> str:
    return re.sub(r"\d", "0", table)


def test_the_examples_work(tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason=MISSING)
    command = tmp_path / "bin" / "meshproxy"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m meshproxy "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    printed = ""
    assert len(BLOCKS) == 6
    for block in BLOCKS:
        done = subprocess.run(["sh", "-e"], input=block, cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), block
        printed = done.stdout
    table = re.findall(r"^```\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[-1]
    assert dateless(printed) == dateless(table)
