"""What can be said about metrics, and what is refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import decode, encode
from meshproxy.model.metrics import PLAIN_METRICS, Metrics


def test_where_nothing_is_said_there_are_defaults() -> None:
    assert decode(Metrics, {}) == PLAIN_METRICS


def test_what_is_said_is_had_back() -> None:
    said = {"presets": ["fsm", "istio"], "requests": False, "slow": "250ms", "keep": 0, "series": 20000, "peers": False}
    found = decode(Metrics, said)
    assert found == Metrics(("fsm", "istio"), False, 0.25, 0, 20000, False)
    assert encode(found) == said


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"presets": ["consul"]}, "consul"),
        ({"slow": 0}, "slow"),
        ({"keep": 10_001}, "keep"),
        ({"series": 999}, "series"),
        ({"serie": 1000}, "serie"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(said: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        decode(Metrics, said)
