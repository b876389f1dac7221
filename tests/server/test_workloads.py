"""Workloads behind one proxy, over changes: what one of them gets anew leaves the others all that they have."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from meshproxy.admin.reload import Change, Layer
from meshproxy.dialects import read
from meshproxy.model import Config, combine, encode
from tests.server.test_worker import free_port

ONE_LOOP = True
Run = Callable[[Coroutine[Any, Any, None]], None]
ADDRESSES = {"books": "127.9.0.1", "carts": "127.9.0.2"}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def policy(port: int, app: int, requests: int) -> str:
    """So many requests in an hour, by anybody."""
    rule = {"Path": ".*", "Type": "Regex", "TargetClusters": {"app": 100}}
    limit = {"Local": {"Requests": requests, "StatTimeWindow": 3600}}
    match = {
        "Port": port,
        "Protocol": "http",
        "HttpHostPort2Service": {"shop": "shop"},
        "HttpServiceRouteRules": {"shop": {"RouteRules": [{**rule, "RateLimit": limit}]}},
    }
    clusters = {"app": {"Endpoints": {f"127.0.0.1:{app}": {"Weight": 100}}}}
    inbound = {"TrafficMatches": {str(port): match}, "ClustersConfigs": clusters}
    return json.dumps({"Spec": {}, "Inbound": inbound, "AllowedEndpoints": {"127.0.0.0/8": "all"}})


def config(port: int, **policies: str) -> dict[str, Any]:
    said = {
        "drain": {"timeout": "10s"},
        "sidecar": {"inbound": f"0.0.0.0:{port}"},
        "workloads": [
            {"name": name, "namespace": "shop", "service_account": name, "addresses": [ADDRESSES[name]], "layer": name}
            for name in policies
        ],
    }
    layers = {"default": json.dumps(said), **policies}
    made = {name: Layer((read(text.encode(), name),)) for name, text in layers.items()}
    return encode(Change.of(made, Config(), combine).config)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    await reader.readexactly(int(length.partition(b":")[2]))
    return int(head.split()[1])


class Apps:
    """An application for each workload, that counts its connections."""

    def __init__(self) -> None:
        self.connections = dict.fromkeys(ADDRESSES, 0)
        self.port = 0

    async def start(self) -> Sequence[asyncio.Server]:
        self.port = free_port()
        return [await asyncio.start_server(self._serving(name), at, self.port) for name, at in ADDRESSES.items()]

    def _serving(self, name: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections[name] += 1
            try:
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(ANSWER)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        return serve


def test_what_one_gets_anew_leaves_the_others_their_pools_and_limits(run: Run, world: Callable[[], Any]) -> None:
    async def scenario() -> None:
        w, apps, port = world(), Apps(), free_port()
        servers = await apps.start()
        await w.apply(config(port, books=policy(port, apps.port, 9), carts=policy(port, apps.port, 3)))
        carts = await asyncio.open_connection(ADDRESSES["carts"], port)
        books = await asyncio.open_connection(ADDRESSES["books"], port)
        assert [await ask(*carts), await ask(*carts), await ask(*books)] == [200, 200, 200]
        await w.apply(config(port, books=policy(port, apps.port, 1), carts=policy(port, apps.port, 3)))
        again = await asyncio.open_connection(ADDRESSES["carts"], port)
        assert [await ask(*again), await ask(*carts)] == [200, 429]
        assert apps.connections["carts"] == 1
        assert [await ask(*books), await ask(*books)] == [200, 429]
        assert w.stats.clusters["carts/app"].connections_total == 1
        for server in servers:
            server.close()
        for _, writer in (carts, books, again):
            writer.close()

    run(scenario())


def test_who_is_gone_is_asked_nothing_more_and_the_others_are(run: Run, world: Callable[[], Any]) -> None:
    async def scenario() -> None:
        w, apps, port = world(), Apps(), free_port()
        servers = await apps.start()
        both = {name: policy(port, apps.port, 99) for name in ADDRESSES}
        await w.apply(config(port, **both))
        carts = await asyncio.open_connection(ADDRESSES["carts"], port)
        books = await asyncio.open_connection(ADDRESSES["books"], port)
        assert [await ask(*carts), await ask(*books)] == [200, 200]
        del both["books"]
        await w.apply(config(port, **both))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await ask(*books)
        assert await ask(*carts) == 200
        with pytest.raises(ConnectionError):
            late, _ = await asyncio.open_connection(ADDRESSES["books"], port)
            await late.readexactly(1)
        assert w.stats.listeners["inbound"].rejected["no_chain"] == 1
        for server in servers:
            server.close()
        for _, writer in (carts, books):
            writer.close()

    run(scenario())
