"""Applications, proxies and clients of the tests: sockets of some user on some host of a lab."""

from __future__ import annotations

import ctypes
import re
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from meshproxy.net.origdst import original
from meshproxy.redirect.layouts import MESHPROXY, Layout
from meshproxy.redirect.plan import Plan
from tests.lab import Host, Lab

LONGEST = 5.0
LOST = 0.3
"""How long a packet that never comes is waited for."""
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
ANYBODY = 1000
BACKENDS = ("iptables", "nftables")
FAMILIES = (4, 6)

_libc = ctypes.CDLL(None)


def plan(layout: Layout = MESHPROXY, **more: object) -> Plan:
    said: dict[str, object] = {
        "outbound_port": layout.outbound_port,
        "inbound_port": layout.inbound_port,
        "uids": (layout.uid,),
        "own_calls": layout.own_calls,
        **more,
    }
    return Plan(layout, **said)  # type: ignore[arg-type]


@contextmanager
def user(uid: int) -> Iterator[None]:
    """Sockets that are made here are that user's: only this thread, and nothing else of it, is changed."""
    _libc.setfsuid(uid)
    try:
        yield
    finally:
        _libc.setfsuid(0)


class Net:
    """One family of a lab of an `app` and a `client`: every address here is of that family."""

    def __init__(self, lab: Lab, version: int) -> None:
        self.lab = lab
        self.kind = socket.AF_INET if version == 4 else socket.AF_INET6
        self.app, self.client = ((lab[x].v4 if version == 4 else lab[x].v6) for x in ("app", "client"))
        self.lo = "127.0.0.1" if version == 4 else "::1"
        self.wild = "0.0.0.0" if version == 4 else "::"
        self._level = (socket.IPPROTO_IP, IP_TRANSPARENT) if version == 4 else (socket.IPPROTO_IPV6, IPV6_TRANSPARENT)
        self._opened: list[socket.socket] = []

    def made(self, host: str, kind: int = socket.SOCK_STREAM, uid: int = 0, transparent: bool = False) -> socket.socket:
        with self.lab[host].inside(), user(uid):
            sock = socket.socket(self.kind, kind)
        self._opened.append(sock)
        sock.settimeout(LONGEST)
        if transparent:
            sock.setsockopt(*self._level, 1)
        if self.kind == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        return sock

    def listen(self, host: str, port: int, *, uid: int = 0, transparent: bool = False) -> socket.socket:
        sock = self.made(host, uid=uid, transparent=transparent)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((self.wild, port))
        sock.listen()
        return sock

    def connect(
        self, host: str, to: tuple[str, int], *, uid: int = ANYBODY, source: str = "", transparent: bool = False
    ) -> socket.socket:
        sock = self.made(host, uid=uid, transparent=transparent)
        if source:
            sock.bind((source, 0))
        sock.connect(to)
        return sock

    def lost(self, host: str, to: tuple[str, int]) -> bool:
        sock = self.made(host)
        sock.settimeout(LOST)
        try:
            sock.connect(to)
        except TimeoutError:
            return True
        return False

    def accepted(self, sock: socket.socket) -> socket.socket:
        conn, _ = sock.accept()
        self._opened.append(conn)
        conn.settimeout(LONGEST)
        return conn

    def reached(self, *where: socket.socket) -> tuple[int, tuple[str, int]]:
        """The port of the listener that has got a connection, and where that was made to."""
        ready, _, _ = select.select(where, [], [], LONGEST)
        assert len(ready) == 1
        return ready[0].getsockname()[1], original(self.accepted(ready[0]))

    def close(self) -> None:
        for sock in self._opened:
            sock.close()


def talk(one: socket.socket, other: socket.socket) -> None:
    """Each hears what the other says."""
    one.sendall(b"ask")
    assert other.recv(9) == b"ask"
    other.sendall(b"answer")
    assert one.recv(9) == b"answer"


_COUNTED = re.compile(r"^#.*$|\[\d+:\d+\]|counter packets \d+ bytes \d+", re.M)
_OF_THE_SWITCH = re.compile(r"^.* dev eth0.*\n", re.M)
_ROUTES = ["route", "show", "table", "all"]


def standing(host: Host) -> str:
    """All rules of each chain, and all ways: without what is counted, and what the kernel itself adds by and by."""
    found = []
    for command in (["nft", "-s", "list", "ruleset"], ["iptables-save"], ["ip6tables-save"]):
        table = chain = ""
        for line in _COUNTED.sub("", host.run(*command)).splitlines():
            if line.startswith(("table", "*")):
                table, chain = line, ""
            elif word := re.match(r"\tchain (\S+)|:(\S+)|-A (\S+)", line):
                chain = word[1] or word[2] or word[3]
            found.append((command[0], table, chain, line))
    ways = [host.run("ip", family, *what) for family in ("-4", "-6") for what in (["rule"], _ROUTES)]
    # In which order chains are listed is only how old they are.
    found.sort(key=lambda each: each[:3])
    rules = [f"{table} {chain}: {line}" for _, table, chain, line in found if line.strip("\t}")]
    return "\n".join([*rules, *(_OF_THE_SWITCH.sub("", way) for way in ways)])
