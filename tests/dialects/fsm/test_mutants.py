"""Whatever a control plane sends: it is refused with reasons, or in force as a whole."""

from __future__ import annotations

from tests.dialects.fsm.mutants import main


def test_mutants_neither_crash_nor_are_half_in_force() -> None:
    found = main(300, 1)
    assert found.keys() <= {"refused", "in force", "another dialect"}
    assert min(found["refused"], found["in force"]) > 30
