"""Hosts of our own: network namespaces that are joined by a switch, and gone afterwards.

    with Lab("app", "client") as lab:
        lab["app"].run("iptables", "-t", "nat", "-S")              # a command on that host
        served = lab["app"].start(["nginx", ...], uid=1500)        # a process that ends with the lab
        with lab["client"].inside():                               # a socket that is made here belongs to that host
            sock = socket.create_connection((lab["app"].v4, 80))

Every host has loopback, an address of each family on the switch, and a way to all others by it.  The processes may read
what root may, whoever they are: a checkout need not be readable for everybody.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parent.parent
NEEDED = ("ip", "setpriv", "iptables", "ip6tables", "nft")
NAMESPACE = 0x40000000
"""CLONE_NEWNET."""
LONGEST = 20.0


@cache
def missing() -> str:
    """What it would take to have such hosts, in words; nothing, if it is all there."""
    if os.geteuid() != 0:
        return "only root may make a network namespace"
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        return f"no {', '.join(absent)} here (scripts/install-peers)"
    try:
        with Lab("probe") as lab:
            for tool in ("iptables", "ip6tables"):
                lab["probe"].run(tool, *"-t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 1".split())
            lab["probe"].run("nft", "add table inet probe")
    except subprocess.CalledProcessError as error:
        return f"no network namespace with rules here: {error.stderr.strip()}"
    return ""


class Host:
    """One of them."""

    def __init__(self, name: str, namespace: str, number: int, stack: ExitStack) -> None:
        self.name = name
        self.namespace = namespace
        self.v4 = f"10.77.0.{number}"
        self.v6 = f"fd77::{number:x}"
        self._stack = stack

    def run(self, *command: str, **more: Any) -> str:
        """What it prints, as root.  Raises CalledProcessError."""
        return self.finish(command, **{"check": True, **more}).stdout

    def finish(
        self, command: Sequence[str], *, uid: int | None = None, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """A command until its end, as this user."""
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": LONGEST, **more}
        return subprocess.run(self._command(command, uid, ()), **options)

    def cleanup(self, action: Callable[..., object], *arguments: object) -> None:
        """To be done when the lab is gone."""
        self._stack.callback(action, *arguments)

    def start(
        self, command: Sequence[str], *, uid: int | None = None, capabilities: Sequence[str] = (), **more: Any
    ) -> subprocess.Popen[Any]:
        """A process that runs until it, or the lab, is ended; as root unless said."""
        process = subprocess.Popen(self._command(command, uid, capabilities), **more)
        self._stack.callback(_end, process)
        return process

    def python(self, *arguments: str, **more: Any) -> subprocess.Popen[Any]:
        """`start` of this interpreter, which finds meshproxy and the tests."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **more.pop("env", {})}
        return self.start([sys.executable, *arguments], env=environment, cwd=more.pop("cwd", ROOT), **more)

    def inside(self) -> AbstractContextManager[None]:
        """This thread is on that host: sockets that it makes stay there."""
        return inside(self.namespace)

    def _command(self, command: Sequence[str], uid: int | None, capabilities: Sequence[str]) -> list[str]:
        entered = ["ip", "netns", "exec", self.namespace]
        return [*entered, *(command if uid is None else somebody(uid, command, capabilities))]


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread is in that namespace, by its name."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(there)
        yield
    finally:
        _enter(here)
        os.close(there)
        os.close(here)


def somebody(uid: int, command: Sequence[str], capabilities: Sequence[str] = ()) -> list[str]:
    """The command as this user, who may read what root may, and do what else is said."""
    may = ",".join(f"+{name}" for name in ("dac_read_search", *capabilities))
    who = ("--reuid", str(uid), "--regid", str(uid), "--clear-groups")
    return ["setpriv", *who, "--inh-caps", may, "--ambient-caps", may, *command]


class Lab:
    """All of them, from the first one at x.x.x.1."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._stack = ExitStack()
        self._hosts: dict[str, Host] = {}

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name]

    def __enter__(self) -> Lab:
        try:
            switch = self._namespace("switch")
            _ip(f"-n {switch} link add switch type bridge")
            _ip(f"-n {switch} link set switch up")
            for number, name in enumerate(self._names, 1):
                host = Host(name, self._namespace(name), number, self._stack)
                self._join(host, switch, number)
                self._hosts[name] = host
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _namespace(self, name: str) -> str:
        full = f"mesh{os.getpid()}-{id(self) & 0xFFFFFF:x}-{name}"
        _ip(f"netns add {full}")
        self._stack.callback(_ip, f"netns del {full}")
        _ip(f"-n {full} link set lo up")
        return full

    def _join(self, host: Host, switch: str, number: int) -> None:
        there = f"port{number}"
        _ip(f"-n {switch} link add {there} type veth peer name eth0 netns {host.namespace}")
        _ip(f"-n {switch} link set {there} master switch up")
        _ip(f"-n {host.namespace} addr add {host.v4}/24 dev eth0")
        _ip(f"-n {host.namespace} addr add {host.v6}/64 dev eth0 nodad")
        _ip(f"-n {host.namespace} link set eth0 up")


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True, capture_output=True, text=True, timeout=LONGEST)


def _enter(namespace: int) -> None:
    libc: Callable[..., int] = ctypes.CDLL(None, use_errno=True).setns
    if libc(namespace, NAMESPACE):
        raise OSError(ctypes.get_errno(), "setns")


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(5.0)
        return
    process.kill()
    process.wait(5.0)
