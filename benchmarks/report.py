"""The report of a run: a table to look at, the same in Markdown, and everything in JSON.

It says what it was measured on, with what versions and by which command, or it would be worth nothing later.
"""

from __future__ import annotations

import os
import platform
import ssl
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks import process, tools
from benchmarks.harness import Result, Row, Spread
from benchmarks.peers import PEERS

COLUMNS = ("work", "who", "cost: median (least to most)", "ours ÷ theirs", "must", "aim", "verdict")


def circumstances(command: Sequence[str], load: tuple[float, float, float]) -> dict[str, str]:
    """`load` is the machine's load average from before the run, which says whether it was alone."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(command),
        "commit": _commit(),
        "machine": f"{_processor()}, {os.cpu_count()} CPUs, {platform.machine()}",
        "load before": " ".join(f"{each:.2f}" for each in load),
        "kernel": platform.release(),
        "python": f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
        "uvloop": _installed("uvloop"),
        **{peer.name: peer.version() for peer in PEERS if not peer.missing()},
        **tools.versions(),
    }


def as_json(about: dict[str, str], results: Iterable[Result]) -> dict[str, object]:
    return {
        "about": about,
        "results": [
            {
                "work": result.work,
                "unit": result.unit,
                "samples": result.samples,
                "rows": [asdict(row) for row in result.rows()],
            }
            for result in results
        ],
    }


def as_table(results: Iterable[Result]) -> str:
    cells = [COLUMNS, *_cells(results)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def as_markdown(about: dict[str, str], results: Iterable[Result]) -> str:
    lines = [COLUMNS, tuple("---" for _ in COLUMNS), *_cells(results)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    facts = "\n".join(f"- {name}: {fact}" for name, fact in about.items())
    return f"{table}\n\n{facts}\n"


def _cells(results: Iterable[Result]) -> list[tuple[str, ...]]:
    return [_line(result, row) for result in results for row in result.rows()]


def _line(result: Result, row: Row) -> tuple[str, ...]:
    return (
        f"{result.work}, {result.unit}",
        row.who,
        _spread(row.cost),
        _spread(row.ratio) if row.ratio else "",
        f"{row.budget.must:g}" if row.budget and row.budget.must is not None else "",
        f"{row.budget.aim:g}" if row.budget else "",
        row.verdict,
    )


def _spread(spread: Spread) -> str:
    return f"{_short(spread.median)} ({_short(spread.low)} to {_short(spread.high)})"


def _short(figure: float) -> str:
    return f"{figure:.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unnamed processor"


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _commit() -> str:
    describe = ["git", "describe", "--always", "--dirty"]
    try:
        git = subprocess.run(describe, cwd=process.ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown: there is no git here"
    return git.stdout.strip() or f"none ({sys.argv[0]} outside a checkout)"
