"""Several who heed the same attempts."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.cluster.heed import heard, together
from meshproxy.errors import Failure
from meshproxy.wire.h1 import ResponseCodec
from tests.cluster.endpoints import endpoints


def test_all_hear_and_nobody_who_is_absent_costs_anything(clock: Any) -> None:
    told: list[tuple[Any, ...]] = []

    def one(*attempt: Any) -> None:
        told.append(("one", *attempt))

    def two(*attempt: Any) -> None:
        told.append(("two", *attempt))

    assert together() is together(None, None) is None
    assert together(None, one) is one
    both = together(one, None, two)
    assert both is not None
    attempt = (endpoints(1, clock)[0], Failure("reset"), 0, 0.5)
    both(*attempt)
    assert told == [("one", *attempt), ("two", *attempt)]


@pytest.mark.parametrize(
    ("status", "judged"),
    [(0, 200), (2, 500), (4, 504), (5, 200), (12, 200), (13, 500), (14, 503), (15, 500), (16, 200)],
)
def test_a_call_that_has_failed_is_judged_as_if_it_were_of_http(status: int, judged: int) -> None:
    assert heard(ResponseCodec().parse(b"HTTP/1.1 200 OK\r\ngrpc-status: %d\r\n\r\n" % status)) == judged


def test_an_answer_of_http_is_judged_by_its_status() -> None:
    assert heard(ResponseCodec().parse(b"HTTP/1.1 503 Busy\r\n\r\n")) == 503
