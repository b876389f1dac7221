from __future__ import annotations

import pytest

from meshproxy.dialects.fsm.networks import Networks

ALLOWED = Networks(["10.0.0.7", "10.1.0.0/16", "10.2.3.4/8", "fd00::7"])


@pytest.mark.parametrize(
    ("ranges", "found"),
    [
        (["10.0.0.7/32"], ["10.0.0.7/32"]),
        (["10.1.2.0/24"], ["10.1.2.0/24"]),
        (["192.0.2.0/24"], []),
        (["fd00::/64"], ["fd00::7/128"]),
        (["0.0.0.0/0"], ["10.0.0.7/32", "10.1.0.0/16", "10.0.0.0/8"]),
        (["10.1.0.0/16", "10.1.0.0/16"], ["10.1.0.0/16"]),
    ],
)
def test_what_lies_in_both(ranges: list[str], found: list[str]) -> None:
    assert ALLOWED.within(ranges) == found


def test_bits_of_a_host_are_masked_away() -> None:
    assert ALLOWED.all == ["10.0.0.7", "10.1.0.0/16", "10.0.0.0/8", "fd00::7"]
