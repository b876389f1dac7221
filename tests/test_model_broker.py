"""What an operator can say about the broker beside the proxy."""

from __future__ import annotations

import re
from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, combine, decode


def combined(running: Config | None = None, **said: Any) -> Config:
    return combine([Document("t", decode(Config, said), frozenset(said), lambda _: None)], running)


def test_it_needs_an_address_and_nothing_else() -> None:
    broker = combined(broker={"listen": "127.0.0.1:1884"}).broker
    assert broker is not None
    assert str(broker.listen) == "127.0.0.1:1884"
    assert combined().broker is None


@pytest.mark.parametrize(
    "wrong", ["0.0.0.0:1884", "192.0.2.1:1884", "127.0.0.1:0", "unix:/tmp/broker.sock", "[::]:1", 1884]
)
def test_who_lets_everybody_in_is_on_loopback(wrong: Any) -> None:
    with pytest.raises(Invalid) as refused:
        decode(Config, {"broker": {"listen": wrong}})
    (problem,) = refused.value.problems
    assert problem.message.startswith("`listen` must be an address on loopback such as 127.0.0.1:1884, for it lets ")


def test_an_address_is_taken_once() -> None:
    with pytest.raises(Invalid, match=re.escape("`listen` 127.0.0.1:1884 is already taken by `admin`")):
        combined(broker={"listen": "127.0.0.1:1884"}, admin={"listen": "127.0.0.1:1884"})


def test_it_belongs_to_the_process() -> None:
    running = combined(broker={"listen": "127.0.0.1:1884"})
    assert combined(running).broker == running.broker
    with pytest.raises(Invalid, match="`broker` belongs to the process and cannot change while it runs"):
        combined(running, broker={"listen": "127.0.0.1:1885"})
