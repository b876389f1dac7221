"""Who heeds attempts: nobody, one, or several in their order."""

from __future__ import annotations

from typing import Any

from meshproxy.cluster.heed import together


def test_nobody_costs_nothing_and_one_is_called_without_a_detour() -> None:
    def one(*_: Any) -> None:
        raise AssertionError

    assert together() is None
    assert together(None, None) is None
    assert together(None, one) is one


def test_several_hear_the_same_in_their_order() -> None:
    heard: list[Any] = []
    heed = together(lambda *said: heard.append(("a", *said)), None, lambda *said: heard.append(("b", *said)))
    assert heed is not None
    endpoint: Any = object()
    heed(endpoint, None, 200, 0.5)
    assert heard == [("a", endpoint, None, 200, 0.5), ("b", endpoint, None, 200, 0.5)]
