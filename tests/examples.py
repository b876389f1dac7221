"""How many examples a random test makes: with `--long` as many as it says, and otherwise two fifths of them.

    @examples(400)
    @given(st.binary())
    def test_any_bytes_have_one_outcome(data: bytes) -> None: ...

Who says nothing makes a hundred, of which the same part.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings

ALL = 100
"""As it is where no profile says anything else."""
PART = 40


def only_a_part() -> None:
    """Of all tests that are collected from now on."""
    settings.register_profile("part", settings(settings.default, max_examples=PART))
    settings.load_profile("part")


def of(number: int) -> int:
    assert settings.default is not None
    return number * settings.default.max_examples // ALL


def examples(number: int, **more: Any) -> settings:
    return settings(max_examples=of(number), **more)
