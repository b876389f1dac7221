"""Several who heed the same attempts."""

from __future__ import annotations

from typing import Any

from meshproxy.cluster.heed import together
from meshproxy.errors import Failure
from tests.cluster.endpoints import endpoints


def test_all_hear_and_nobody_who_is_absent_costs_anything(clock: Any) -> None:
    heard: list[tuple[Any, ...]] = []

    def one(*attempt: Any) -> None:
        heard.append(("one", *attempt))

    def two(*attempt: Any) -> None:
        heard.append(("two", *attempt))

    assert together() is together(None, None) is None
    assert together(None, one) is one
    both = together(one, None, two)
    assert both is not None
    attempt = (endpoints(1, clock)[0], Failure("reset"), 0, 0.5)
    both(*attempt)
    assert heard == [("one", *attempt), ("two", *attempt)]
