"""Connections to names: the address that a name alone has leads to its chain."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from tests.conftest import Upstream, World
from tests.relay.name_server import Stub
from tests.wire import dns_messages as dns

Run = Callable[[Coroutine[Any, Any, None]], None]

ONE_LOOP = True
NAMES = {"db.example.com": "virtual", "Mail.Example.Com.": "virtual", "real.test": "10.0.0.1"}


def config(**clusters: Upstream) -> dict[str, Any]:
    chains = [
        {"match": {"names": ["DB.example.com"], "ports": [5432]}, "cluster": "db"},
        {"match": {"names": ["mail.example.com"], "destinations": ["fd00:240::/64"]}, "cluster": "mail"},
    ]
    outbound = {
        "name": "out", "listen": "127.0.0.1:0", "protocol": "tcp", "proxy_protocol": {"trusted": ["127.0.0.1/32"]},
        "chains": chains, "cluster": "other",
    }  # fmt: skip
    return {
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "dns"}, outbound],
        "dns": {"names": NAMES, "unknown": "refuse"},
        "clusters": {name: {"endpoints": [upstream.address]} for name, upstream in clusters.items()},
    }


async def arrives(world: World, address: str, port: int, upstream: Upstream) -> None:
    client = await world.connect("out")
    family, source = ("TCP6", "fd00::9") if ":" in address else ("TCP4", "10.9.9.9")
    await client.send(f"PROXY {family} {source} {address} 1 {port}\r\nhello".encode())
    peer = await upstream.accept()
    assert await peer.recv() == b"hello"


def test_a_connection_to_a_name(run: Run, world: Callable[[], World]) -> None:
    async def scenario() -> None:
        w, db, mail, other = world(), Upstream(), Upstream(), Upstream()
        await w.apply(config(db=db, mail=mail, other=other))
        stub = Stub(w)
        found = {
            name: [(await stub.ask(name, kind)).addresses[0] for kind in (dns.A, dns.AAAA)]
            for name in ("db.example.com", "mail.example.com")
        }
        stub.close()
        of_db, of_mail = found.values()
        assert not {*of_db} & {*of_mail}
        assert all(four.startswith("240.240.") and six.startswith("fd00:240::") for four, six in found.values())
        for address in of_db:
            await arrives(w, address, 5432, db)
        await arrives(w, of_db[0], 25, other)
        await arrives(w, of_mail[1], 25, mail)
        await arrives(w, of_mail[0], 25, other)
        await arrives(w, "10.0.0.1", 5432, other)

    run(scenario())
