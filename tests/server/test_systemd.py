"""systemd: what it hands over is taken or refused with reasons; what it is told cannot be forged or lost."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from meshproxy.errors import Invalid
from meshproxy.server import systemd
from meshproxy.server.systemd import LONGEST_STATUS, MOST_SOCKETS, Notifier, inherited

PATIENCE = 120
"""Seconds, which a machine under load may need for a second's work; nothing here waits that long by itself."""

# Sockets

OUT_OF_THE_WAY = 600
"""The tests have their own files at 3; what is handed over to them begins at the first free descriptor from here."""


class Manager:
    """Hands descriptors over as systemd does, but for the place where they begin."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._next = OUT_OF_THE_WAY
        self._patch = monkeypatch
        self.made: list[socket.socket] = []

    def opened(self, family: int, kind: int, address: object = None) -> socket.socket:
        sock = socket.socket(family, kind)
        self.made.append(sock)
        if address is not None:
            sock.bind(address)  # type: ignore[arg-type]
            if kind == socket.SOCK_STREAM:
                sock.listen()
        return sock

    def tcp(self) -> socket.socket:
        return self.opened(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))

    def hand_over(self, *descriptors: int, names: str = "") -> dict[str, str]:
        """As copies, so that a test may close its own; the environment that says so."""
        self.copies = [fcntl.fcntl(fd, fcntl.F_DUPFD, OUT_OF_THE_WAY) for fd in descriptors]
        first = self.copies[0]
        assert self.copies == list(range(first, first + len(descriptors)))
        self._patch.setattr(systemd, "FIRST", first)
        return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(descriptors)), "LISTEN_FDNAMES": names}

    def close(self) -> None:
        for sock in self.made:
            sock.close()


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    found = Manager(monkeypatch)
    yield found
    found.close()


def refusal(environ: dict[str, str]) -> list[str]:
    with pytest.raises(Invalid) as refused:
        inherited(environ)
    return [str(problem) for problem in refused.value.problems]


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_sockets_are_taken_in_their_order(manager: Manager, tmp_path: Path) -> None:
    given = [
        manager.tcp(),
        manager.opened(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
        manager.opened(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        manager.opened(socket.AF_UNIX, socket.SOCK_STREAM, str(tmp_path / "web.sock")),
        manager.opened(socket.AF_UNIX, socket.SOCK_STREAM, f"\0meshproxy-test-{os.getpid()}"),
    ]
    environ = manager.hand_over(*(sock.fileno() for sock in given), names="a:b:c:d:e") | {"HOME": "/root"}
    taken = inherited(environ)
    assert environ == {"HOME": "/root"}
    assert [sock.getsockname() for sock in taken] == [sock.getsockname() for sock in given]
    assert [(sock.family, sock.type) for sock in taken] == [(sock.family, sock.type) for sock in given]
    for sock in taken:
        assert not os.get_blocking(sock.fileno())
        assert not sock.get_inheritable()
        sock.close()


@pytest.mark.parametrize("pid", [None, "", "1", "+{}", "x", "{}0"])
def test_what_is_meant_for_another_process_is_left_alone(manager: Manager, pid: str | None) -> None:
    environ = manager.hand_over(manager.tcp().fileno())
    del environ["LISTEN_PID"]
    if pid is not None:
        environ["LISTEN_PID"] = pid.format(os.getpid())
    assert inherited(environ) == []
    assert environ == {}
    assert is_open(manager.copies[0])
    os.close(manager.copies[0])


def test_nothing_said_is_nothing_inherited() -> None:
    assert inherited({}) == []
    assert inherited({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}) == []


@pytest.mark.parametrize("count", ["", "-1", "x", "1.0", " 1", "²", str(MOST_SOCKETS + 1), "9" * 5000])
def test_a_count_that_is_none(count: str) -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}
    (problem,) = refusal(environ)
    assert problem.startswith(f"LISTEN_FDS: must be a number from 0 to {MOST_SOCKETS}, not ")
    assert len(problem) < 500
    assert environ == {}


def test_each_descriptor_that_cannot_serve_is_named(manager: Manager, tmp_path: Path) -> None:
    file = os.open(tmp_path, os.O_RDONLY)
    connected, other = socket.socketpair()
    manager.made += [connected, other]
    dialled = socket.create_connection(manager.tcp().getsockname())
    manager.made.append(dialled)
    environ = manager.hand_over(
        manager.tcp().fileno(),
        file,
        manager.opened(socket.AF_INET, socket.SOCK_STREAM).fileno(),
        connected.fileno(),
        dialled.fileno(),
        manager.opened(socket.AF_NETLINK, socket.SOCK_RAW).fileno(),
        manager.opened(socket.AF_UNIX, socket.SOCK_SEQPACKET, str(tmp_path / "packets")).fileno(),
        names="web:log:api\n",
    )
    os.close(file)
    first = manager.copies[0]
    assert refusal(environ) == [
        f'LISTEN_FDS: descriptor {first + 1} ("log") is not a socket',
        rf'LISTEN_FDS: descriptor {first + 2} ("api\n") is not bound to an address',
        f'LISTEN_FDS: descriptor {first + 3} ("") is not bound to an address',
        f'LISTEN_FDS: descriptor {first + 4} ("") does not listen: its socket unit must say Accept=no',
        f'LISTEN_FDS: descriptor {first + 5} ("") is of a kind that no listener has',
        f'LISTEN_FDS: descriptor {first + 6} ("") is of a kind that no listener has',
    ]
    # What is no socket is nothing to close either: nobody knows whose it is.
    assert [is_open(fd) for fd in manager.copies] == [False, True, False, False, False, False, False]
    os.close(manager.copies[1])


def test_a_descriptor_that_is_not_open(manager: Manager) -> None:
    environ = manager.hand_over(manager.tcp().fileno()) | {"LISTEN_FDS": "2"}
    (problem,) = refusal(environ)
    assert problem.endswith(f'descriptor {manager.copies[0] + 1} ("") is not a socket')


SERVICE = """
import os
from meshproxy.server.systemd import inherited
(sock,) = inherited(os.environ)
sock.setblocking(True)
conn, _ = sock.accept()
conn.sendall(repr([key for key in os.environ if key.startswith("LISTEN_")]).encode())
"""

ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="web")
os.execv(sys.executable, [sys.executable, "-c", sys.argv[2]])
"""


def test_a_client_that_came_before_the_service_is_served(manager: Manager) -> None:
    listening = manager.tcp()
    with socket.create_connection(listening.getsockname(), timeout=PATIENCE) as client:
        given = listening.fileno()
        command = [sys.executable, "-c", ACTIVATE, str(given), SERVICE]
        subprocess.run(command, pass_fds=[given], check=True, timeout=PATIENCE)
        assert client.recv(100) == b"[]"


# Messages


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address)
        self.sock.settimeout(PATIENCE)
        self.environ = {"NOTIFY_SOCKET": address.replace("\0", "@")}

    def hears(self) -> list[str]:
        return self.sock.recv(65536).decode().split("\n")


@pytest.fixture(params=["path", "abstract"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    path = str(tmp_path / "notify") if request.param == "path" else f"\0meshproxy-notify-{os.getpid()}"
    found = Systemd(path)
    yield found
    found.sock.close()


def test_a_life(listening: Systemd) -> None:
    notifier = Notifier(listening.environ)
    assert listening.environ == {}
    notifier.ready("generation 1")
    assert listening.hears() == ["READY=1", "STATUS=generation 1"]
    notifier.status("2 workers, none missing")
    assert listening.hears() == ["STATUS=2 workers, none missing"]
    notifier.watchdog()
    assert listening.hears() == ["WATCHDOG=1"]
    notifier.main_pid(4711)
    assert listening.hears() == ["MAINPID=4711"]
    notifier.stopping()
    assert listening.hears() == ["STOPPING=1"]


def test_a_reload_says_when_it_began(listening: Systemd) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier(listening.environ).reloading()
    word, when = listening.hears()
    assert word == "RELOADING=1"
    said = re.fullmatch("MONOTONIC_USEC=([0-9]+)", when)
    assert said
    assert before <= int(said[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b", "a\x1bb", "a\x85b", "a\u2028b", "a\udc80b"])
def test_a_status_cannot_become_a_field_or_spoil_the_message(listening: Systemd, text: str) -> None:
    notifier = Notifier(listening.environ)
    notifier.status(text)
    assert listening.hears() == ["STATUS=a b"]
    notifier.ready(text)
    assert listening.hears() == ["READY=1", "STATUS=a b"]


def test_a_long_status_does_not_cost_the_message(listening: Systemd) -> None:
    Notifier(listening.environ).ready("\U0001f600" * 1_000_000)
    data = listening.sock.recv(65536)
    assert data.decode() == "READY=1\nSTATUS=" + "\U0001f600" * LONGEST_STATUS
    assert len(data) < 4096


def say_everything(notifier: Notifier) -> None:
    notifier.ready("ready")
    notifier.reloading()
    notifier.status("fine")
    notifier.watchdog()
    notifier.main_pid(1)
    notifier.stopping()


@pytest.mark.parametrize(
    "address", ["", "@", "@nobody-is-here", "/nowhere/at/all", "vsock:2:1", "/" + "x" * 500, "/\udc80"]
)
def test_nobody_to_hear_is_no_reason_to_stop(address: str) -> None:
    say_everything(Notifier({"NOTIFY_SOCKET": address}))
    say_everything(Notifier({}))


def test_one_who_does_not_listen_is_not_waited_for(listening: Systemd) -> None:
    notifier = Notifier(listening.environ)
    started = time.monotonic()
    for _ in range(5000):
        notifier.watchdog()
    say_everything(notifier)
    # The longest that some of them may wait would be 500 s for all of these.
    assert time.monotonic() - started < PATIENCE


def test_what_matters_waits_for_a_place_in_the_queue(listening: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "LONGEST_WAIT", PATIENCE)
    notifier = Notifier(listening.environ)
    for _ in range(5000):
        notifier.watchdog()
    waiting = Thread(target=notifier.ready, args=["at last"])
    waiting.start()
    while (heard := listening.hears()) == ["WATCHDOG=1"]:
        pass
    waiting.join()
    assert heard == ["READY=1", "STATUS=at last"]


OURS = str(os.getpid())


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_PID": OURS}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": OURS}, 15.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": OURS}, 0.25),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_bites(environ: dict[str, str], interval: float | None) -> None:
    left = dict(environ)
    assert Notifier(left).watchdog_interval == interval
    assert left == {}
