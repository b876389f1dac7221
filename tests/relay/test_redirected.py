"""The kernel itself redirects, in a network namespace that is gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NEEDED = ("unshare", "ip", "iptables", "ip6tables")
RULE = "-t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 1"


def missing() -> str:
    """What it would take, in words; nothing, if it is all there."""
    if os.geteuid() != 0:
        return "only root may make a network namespace"
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        return f"no {', '.join(absent)} here (scripts/install-peers)"
    for tool in ("iptables", "ip6tables"):
        tried = subprocess.run(
            ["unshare", "--net", tool, *RULE.split()], capture_output=True, text=True, check=False
        )
        if tried.returncode:
            return f"no REDIRECT in a network namespace here: {tried.stderr.strip()}"
    return ""


def test_connections_that_the_kernel_redirects_are_known_by_where_they_were_made_to() -> None:
    if why := missing():
        pytest.skip(why)
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.relay.redirected"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )
    assert (done.returncode, done.stdout) == (0, "redirected\n"), done.stderr
