"""The process as an operator meets it: signals, files, exit codes, and a relay that none of it disturbs."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start, command, poll


def config(echo: Any, **more: Any) -> dict[str, Any]:
    return {
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up"}],
        "clusters": {"up": {"endpoints": [echo.address]}},
        **more,
    }


def refused(address: tuple[str, int]) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(address) != 0


def exchange(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    received = b""
    while len(received) < len(data):
        piece = sock.recv(65536)
        assert piece, "the relay ended"
        received += piece
    assert received == data


def test_sigterm_drains_and_exits_0(start: Start, echo: Any) -> None:
    proxy = start(config(echo, drain={"delay": "300ms", "timeout": "10s"}), anew=True)
    address = proxy.address()
    with proxy.connect() as held:
        exchange(held, b"before")
        proxy.signal(signal.SIGTERM)
        assert poll(lambda: proxy.ask("GET", "/ready") == (503, "draining\n"), "readiness fails")
        with socket.create_connection(address) as late:
            exchange(late, b"within the delay")
        poll(lambda: refused(address), "the door closes")
        exchange(held, b"still served")
    assert proxy.exit_code() == 0


def test_connections_that_do_not_end_are_ended_at_the_deadline(start: Start, echo: Any) -> None:
    proxy = start(config(echo, drain={"delay": 0, "timeout": "300ms"}))
    with proxy.connect() as held:
        exchange(held, b"x")
        proxy.signal(signal.SIGTERM)
        assert proxy.exit_code() == 0
        with pytest.raises(ConnectionResetError):
            held.recv(1)
    assert "drained cut=1" in proxy.log.read_text()


@pytest.mark.parametrize("how", ["second SIGTERM", "SIGINT", "quitquitquit"])
def test_it_can_be_ended_at_once(start: Start, echo: Any, how: str) -> None:
    proxy = start(config(echo, drain={"delay": "1h", "timeout": "1h"}))
    with proxy.connect() as held:
        exchange(held, b"x")
        if how == "SIGINT":
            proxy.signal(signal.SIGINT)
        elif how == "quitquitquit":
            assert proxy.ask("POST", "/quitquitquit")[0] == 200
        else:
            proxy.signal(signal.SIGTERM)
            poll(lambda: proxy.ask("GET", "/ready")[0] == 503, "draining")
            proxy.signal(signal.SIGTERM)
        assert proxy.exit_code() == 0


def test_sighup_reads_the_files_again(start: Start, echo: Any) -> None:
    proxy = start(config(echo))
    proxy.write(config(echo, node={"zone": "b"}))
    proxy.signal(signal.SIGHUP)
    poll(lambda: proxy.ask("GET", "/server_info")[1]["node"] == {"zone": "b"}, "the new zone")


def test_a_swapped_configmap_is_noticed(start: Start, echo: Any, tmp_path: Path) -> None:
    proxy = start(config(echo))
    volume = tmp_path / "volume"
    for version, zone in (("..1", "one"), ("..2", "two")):
        (volume / version).mkdir(parents=True)
        (volume / version / "node.yaml").write_text(f"node: {{zone: {zone}}}\n")
    (volume / "..data").symlink_to("..1")
    (volume / "node.yaml").symlink_to("..data/node.yaml")
    proxy.signal(signal.SIGTERM)
    proxy.exit_code()
    proxy = start(config(echo), "-c", str(volume), hurry={"meshproxy.server.process.WATCH_EVERY": 0.1})
    assert proxy.ask("GET", "/server_info")[1]["node"] == {"zone": "one"}
    (volume / "..tmp").symlink_to("..2")
    os.replace(volume / "..tmp", volume / "..data")
    poll(lambda: proxy.ask("GET", "/server_info")[1]["node"] == {"zone": "two"}, "the new data")


def test_the_last_good_configuration_serves_where_the_file_is_broken(
    start: Start, echo: Any, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    proxy = start(config(echo), "--state-dir", str(state))
    proxy.signal(signal.SIGTERM)
    assert proxy.exit_code() == 0
    proxy.file.write_text("{")
    again = start(None, "--state-dir", str(state))
    with again.connect() as sock:
        exchange(sock, b"as before")
    assert again.ask("GET", "/server_info")[1]["last_refused"]["problems"]
    assert oct(next((state / "generations").iterdir()).stat().st_mode & 0o777) == "0o600"


def test_exit_codes(start: Start, echo: Any, tmp_path: Path) -> None:
    invalid = start({"clusterz": {}}, wait=False)
    assert invalid.exit_code() == 3
    assert "unknown key `clusterz`; did you mean `clusters`?" in invalid.log.read_text()
    check = subprocess.run([sys.executable, "-m", "meshproxy", "check", invalid.file], capture_output=True, check=False)
    assert check.returncode == 3
    taken = "{}:{}".format(*echo.sock.getsockname())
    clash = start(
        {
            "listeners": [{"name": "in", "listen": taken, "protocol": "tcp", "cluster": "up"}],
            "clusters": {"up": {"endpoints": []}},
        },
        wait=False,
        anew=True,
    )
    assert clash.exit_code() == 4
    assert f"listeners[in].listen: {taken}: Address already in use" in clash.log.read_text()
    admin = start({"admin": {"listen": taken}}, wait=False)
    assert admin.exit_code() == 4
    usage = subprocess.run([sys.executable, "-m", "meshproxy", "run", "--nonsense"], capture_output=True, check=False)
    assert usage.returncode == 2


BOMB = "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" if before else f"{name}: &{name} [x]"
    for before, name in zip(["", *"abcdefghi"], "abcdefghij", strict=True)
)

BAD: dict[str, tuple[bytes, str]] = {
    "unknown key": (b"listenerz: []", "listenerz"),
    "wrong type": (b"listeners: {name: web}", "listeners"),
    "bad address": (b"listeners: [{name: a, listen: 1.2.3.4.5:80, protocol: tcp}]", "1.2.3.4.5:80"),
    "two on one address": (
        b"listeners: [{name: a, listen: '127.0.0.1:7', protocol: tcp, cluster: u}, "
        b"{name: b, listen: '127.0.0.1:7', protocol: tcp, cluster: u}]\nclusters: {u: {endpoints: []}}",
        "127.0.0.1:7",
    ),
    "unknown cluster": (b"listeners: [{name: a, listen: '127.0.0.1:0', protocol: tcp, cluster: who}]", "who"),
    "reserved": (b"listeners: [{name: a, listen: '127.0.0.1:0', protocol: redis}]", "redis"),
    "alias bomb": (BOMB.encode(), ""),
    "duplicate keys": (b"node: {zone: a}\nnode: {zone: b}", "node"),
    "not UTF-8": (b"node: {zone: '\xff'}", "UTF-8"),
    "empty": (b"", "empty"),
    "only a comment": (b"# nothing\n", ""),
    "negative duration": (b"drain: {delay: -5s}", "-5s"),
}


@pytest.mark.parametrize("name", BAD)
def test_check_says_what_is_wrong(name: str, tmp_path: Path) -> None:
    data, word = BAD[name]
    path = tmp_path / "bad.yaml"
    path.write_bytes(data)
    checked = command("check", str(path))
    assert checked.returncode == 3
    assert word in checked.stderr
    assert str(path) in checked.stderr
    assert checked.stdout == ""


def test_check_of_something_good(tmp_path: Path, echo: Any) -> None:
    path = tmp_path / "good.json"
    path.write_text(json.dumps(config(echo)))
    checked = subprocess.run(
        [sys.executable, "-m", "meshproxy", "check", str(path)], capture_output=True, check=False, text=True
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "valid: 1 listener, 1 cluster\n", "")


RELAXED = """\
listeners:
  - name: web
    listen: 127.0.0.1:0
    protocol: http
    routes: all
    http:
      admit: [underscores, bare_lf]
      path:
        escaped_slashes: keep
        slashes: refuse
routes: {all: [{reply: {status: 200}}]}
"""


def test_check_warns_of_what_is_relaxed(tmp_path: Path) -> None:
    path = tmp_path / "relaxed.yaml"
    path.write_text(RELAXED)
    checked = command("check", str(path))
    assert (checked.returncode, checked.stdout) == (0, "valid: 1 listener, 0 clusters\n")
    assert [line.split(": ")[:-1] for line in checked.stderr.splitlines()] == [
        ["warning", f"{path}:{line}", f"listeners[0].http.{key}", f"listener `web` is relaxed, `{switch}`"]
        for line, key, switch in (
            (7, "admit[0]", "underscores"), (7, "admit[1]", "bare_lf"), (9, "path.escaped_slashes", "escaped_slashes"),
        )
    ]  # fmt: skip
    checked = command("check", str(path), "-o", "json")
    told = json.loads(checked.stdout)
    assert (checked.returncode, checked.stderr, told["problems"]) == (0, "", [])
    assert [warning["line"] for warning in told["warnings"]] == [7, 7, 9]


def test_bad_documents_are_refused_under_load_and_the_relay_is_undisturbed(start: Start, echo: Any) -> None:
    proxy = start(config(echo))
    stop = threading.Event()
    failures: list[BaseException] = []
    exchanges = [0] * 8

    def load(index: int) -> None:
        try:
            with proxy.connect() as sock:
                while not stop.is_set():
                    exchange(sock, os.urandom(5000))
                    exchanges[index] += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=load, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    poll(lambda: all(exchanges), "traffic flows")
    before = list(exchanges)
    for name, (data, word) in BAD.items():
        status, answer = proxy.ask("PUT", "/config", data)
        assert status == 422, (name, answer)
        assert word in json.dumps(answer), name
    status, _ = proxy.ask("PUT", "/config", bytes(17 << 20))
    assert status == 413
    port_in_use = config(echo)
    port_in_use["listeners"].append(
        {"name": "clash", "listen": echo.address, "protocol": "tcp", "cluster": "none"}
    )
    port_in_use["clusters"]["none"] = {"endpoints": []}
    status, answer = proxy.put(port_in_use)
    assert status == 422
    assert "in use" in answer["problems"][0]["message"]
    poll(lambda: all(now > then for now, then in zip(exchanges, before, strict=True)), "traffic still flows")
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    info = proxy.ask("GET", "/server_info")[1]
    assert info["generation"] == 1
    assert "in use" in info["last_refused"]["problems"][0]["message"]


def test_thousands_of_connections_cost_bounded_memory(
    start: Start, echo: Any, often: Callable[[int, int], int]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Each takes two descriptors here and two there; a machine that allows fewer is asked for what it allows.
    wanted = min(often(3000, 10_000), (limits[1] - 500) // 2)
    if wanted < 3000:
        pytest.skip(f"the hard limit of descriptors is {limits[1]}, too low to say anything")
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    # An upstream that accepts and says nothing: its queue holds the connections, and costs no thread.
    upstream = socket.create_server(("127.0.0.1", 0), backlog=65535)
    clients: list[socket.socket] = []
    try:
        said = config(echo)
        said["clusters"]["up"]["endpoints"] = ["{}:{}".format(*upstream.getsockname())]
        proxy = start(said, anew=True)
        address, before = proxy.address(), proxy.rss_kib()
        accepted = []
        for _ in range(wanted):
            clients.append(socket.create_connection(address))
            accepted.append(upstream.accept()[0])
        _, stats = proxy.ask("GET", "/stats")
        assert stats["listeners"]["in"]["connections_active"] == wanted
        per_connection = (proxy.rss_kib() - before) / wanted
        assert per_connection < 6, f"{per_connection:.1f} KiB for each connection"
        for sock in (*clients, *accepted):
            sock.close()
        poll(lambda: proxy.ask("GET", "/stats")[1]["listeners"]["in"]["connections_active"] == 0, "all are gone")
    finally:
        upstream.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_serving_process_carries_only_what_it_needs(tmp_path: Path) -> None:
    script = (
        "import sys, meshproxy.cli.run as r; "
        "print(' '.join(sorted({name.partition('.')[0] for name in sys.modules} | "
        "{name for name in sys.modules if name.startswith(('http.', 'urllib.', 'meshproxy.'))})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    unwanted = {
        "aiohttp", "amqtt", "cryptography", "prometheus_client", "h2", "hypothesis", "pytest", "yaml",
        "http.client", "urllib.request", "logging.config", "meshproxy.demo", "meshproxy.cli.ask",
        "meshproxy.wire.h1.reference",
    }  # fmt: skip
    assert loaded & unwanted == set()


def test_a_signal_before_it_is_ready_drains_it_too(start: Start, echo: Any) -> None:
    proxy = start(config(echo), wait=False, anew=True)
    # The handler is there as soon as the signal is caught, which the kernel shows.
    status = Path(f"/proc/{proxy.process.pid}/status")

    def caught() -> bool:
        mask = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigCgt"))
        return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)

    poll(caught, "SIGTERM is caught")
    proxy.signal(signal.SIGTERM)
    assert proxy.exit_code() == 0
