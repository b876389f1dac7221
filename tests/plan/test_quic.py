"""Where QUIC is asked for and its library is not there, the key that asks for it is named."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, decode
from meshproxy.plan.quic import quic_dial, quic_doors

PAPERS = {"certificate": "edge.pem", "key": "edge.key"}
FILES = dict.fromkeys(("edge.pem", "edge.key", "ca.pem"), "-----BEGIN X-----")
DIALLED: dict[str, Any] = {"dial": "127.0.0.1:1", "tls": {**PAPERS, "ca": "ca.pem", "names": ["shop/centre"]}}
INSTALL = "needs the library aioquic: pip install 'meshproxy[quic]'"


class World:
    """As much of it as is looked at before the library is."""

    papers = FILES
    trust_domain = "cluster.local"


@pytest.fixture(autouse=True)
def without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aioquic.quic.configuration", None)


def told(caught: pytest.ExceptionInfo[Invalid]) -> list[tuple[str, str]]:
    return [(problem.path, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize("transport", ["quic", "race"])
def test_a_tunnel_that_is_dialled_by_it(transport: str) -> None:
    world: Any = World()
    (said,) = decode(Config, {"tunnels": {"centre": {**DIALLED, "transport": transport}}}).tunnels
    with pytest.raises(Invalid) as caught:
        quic_dial(said, world, 1.0)
    assert told(caught) == [("tunnels.centre.transport", f"`transport` {transport} {INSTALL}")]


def test_a_listener_of_it() -> None:
    world: Any = World()
    tls = {**PAPERS, "client_ca": "ca.pem"}
    (said,) = decode(
        Config, {"listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "quic", "tls": tls}]}
    ).listeners
    with pytest.raises(Invalid) as caught:
        quic_doors(said, world, world, world, world)
    assert told(caught) == [("listeners.in.protocol", f"`protocol` quic {INSTALL}")]
