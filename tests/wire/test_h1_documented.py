"""The documentation of the HTTP/1.1 codec names what there is, and its benchmark runs."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from benchmarks.harness import OURS, Plan
from benchmarks.micro import h1
from meshproxy.wire.h1 import Limits, Reason, Strictness

TEXT = (Path(__file__).parents[2] / "docs" / "http1.md").read_text()


def test_each_reason_stands_in_the_table_with_its_status() -> None:
    for reason in Reason:
        row = next(line for line in TEXT.splitlines() if line.endswith(f"| `{reason}` |"))
        assert f"| {reason.status} |" in row or "| 502 |" in row


def test_each_limit_and_switch_is_documented() -> None:
    for field in (*fields(Limits), *fields(Strictness)):
        assert f"`{field.name}`" in TEXT


def test_the_benchmark_measures_us_in_each_of_its_works() -> None:
    results = h1.run(Plan(rounds=1, seconds=0.01))
    assert len(results) == 5
    assert all(0 < result.samples[OURS][0] < 1000 for result in results)
