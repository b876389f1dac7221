"""A hot restart: the successor takes the sockets, the old process drains, and clients see none of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start, poll
from tests.e2e.test_workers import config, crowd, say

Often = Callable[[int, int], int]


def successor(proxy: Any, start: Start, said: dict[str, Any] | None, *options: str) -> Any:
    """Started on the same files and the same state, and waited for until the old one has gone."""
    heir = start(said, "--state-dir", str(proxy.directory / "state"), "--take-over", *options, wait=False)
    poll(lambda: heir.serves_by_itself(), "the successor answers")
    return heir


@pytest.mark.parametrize("workers", [1, 2])
def test_restarts_under_load_refuse_nobody(start: Start, echo: Any, often: Often, workers: int) -> None:
    said = config(echo, workers)
    proxy = start(said, "--state-dir", str(start.directory / "state"))
    address = proxy.address()
    with crowd(proxy) as clients:
        for _ in range(often(2, 50)):
            heir = successor(proxy, start, None)
            assert proxy.exit_code() == 0
            proxy = heir
        assert proxy.address() == address
        assert "successor-failed" not in proxy.log.read_text()
    assert clients.exchanged > 100
    assert not clients.problems, clients.problems


def test_the_number_of_workers_may_change_and_old_connections_go_on(start: Start, echo: Any) -> None:
    proxy = start(config(echo, 2), "--state-dir", str(start.directory / "state"))
    with proxy.connect() as held:
        assert say(held, b"before") == b"before"
        heir = successor(proxy, start, config(echo, 3))
        assert len(heir.ask("GET", "/server_info")[1]["workers"]) == 3
        assert say(held, b"still") == b"still"
        for _ in range(20):
            with heir.connect() as sock:
                assert say(sock, b"new") == b"new"
        assert proxy.process.poll() is None, "it drains as long as a connection lasts"
        proxy.signal(signal.SIGHUP)
        poll(lambda: "it takes no configuration" in proxy.log.read_text(), "nothing new is taken")
    assert proxy.exit_code() == 0


def test_a_successor_that_fails_changes_nothing(start: Start, echo: Any) -> None:
    proxy = start(config(echo), "--state-dir", str(start.directory / "state"))
    wrong = config(echo)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = "{}:{}".format(*taken.getsockname())
        wrong["listeners"].append({"name": "clash", "listen": where, "protocol": "tcp", "cluster": "up"})
        failed = start(wrong, "--state-dir", str(start.directory / "state"), "--take-over", wait=False)
        assert failed.exit_code() == 4
    poll(lambda: "successor-failed" in proxy.log.read_text(), "the old one knows")
    with proxy.connect() as sock:
        assert say(sock, b"x") == b"x"
    status, answer = proxy.ask("PUT", "/config/more", b"clusters: {more: {endpoints: []}}")
    assert status == 200, answer


def test_without_a_predecessor_it_simply_starts(start: Start, echo: Any) -> None:
    proxy = start(config(echo), "--state-dir", str(start.directory / "state"), "--take-over")
    with proxy.connect() as sock:
        assert say(sock, b"x") == b"x"


def test_taking_over_needs_a_place_to_ask() -> None:
    run = [sys.executable, "-m", "meshproxy", "run", "--take-over"]
    refused = subprocess.run(
        run, capture_output=True, text=True, check=False, env={**os.environ, "XDG_STATE_HOME": ""}
    )
    assert refused.returncode == 2
    assert "--take-over needs a state directory" in refused.stderr


ACTIVATE = """
import os, socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
os.dup2(sock.detach(), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "meshproxy", *sys.argv[2:]])
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_socket_of_systemd_is_served_and_stays(echo: Any, tmp_path: Path, workers: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket(
        socket.AF_UNIX, socket.SOCK_DGRAM
    ) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        said = config(echo, workers, admin={"listen": f"unix:{tmp_path}/admin"}, drain={"delay": 0})
        said["listeners"][0]["listen"] = "{}:{}".format(*listening.getsockname())
        (tmp_path / "config.json").write_text(json.dumps(said))
        with subprocess.Popen(
            [sys.executable, "-c", ACTIVATE, str(listening.fileno()), "run", "-c", str(tmp_path / "config.json")],
            pass_fds=[listening.fileno()],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "XDG_STATE_HOME": ""},
            stderr=subprocess.DEVNULL,
        ) as proxy:
            assert systemd.recv(4096) == b"READY=1\nSTATUS=serves configuration 1"
            with socket.create_connection(listening.getsockname(), 10) as sock:
                assert say(sock, b"x") == b"x"
            proxy.send_signal(signal.SIGHUP)
            assert systemd.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert systemd.recv(4096).startswith(b"READY=1")
            proxy.terminate()
            assert systemd.recv(4096) == b"STOPPING=1"
            assert proxy.wait(20) == 0
        with socket.create_connection(listening.getsockname(), 10):
            """Somebody else still holds it."""


def test_a_drain_that_had_begun_goes_on_when_a_successor_serves(start: Start, echo: Any) -> None:
    said = config(echo, 1, drain={"delay": "0s", "timeout": "20s"})
    proxy = start(said, "--state-dir", str(start.directory / "state"))
    with proxy.connect() as held:
        assert say(held, b"before") == b"before"
        proxy.signal(signal.SIGTERM)
        poll(lambda: "draining" in proxy.log.read_text(), "it drains")
        heir = start(said, "--state-dir", str(start.directory / "state"), "--take-over", wait=False)
        poll(lambda: "successor-serves" in proxy.log.read_text(), "the successor serves")
        assert say(held, b"still") == b"still"
    assert proxy.exit_code() == 0
    with heir.connect() as sock:
        assert say(sock, b"new") == b"new"


def test_the_file_of_a_unix_socket_goes_to_the_successor(start: Start, echo: Any, tmp_path: Path) -> None:
    said = config(echo)
    said["listeners"][0]["listen"] = [f"unix:{tmp_path}/kept", f"unix:{tmp_path}/dropped"]
    proxy = start(said, "--state-dir", str(start.directory / "state"))
    said["listeners"][0]["listen"] = f"unix:{tmp_path}/kept"
    heir = successor(proxy, start, said)
    assert proxy.exit_code() == 0
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"{tmp_path}/kept")
        assert say(sock, b"x") == b"x"
    poll(lambda: not (tmp_path / "dropped").exists(), "what nobody serves is removed")
    heir.signal(signal.SIGTERM)
    assert heir.exit_code() == 0
    assert not (tmp_path / "kept").exists()
