"""A proxy beside an application: who waits for whom at the beginning and at the end, and who is the first process.

A pod is played by a namespace of processes, and another container in it by a namespace of mounts.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import LONGEST, Start, command, poll
from tests.e2e.test_process import config, exchange


def test_wait_asks_the_status_port_as_well(start: Start, echo: Any) -> None:
    """It says no more than `/ready` there, and needs no token."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    start(config(echo, status={"listen": f"127.0.0.1:{port}"}))
    assert command("wait", "--admin", f"127.0.0.1:{port}", "--timeout", "5s").returncode == 0


def test_a_drain_until_idle_lets_everybody_in_until_they_have_gone(start: Start, echo: Any) -> None:
    hurry = {"meshproxy.server.process.IDLE_FOR": 0.2}
    proxy = start(config(echo, drain={"delay": 0, "timeout": "1h"}), hurry=hurry)
    address = proxy.address()
    with proxy.connect() as held:
        exchange(held, b"before")
        assert proxy.ask("POST", "/drain?until_idle=1h") == (200, {"state": "draining"})
        assert proxy.ask("GET", "/ready") == (503, "draining\n")
        with socket.create_connection(address) as late:
            exchange(late, b"still let in")
        exchange(held, b"still served")
    assert proxy.exit_code() == 0
    assert "drained cut=0" in proxy.log.read_text()


def test_idle_is_not_waited_for_longer_than_was_said(start: Start, echo: Any) -> None:
    proxy = start(config(echo, drain={"delay": 0, "timeout": "500ms"}))
    with proxy.connect() as held:
        exchange(held, b"x")
        said = command("drain", "--admin", f"unix:{proxy.admin}", "--until-idle", "--timeout", "300ms")
        assert (said.returncode, said.stderr) == (1, "meshproxy: still draining after 0.3s\n")
        assert proxy.exit_code() == 0
    assert "drained cut=1" in proxy.log.read_text()


def test_the_signal_that_follows_ends_it_at_once(start: Start, echo: Any) -> None:
    proxy = start(config(echo, drain={"delay": 0, "timeout": "1h"}))
    with proxy.connect() as held:
        exchange(held, b"x")
        assert proxy.ask("POST", "/drain?until_idle=1h")[0] == 200
        proxy.signal(signal.SIGTERM)
        assert proxy.exit_code() == 0


# The first process, and those of others


@cache
def _missing() -> str:
    if os.geteuid() != 0:
        return "only root may make a namespace of processes"
    absent = [name for name in ("unshare", "setpriv") if shutil.which(name) is None]
    if absent:
        return f"no {', '.join(absent)} here"
    made = subprocess.run([*POD, "true"], capture_output=True, text=True, check=False)
    return "" if made.returncode == 0 else f"no namespace of processes here: {made.stderr.strip()}"


POD = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
RUN = f"{sys.executable} -m meshproxy run -c meshproxy.json"


class Playing:
    """A script that is the first process of a pod."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._log = (directory / "log").open("wb")
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self, script: str) -> None:
        root = Path(__file__).parent.parent.parent
        self.process = subprocess.Popen(
            [*POD, "sh", "-c", script],
            cwd=self.directory,
            stderr=self._log,
            env={**os.environ, "XDG_STATE_HOME": "", "PYTHONPATH": str(root)},
        )

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    @property
    def first(self) -> int:
        """As it is called outside."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(poll(lambda: children.read_text().split(), "the first process")[0])

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        return " ready " in self.log

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()
        assert "Traceback" not in self.log, self.log


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Playing]:
    if why := _missing():
        pytest.skip(why)
    said = {"admin": {"listen": f"unix:{tmp_path}/admin.sock"}, "drain": {"delay": "1h", "timeout": "1h"}}
    (tmp_path / "meshproxy.json").write_text(json.dumps(said))
    made = Playing(tmp_path)
    yield made
    made.end()


def test_a_proxy_ends_with_its_pod(pod: Playing) -> None:
    """The application is another user's, and sees another file system; a command in our own container is not it."""
    app = "unshare --mount setpriv --reuid 65534 --clear-groups sh -c 'while [ -e work ]; do sleep 0.05; done; exit 3'"
    (pod.directory / "work").touch()
    pod.directory.chmod(0o755)
    pod.begin(f"sleep 0.3 & ({app}) & {RUN} --end-with-pod --log-level debug & wait $!; exit $?")
    poll(pod.ready, "ready")
    assert "pod-over" not in pod.log
    (pod.directory / "work").unlink()
    assert pod.process is not None
    assert pod.process.wait(LONGEST) == 0
    assert "pod-over" in pod.log
    assert "drained cut=0" in pod.log


def test_alone_it_is_told_what_is_missing(pod: Playing) -> None:
    pod.begin(f"exec {RUN} --end-with-pod")
    assert pod.process is not None
    assert pod.process.wait(LONGEST) == 2
    assert "--end-with-pod needs `shareProcessNamespace: true`" in pod.log


def test_the_first_process_hears_signals_and_buries_orphans(pod: Playing) -> None:
    pod.begin(f"exec {RUN}")
    poll(pod.ready, "ready")
    first = pod.first
    enter = ["nsenter", "--target", str(first), "--pid", "--mount"]
    # Its parent ends at once: it is an orphan then, and dies later.
    subprocess.run([*enter, "sh", "-c", "sleep 0.3 & exit 0"], check=True)

    def children() -> int:
        """With those who are dead, and not buried."""
        return len(Path(f"/proc/{first}/task/{first}/children").read_text().split())

    poll(lambda: children() == 2, "an orphan")
    poll(lambda: children() == 1, "nobody but who does the work")
    os.kill(first, signal.SIGTERM)
    poll(lambda: "draining" in pod.log, "it drains")
    assert pod.process is not None
    assert pod.process.poll() is None, "for an hour"
    os.kill(first, signal.SIGTERM)
    assert pod.process.wait(LONGEST) == 0


def test_the_first_process_ends_as_who_does_the_work(pod: Playing) -> None:
    (pod.directory / "meshproxy.json").write_text("listeners: 5")
    pod.begin(f"exec {RUN}")
    assert pod.process is not None
    assert pod.process.wait(LONGEST) == 3
