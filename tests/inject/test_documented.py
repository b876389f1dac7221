"""docs/inject.md: its commands work in the order in which they stand, and its tables are complete."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from meshproxy.dialects import read
from meshproxy.inject.options import ANNOTATIONS, INJECT, STATUS
from meshproxy.model import combine

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "inject.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_examples_work(tmp_path: Path) -> None:
    command = tmp_path / "bin" / "meshproxy"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m meshproxy "$@"\n')
    command.chmod(0o755)
    environ = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    (tmp_path / "app.yaml").write_text(blocks("yaml")[0])
    assert len(blocks("sh")) == 2
    for block in blocks("sh"):
        done = subprocess.run(["sh", "-e"], input=block, cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), block


def test_the_configuration_is_one() -> None:
    config = combine([read(blocks("yaml")[1].encode(), "config.yaml", {})])
    assert [listener.name for listener in config.listeners] == ["inbound", "outbound"]


def test_every_annotation_is_told() -> None:
    table = TEXT.partition("## Annotations")[2].partition("## Once more")[0]
    for key in (*ANNOTATIONS, INJECT, STATUS):
        prefix, slash, name = key.partition("/")
        assert f"{prefix}{slash}" in table
        assert re.search(rf"[`/]{name}`", table), key
