"""When plans of timed steps began."""

from __future__ import annotations

from typing import Any

from meshproxy.model import Config, decode
from meshproxy.server.beginnings import Beginnings


def config(*weights: int, prefix: str = "/") -> Config:
    split = [{"cluster": "a"}, {"cluster": "b", "steps": [{"after": "1m", "weight": weight} for weight in weights]}]
    found: Config = decode(Config, {"routes": {"web": [{"match": {"path": {"prefix": prefix}}, "split": split}]}})
    return found


def test_a_plan_begins_when_it_is_first_in_force(clock: Any) -> None:
    beginnings = Beginnings(clock)
    beginnings.prepare(config(5))  # >> and refused, so that it never was
    clock.advance(10)
    beginnings.prepare(config(5))
    (began,) = beginnings.known.values()
    assert began == clock.now()
    beginnings.commit()
    clock.advance(10)
    beginnings.prepare(config(6))  # >> refused too
    assert sorted(beginnings.known.values()) == [began, began + 10], "a worker that comes meanwhile serves the old one"
    beginnings.prepare(config(5))
    beginnings.commit()
    assert list(beginnings.known.values()) == [began], "what stays as it is goes on"
    for other in (config(6), config(5, prefix="/x")):
        clock.advance(10)
        beginnings.prepare(other)
        beginnings.commit()
        assert list(beginnings.known.values()) == [clock.now()]
    beginnings.prepare(config())
    beginnings.commit()
    assert beginnings.known == {}
