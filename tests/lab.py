"""Hosts of our own for tests: `benchmarks/hosts.py`, or a skip that says why there are none."""

from __future__ import annotations

import pytest

from benchmarks.hosts import Host as Host
from benchmarks.hosts import Lab as Lab
from benchmarks.hosts import missing
from benchmarks.hosts import somebody as somebody


def needs_lab() -> None:
    """Skip a test, and say why, where there can be no such hosts."""
    if why := missing():
        pytest.skip(why)
