"""Variables of the environment in strings."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.dialects import variables

expand = variables.expander({"HOST": "::1", "EMPTY": "", "NESTED": "${HOST}"})


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("[${HOST}]:80", "[::1]:80"),
        ("${HOST}${HOST}", "::1::1"),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b}", "a:-b"),
        ("${HOST:-x}", "::1"),
        ("${NESTED}", "${HOST}"),
        ("$${HOST}", "${HOST}"),
        ("$HOST $ {}", "$HOST $ {}"),
    ],
)
def test_what_becomes_of_a_string(text: str, expanded: str) -> None:
    assert expand(text) == expanded


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NONE}", "variable `NONE` is not set, and has no default such as ${NONE:-value}"),
        ("a ${", "a ${ holds no variable"),
        ("${1}", "${1} holds no variable"),
        ("${A:x}", "${A:x} holds no variable"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        expand(text)
    assert str(caught.value).startswith(message)


def test_growth_is_bounded_within_a_string() -> None:
    asked: list[str] = []

    class Environment(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.append(key)
            return super().get(key, default)

    with pytest.raises(ValueError, match="more than 16 MiB"):
        variables.expander(Environment(A="x" * 2**20))("${A}" * 1000)
    assert len(asked) == 17


def test_growth_is_bounded() -> None:
    large = variables.expander({"A": "x" * 2**20})
    with pytest.raises(ValueError, match="more than 16 MiB"):
        for _ in range(17):
            large("${A}")
