"""Every resource in every version: what stands in `golden/NAME.yaml` is in our words what `NAME.native.yaml` says.

The first line of a policy says what it shows, the second one what stands beside it, and whose proxy this is.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from meshproxy.dialects import yaml12
from tests.dialects.smi.policies import plain, put

GOLDEN = Path(__file__).parent / "golden"
POLICIES = sorted(path for path in GOLDEN.glob("[!_]*.yaml") if not path.name.endswith(".native.yaml"))


def meant(path: Path) -> dict[str, object]:
    text = path.read_text()
    _, who = text.splitlines()[:2]
    beside, _, workload = who.removeprefix("# ").partition(" as ")
    config, notes = put(workload, (GOLDEN / f"{beside}.yaml").read_text(), text)
    return {**plain(config), **({"notes": notes} if notes else {})}


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_in_our_words(path: Path) -> None:
    expected = path.with_suffix(".native.yaml")
    assert meant(path) == yaml12.parse(expected.read_text(), expected.name)
