from __future__ import annotations

import time

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
        (["0.0.0.0/0"], ["10.0.0.0/8", "10.0.0.7/32", "10.1.0.0/16"]),
        (["10.1.0.0/16", "10.1.0.0/16"], ["10.1.0.0/16"]),
    ],
)
def test_what_lies_in_both(ranges: list[str], found: list[str]) -> None:
    assert ALLOWED.within(ranges) == found


def test_many_of_both_take_no_longer_than_they_have_to() -> None:
    allowed = Networks(f"10.{n >> 8 & 255}.{n & 255}.1" for n in range(20000))
    elsewhere = [f"11.{n >> 8 & 255}.{n & 255}.1/32" for n in range(20000)]
    began = time.process_time()
    assert allowed.within([*elsewhere, "10.0.0.0/24"]) == ["10.0.0.1/32"]
    # Each with each is four hundred million pairs.
    assert time.process_time() - began < 20


def test_bits_of_a_host_are_masked_away() -> None:
    assert ALLOWED.all == ["10.0.0.7", "10.1.0.0/16", "10.0.0.0/8", "fd00::7"]
