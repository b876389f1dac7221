"""What can be said about fronts, and what is refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshproxy.dialects import read
from meshproxy.errors import Invalid
from meshproxy.model import Config, combine
from meshproxy.model.fronts import MOST_FRONTS

FSM: dict[str, Any] = {"kind": "fsm", "listen": ["0.0.0.0:15000", "[::]:15000"], "quit": True}


def read_whole(*fronts: dict[str, Any], running: Config | None = None, **more: Any) -> Config:
    return combine([read(json.dumps({"fronts": fronts, **more}).encode(), "f")], running)


def refused(*fronts: dict[str, Any], **more: Any) -> list[str]:
    with pytest.raises(Invalid) as invalid:
        read_whole(*fronts, **more)
    return [f"{problem.path}: {problem.message}" for problem in invalid.value.problems]


def test_nothing_is_ended_unless_that_is_said() -> None:
    (found,) = read_whole({"kind": "fsm", "listen": "127.0.0.1:15001"}).fronts
    assert (found.quit, [str(address) for address in found.listen]) == (False, ["127.0.0.1:15001"])


def test_only_a_sidecar_can_be_ended() -> None:
    assert refused({"kind": "pipy", "listen": "127.0.0.1:6060", "quit": True}) == [
        "fronts[0].quit: `quit` is for `kind: fsm`, not for pipy: nothing is ended there"
    ]


def test_an_address_is_had_once() -> None:
    taken = {"kind": "pipy", "listen": "127.0.0.1:15000"}
    admin = {"listen": "127.0.0.1:15001"}
    assert refused(FSM, taken, admin=admin) == [
        "fronts[1].listen: `listen` 127.0.0.1:15000 is already taken by `fronts[0]`, 0.0.0.0:15000"
    ]
    assert "already taken by `admin`, 127.0.0.1:15000" in refused(FSM)[0]


def test_there_are_not_any_number_of_them() -> None:
    many = [{"kind": "pipy", "listen": f"127.0.0.1:{port}"} for port in range(1, MOST_FRONTS + 2)]
    assert refused(*many) == [f"fronts: `fronts` has {MOST_FRONTS + 1} entries, more than {MOST_FRONTS}"]


def test_they_belong_to_the_process() -> None:
    admin = {"listen": "127.0.0.1:15001"}
    running = read_whole(FSM, admin=admin)
    assert read_whole(FSM, running=running, admin=admin).fronts == running.fronts
    assert refused(running=running, admin=admin) == [
        "fronts: `fronts` belongs to the process and cannot change while it runs: restart meshproxy"
    ]
