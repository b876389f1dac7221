"""A new version of a host proxy in the place of the old one under load, as systemd would have it: nobody is refused."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import LONGEST, poll
from tests.e2e.upgrade_tools import Load, behind
from tests.pki import Pki

ONE_LOOP = True
UNITS = Path(__file__).parent.parent.parent / "deploy" / "systemd"
KINDS = {"http": socket.SOCK_STREAM, "tls": socket.SOCK_STREAM, "mqtt": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
ACTIVATE = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(",")]
for place, fd in enumerate(fds, 3):
    os.dup2(fd, place)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))
os.execv(sys.executable, [sys.executable, "-m", "meshproxy", *sys.argv[2:]])
"""


class Systemd:
    """As much of it as a service sees: it holds sockets, starts a process, and is told how far that is."""

    def __init__(self, directory: Path, servers: dict[str, str]) -> None:
        # First: where there are no certificates the test is skipped, and nothing may be left open.
        ca = Pki(directory).ca()
        self.directory = directory
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(directory / "notify"))
        self.notified.settimeout(LONGEST)
        self.sockets = {kind: bound(type_) for kind, type_ in KINDS.items()}
        self.processes: list[subprocess.Popen[bytes]] = []
        pair = ca.issue("shop/web", dns=["shop.local"])
        self.trust = ssl.create_default_context(cafile=str(ca.root))
        listen = {kind: "{}:{}".format(*sock.getsockname()) for kind, sock in self.sockets.items()}
        web = {"protocol": "http", "routes": "web"}
        said = {
            "admin": {"listen": f"unix:{directory}/admin"},
            "workers": 2,
            "drain": {"delay": 0, "timeout": "1s"},
            "listeners": [
                {"name": "http", "listen": listen["http"], **web},
                {"name": "tls", "listen": listen["tls"], **web, "tls": papers(pair)},
                {"name": "mqtt", "listen": listen["mqtt"], "protocol": "mqtt", "cluster": "mqtt"},
                {"name": "udp", "listen": listen["udp"], "protocol": "udp", "cluster": "udp"},
            ],
            "routes": {"web": [{"reply": {"status": 200, "body": "served"}}]},
            "clusters": {kind: {"endpoints": [address]} for kind, address in servers.items()},
        }
        (directory / "proxy.yaml").write_text(yaml.safe_dump(said))

    @property
    def command(self) -> list[str]:
        return ["run", "-c", str(self.directory / "proxy.yaml"), "--state-dir", str(self.directory / "state")]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "NOTIFY_SOCKET": str(self.directory / "notify"), "WATCHDOG_USEC": "400000"}

    def load(self) -> Load:
        return Load({kind: sock.getsockname() for kind, sock in self.sockets.items()}, self.trust)

    def activate(self) -> subprocess.Popen[bytes]:
        """The service, with the sockets that stay here."""
        fds = [sock.fileno() for sock in self.sockets.values()]
        return self.start([sys.executable, "-c", ACTIVATE, ",".join(map(str, fds)), *self.command], pass_fds=fds)

    def start(self, command: list[str], **more: Any) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("ab") as log:
            environment = {**self.environment, **more.pop("env", {})}
            process = subprocess.Popen(command, stderr=log, env=environment, **more)
        self.processes.append(process)
        return process

    def hears(self, beginning: str) -> str:
        """The next message of this kind."""
        return str(poll(lambda: next((said for said in self._said() if said.startswith(beginning)), None), beginning))

    def _said(self) -> Iterator[str]:
        yield self.notified.recv(4096).decode()

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(LONGEST)
        for sock in (self.notified, *self.sockets.values()):
            sock.close()


def bound(kind: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        sock.listen(4096)
    return sock


def papers(pair: Any) -> dict[str, str]:
    return {"certificate": str(pair.certificate), "key": str(pair.key)}


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    with behind() as servers:
        host = Systemd(tmp_path, servers)
        try:
            yield host
        finally:
            host.close()


def goes_on(load: Load) -> None:
    since = load.done.copy()
    poll(lambda: load.gone_on(since, 5), f"everybody is served: {load.done - since}, {load.problems}")


def few_were_lost(load: Load) -> bool:
    """Of each kind two clients, who had a connection and nothing under way on it, or were cut when time was over."""
    return all(times <= 4 for times in load.lost.values())


def test_a_restart_behind_sockets_of_systemd_refuses_nobody(systemd: Systemd) -> None:
    proxy = systemd.activate()
    systemd.hears("READY=1")
    with systemd.load() as load:
        goes_on(load)
        proxy.terminate()
        assert proxy.wait(LONGEST) == 0
        systemd.activate()
        systemd.hears("READY=1")
        goes_on(load)
    assert not load.problems
    assert few_were_lost(load)


def test_an_upgrade_by_a_reload_refuses_nobody_and_the_watchdog_hears_the_new_one(systemd: Systemd) -> None:
    proxy = systemd.activate()
    systemd.hears("READY=1")
    with systemd.load() as load:
        goes_on(load)
        reload = upgraded(systemd, proxy)
        heir = int(systemd.hears("MAINPID=").partition("=")[2])
        assert proxy.wait(LONGEST) == 0
        assert reload.wait(LONGEST) == 0
        try:
            systemd.hears("WATCHDOG=1")
            goes_on(load)
        finally:
            load.__exit__()
            os.kill(heir, signal.SIGTERM)
            systemd.hears("STOPPING=1")
    assert not load.problems
    assert few_were_lost(load)


def test_an_upgrade_that_fails_is_told_and_nothing_has_happened(systemd: Systemd) -> None:
    proxy = systemd.activate()
    systemd.hears("READY=1")
    said = yaml.safe_load((systemd.directory / "proxy.yaml").read_text())
    with bound(socket.SOCK_STREAM) as taken:
        clash = "{}:{}".format(*taken.getsockname())
        said["listeners"].append({**said["listeners"][0], "name": "clash", "listen": clash})
        (systemd.directory / "proxy.yaml").write_text(yaml.safe_dump(said))
        assert upgraded(systemd, proxy).wait(LONGEST) == 4
    assert proxy.poll() is None


def upgraded(systemd: Systemd, proxy: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """What `systemctl reload` starts. systemd means the watchdog for this script."""
    return systemd.start(
        [str(UNITS / "meshproxy-upgrade"), sys.executable, "-m", "meshproxy", *systemd.command],
        env={"MAINPID": str(proxy.pid), "WATCHDOG_PID": "1"},
    )


@pytest.mark.parametrize("unit", sorted(path.name for path in UNITS.glob("*.service")))
def test_a_unit_is_one_that_systemd_understands(unit: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here (scripts/install-peers)")
    for path in UNITS.glob("*.service"):
        text = path.read_text().replace("=meshproxy ", f"={sys.executable} -m meshproxy ")
        (tmp_path / path.name).write_text(text)
    (tmp_path / "meshproxy.service.d").mkdir()
    upgrade = (UNITS / "meshproxy-upgrade.conf").read_text()
    upgrade = upgrade.replace("=/usr/local/lib/meshproxy", f"={UNITS}")
    (tmp_path / "meshproxy.service.d" / "upgrade.conf").write_text(upgrade)
    name = unit.replace("@.", "@shop.")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)],
        capture_output=True, text=True, check=False, timeout=LONGEST,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line or name in line]
    # Before 253 this type is not known, and nothing else may be said.
    assert [line for line in said if "ignoring: notify-reload" not in line] == [], done.stderr
