"""The kernel hands connections over as they are, and the one that goes on has its client's address."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from meshproxy.errors import CannotBind
from meshproxy.net.address import let_pass_as_others
from tests.conftest import Client, FakeClock, Upstream, World
from tests.lab import Host, Lab, needs_lab

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]
PORT, APP = 15003, 8080
MARK, TABLE = "1539", "133"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    needs_lab()
    with Lab("pod", "client") as lab:
        for family in ("4", "6"):
            prepare(lab["pod"], family)
        yield lab


def prepare(pod: Host, family: str) -> None:
    """What comes for the application is handed to the proxy; what it answers to an address that the proxy has borrowed
    is led to the proxy too: such connections are marked when they begin."""
    tables, own = ("iptables", pod.v4) if family == "4" else ("ip6tables", pod.v6)
    for rule in (
        f"PREROUTING -p tcp -m socket --transparent -j MARK --set-mark {MARK}",
        "PREROUTING -p tcp -m mark --mark " + MARK + " -j RETURN",
        f"PREROUTING -p tcp -d {own} --dport {APP} -i eth0 -j TPROXY --on-port {PORT} --tproxy-mark {MARK}",
        f"OUTPUT -p tcp -o lo ! -s {own} -d {own} --dport {APP} -j CONNMARK --set-mark {MARK}",
        f"OUTPUT -p tcp -s {own} --sport {APP} -m connmark --mark {MARK} -j MARK --set-mark {MARK}",
    ):
        pod.run(tables, "-t", "mangle", "-A", *rule.split())
    everywhere = "0.0.0.0/0" if family == "4" else "::/0"
    pod.run("ip", f"-{family}", "rule", "add", "fwmark", MARK, "lookup", TABLE)
    pod.run("ip", f"-{family}", "route", "add", "local", everywhere, "dev", "lo", "table", TABLE)


def config() -> dict[str, Any]:
    listener = {
        "name": "in",
        "listen": [f"0.0.0.0:{PORT}", f"[::]:{PORT}"],
        "protocol": "tcp",
        "transparent": True,
        "tproxy": True,
        "chains": [{"match": {"ports": [APP]}, "cluster": "app"}],
    }
    return {"listeners": [listener], "clusters": {"app": {"original": True, "source": "client"}}}


@pytest.mark.parametrize("family", ["4", "6"])
def test_the_application_sees_its_client(run: Run, clock: FakeClock, lab: Lab, family: str) -> None:
    async def scenario() -> None:
        pod, outside = lab["pod"], lab["client"]
        here, there = (pod.v4, outside.v4) if family == "4" else (pod.v6, outside.v6)
        w = World(clock)
        kind = socket.AF_INET if family == "4" else socket.AF_INET6
        with pod.inside():
            app = Upstream(kind, (here, APP))
            await w.apply(config())
            with outside.inside():
                sock = socket.socket(kind)
            sock.setblocking(False)
            client = Client(sock)
            await asyncio.get_running_loop().sock_connect(sock, (here, APP))
            await client.send(b"hello")
            async with asyncio.timeout(5):
                behind = await app.accept()
            assert await behind.recv() == b"hello"
            assert behind.sock.getpeername()[0] == there
            assert behind.sock.getsockname()[:2] == (here, APP)
            await behind.send(b"and back")
            assert await client.recv() == b"and back"
            assert w.stats.clusters["app"].endpoints["original"].connections_total == 1
            w.end()

    run(scenario())


def test_who_may_not_is_told_what_it_takes(
    run: Run, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def may_not(sock: socket.socket) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("meshproxy.net.doors.let_pass_as_others", may_not)

    async def scenario() -> None:
        w = World(clock)
        said = config()
        said["listeners"][0]["listen"] = "127.0.0.1:0"
        with pytest.raises(CannotBind) as caught:
            await w.apply(said)
        (problem,) = caught.value.problems
        assert problem.message == "127.0.0.1:0: `tproxy` takes CAP_NET_ADMIN: Operation not permitted"
        # And then nothing has happened.
        del said["listeners"][0]["tproxy"]
        await w.apply(said)

    run(scenario())


def test_whose_address_cannot_be_kept_is_not_connected_from_ours(
    run: Run, clock: FakeClock, upstream: type[Upstream]
) -> None:
    """The application would take it for somebody of this host."""

    async def scenario() -> None:
        w, up = World(clock), upstream(socket.AF_INET6, ("::1", 0))
        listener = {"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "app"}
        cluster = {"endpoints": [up.address], "source": "client"}
        await w.apply({"listeners": [listener], "clusters": {"app": cluster}})
        with pytest.raises(ConnectionResetError):
            await (await w.connect()).recv()
        assert w.stats.clusters["app"].connect_failures_total == 1

    run(scenario())


def test_a_socket_of_another_kind_has_no_addresses_to_borrow() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        let_pass_as_others(sock)
