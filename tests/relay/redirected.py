"""A proxy to which the kernel redirects connections, in a network of its own: for `test_redirected.py`.

    unshare --net python -m tests.relay.redirected
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
from contextlib import ExitStack, suppress

from tests.conftest import FakeClock, Upstream, World

PORT = 15001
FOUR, SIX = "10.9.9.9", "fd00::9"
"""Addresses of this host, which has no others but those of loopback."""
SOURCE, SOURCE_SIX = "127.0.0.6", "fd00::6"
"""Whom the kernel lets pass: it is the proxy."""


def prepare() -> None:
    """Everything but what the proxy sends itself is redirected to it, or goes there anyway."""
    run("ip link set lo up")
    run(f"ip address add {FOUR}/32 dev lo")
    for address in (SIX, SOURCE_SIX):
        run(f"ip address add {address}/128 dev lo nodad")
    for tool, source, host in (("iptables", SOURCE, FOUR), ("ip6tables", SOURCE_SIX, SIX)):
        run(f"{tool} -t nat -A OUTPUT -p tcp ! -s {source} -d {host} ! --dport {PORT} -j REDIRECT --to-ports {PORT}")


def run(command: str) -> None:
    subprocess.run(command.split(), check=True)


def config() -> dict[str, object]:
    listener = {
        "name": "in",
        "listen": [f"0.0.0.0:{PORT}", f"[::]:{PORT}"],
        "protocol": "tcp",
        "transparent": True,
        "chains": [
            {"match": {"destinations": [FOUR, SIX], "ports": [9000]}, "cluster": "shop"},
            {"match": {"destinations": ["fd00::/64"]}, "cluster": "six"},
        ],
        "cluster": "four",
    }
    clusters = {
        "shop": {"endpoints": ["127.0.0.1:9001"]},
        "four": {"original": True, "source": SOURCE},
        "six": {"original": True, "source": SOURCE_SIX},
    }
    return {"listeners": [listener], "clusters": clusters}


async def scenario() -> None:
    world = World(FakeClock())
    loop = asyncio.get_running_loop()
    shop = Upstream(address=("127.0.0.1", 9001))
    four, six = Upstream(address=(FOUR, 9002)), Upstream(socket.AF_INET6, (SIX, 9002))
    await world.apply(config())
    ways = [
        ((FOUR, 9000), shop, ""), ((SIX, 9000), shop, ""), ((FOUR, 9002), four, SOURCE), ((SIX, 9002), six, SOURCE_SIX)
    ]
    with ExitStack() as stack:
        for number, (wanted, behind, source) in enumerate(ways):
            sock = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in wanted[0] else socket.AF_INET))
            sock.setblocking(False)
            await loop.sock_connect(sock, wanted)
            words = f"way {number}".encode()
            await loop.sock_sendall(sock, words)
            peer = await behind.accept()
            assert await peer.recv() == words
            assert not source or peer.sock.getpeername()[0] == source
        # To the proxy itself, past any redirection.
        direct = stack.enter_context(socket.create_connection((FOUR, PORT)))
        direct.setblocking(False)
        with suppress(ConnectionResetError):
            assert not await loop.sock_recv(direct, 1), "it was served"
    assert world.stats.listeners["in"].rejected["loop"] == 1
    assert [world.stats.clusters[name].connections_total for name in ("shop", "four", "six")] == [2, 1, 1]
    world.end()


if __name__ == "__main__":
    prepare()
    asyncio.run(asyncio.wait_for(scenario(), 20))
    print("redirected")
