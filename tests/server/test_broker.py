"""The broker beside the proxy, without one."""

from __future__ import annotations

import importlib.util

import pytest

from meshproxy.errors import Invalid
from meshproxy.model.address import parse
from meshproxy.observe.log import Log
from meshproxy.server.broker import Broker
from tests.conftest import FakeClock

LISTEN = parse("127.0.0.1:1884")


def test_without_amqtt_it_is_refused(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Invalid) as refused:
        Broker(LISTEN, Log(), clock)
    (problem,) = refused.value.problems
    assert str(problem) == "broker: `broker` needs the package amqtt, which is not there: install meshproxy[broker]"
