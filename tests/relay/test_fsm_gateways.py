"""A document of FSM with egress gateways, which are proxies of our own: what leaves is seen there, and arrives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.dialects import read, translated
from meshproxy.dialects.translation import Setting
from meshproxy.model import Config, combine, decode
from meshproxy.net.clock import LoopClock
from tests.conftest import World
from tests.relay.conversation import heard
from tests.relay.test_through_ourselves import HERE, forward
from tests.relay.test_transparent import Kernel

ONE_LOOP = True

Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

MODES = {"http2tunnel": "h2", "sock5": "socks5"}
SETTING = Setting(sidecar=decode(Config, {"sidecar": {"outbound": "127.0.0.1:0"}}).sidecar)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def at(address: str) -> dict[str, Any]:
    return {"Endpoints": {address: {"Weight": 100}}}


def workload(mode: str, gateway: str, endpoint: str) -> Config:
    """Calls to `far.example` at 80 leave by a rule, and connections that nobody knows by the one for everything."""
    service = {
        "RouteRules": [{"Path": ".*", "TargetClusters": {"far.example:80": 100}}],
        "EgressForwardGateway": "ns.rule.0",
    }
    match = {
        "Protocol": "http",
        "HttpHostPort2Service": {"far.example": "far"},
        "HttpServiceRouteRules": {"far": service},
    }
    document = {
        "Spec": {"ServiceIdentity": "buyer.shop", "Traffic": {"EnableEgress": True}},
        "Outbound": {"TrafficMatches": {"80": [match]}, "ClustersConfigs": {"far.example:80": at(endpoint)}},
        "Forward": {
            "ForwardMatches": {"*": {"gw.egress": 100}, "ns.rule.0": {"gw.egress": 100}},
            "EgressGateways": {"gw.egress": {**at(gateway), "Mode": mode}},
        },
    }
    return combine(translated([read(json.dumps(document).encode(), "config.json")], SETTING).documents)


@pytest.mark.parametrize("mode", MODES)
def test_what_leaves_goes_through_the_gateway(run: Run, upstream: Upstream, kernel: Kernel, mode: str) -> None:
    async def scenario() -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        sidecar, gateway, up = World(clock), World(clock), upstream()
        await gateway.apply(forward(MODES[mode], HERE, open_to_all=True))
        asked = gateway.stats.listeners["proxy"]
        await sidecar.fleet.prepare(workload(mode, "{}:{}".format(*gateway.address("proxy")), up.address))
        await sidecar.fleet.commit()

        kernel.redirects("192.0.2.7:80")
        peer = await sidecar.connect("outbound")
        await peer.send(b"GET /books HTTP/1.1\r\nHost: far.example\r\n\r\n")
        behind = await up.accept()
        head = await behind.recv()
        assert head.startswith(b"GET /books HTTP/1.1\r\nHost: far.example\r\n")
        assert b"serviceidentity: buyer.shop\r\n" in head.lower()
        await behind.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await heard(peer, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert asked.connections_total == 1

        kernel.redirects(up.address)
        other = await sidecar.connect("outbound")
        await other.send(b"hello")
        behind = await up.accept()
        await heard(behind, b"hello")
        await behind.send(b"welcome")
        await heard(other, b"welcome")
        # Streams of one connection, or a connection for each.
        assert asked.connections_total == (1 if mode == "http2tunnel" else 2)

    run(scenario())
