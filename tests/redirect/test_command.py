"""`meshproxy redirect` as a process: its exit codes and words, and how it watches a proxy come and go."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from meshproxy.cli import main
from meshproxy.redirect import Refused
from meshproxy.redirect.apply import check
from meshproxy.redirect.watch import Question, Watch, question
from tests.lab import Host, Lab, needs_lab
from tests.redirect.played import BACKENDS, plan, standing

LONGEST = 10.0
SERVER = "import http.server as h; h.HTTPServer(('127.0.0.1', 15020), h.SimpleHTTPRequestHandler).serve_forever()"


@pytest.fixture
def app() -> Iterator[Host]:
    needs_lab()
    with Lab("app") as lab:
        with lab["app"].inside():
            yield lab["app"]


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["redirect", *arguments])
    return code, capsys.readouterr().err


def test_rules_come_and_go(app: Host, capsys: pytest.CaptureFixture[str]) -> None:
    before = standing(app)
    code, words = said(capsys, "--check")
    assert (code, words.splitlines()[0]) == (1, "meshproxy: iptables: missing in mangle: chain MESHPROXY_GUARD")
    assert said(capsys, "--apply") == (0, "meshproxy: rules are in place\n")
    assert said(capsys, "--apply") == (0, "meshproxy: rules were in place\n")
    assert said(capsys, "--check") == (0, "")
    assert said(capsys, "--check", "--uid", "7")[0] == 1
    assert said(capsys, "--apply", "--layout", "istio", "--mode", "tproxy") == (0, "meshproxy: rules are in place\n")
    assert said(capsys, "--remove") == (0, "meshproxy: rules are removed\n")
    assert said(capsys, "--remove") == (0, "meshproxy: no rules were in place\n")
    assert standing(app) == before


def test_what_is_printed_can_be_given_to_the_tools(app: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["redirect", "--print", "--dns-port", "5300", "--exclude-outbound-ports", "22"]) == 0
    four, six = capsys.readouterr().out.split("\n\n")
    app.run("iptables-restore", "--noflush", input=four + "\n")
    app.run("ip6tables-restore", "--noflush", input=six)
    assert said(capsys, "--check", "--dns-port", "5300", "--exclude-outbound-ports", "22") == (0, "")


def test_what_is_misspelt_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--print", "--outbound-port", "99999") == (
        2, "meshproxy: a port is a number from 1 to 65535, not '99999'\n"
    )  # fmt: skip
    assert said(capsys, "--print", "--uid", "no-such-user")[0] == 2
    assert said(capsys, "--watch", "--ready", "https://127.0.0.1/")[0] == 2
    with pytest.raises(SystemExit):
        said(capsys, "--print", "--apply")


def test_who_may_not_is_told(app: Host) -> None:
    arguments = [sys.executable, "-m", "meshproxy", "redirect", "--apply"]
    denied = app.start(arguments, uid=1500, stderr=subprocess.PIPE, text=True)
    _, words = denied.communicate(timeout=LONGEST)
    assert denied.returncode == 1
    assert words == "meshproxy: only root, or who has the capability NET_ADMIN, may do this; not uid 1500\n"


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("backend", BACKENDS)
def test_with_a_watch_the_rules_go_with_the_proxy_and_without_one_they_stay(app: Host, backend: str) -> None:
    def in_place() -> bool:
        return not check(backend, plan())

    options = ["--backend", backend, "--ready", "http://127.0.0.1:15020/", "--every", "50ms"]
    watch = app.python("-m", "meshproxy", "redirect", "--watch", *options, stderr=subprocess.PIPE, text=True)
    for _ in range(2):
        proxy = app.python("-c", SERVER, stderr=subprocess.DEVNULL)
        until(in_place)
        proxy.kill()
        proxy.wait(LONGEST)
        until(lambda: not in_place())
    proxy = app.python("-c", SERVER, stderr=subprocess.DEVNULL)
    until(in_place)
    watch.send_signal(signal.SIGTERM)
    _, words = watch.communicate(timeout=LONGEST)
    assert watch.returncode == 0
    assert words.splitlines()[-2:] == [
        "meshproxy: ready: rules are in place",
        "meshproxy: rules stay in place",
    ]
    # Nobody watches any more: without the proxy nothing goes past it.
    proxy.kill()
    proxy.wait(LONGEST)
    assert in_place()


def test_a_watch_counts_failures_in_a_row_and_tries_again_what_failed() -> None:
    done: list[str] = []
    told: list[str] = []

    def put() -> None:
        done.append("put")
        if len(done) == 1:
            raise Refused("busy")

    watch = Watch(3, put, lambda: done.append("take"), told.append)
    assert watch.left == "rules were neither put in place nor taken away"
    for ready in (False, False, True, True, True, False, False, True, False, False):
        watch.heard(ready)
    assert (done, watch.left) == (["put", "put"], "rules stay in place")
    for ready in (False, False, False):
        watch.heard(ready)
    assert (done, watch.left) == (["put", "put", "take"], "rules stay away")
    assert told == ["busy", "ready: rules are in place", "not ready 3 times in a row: rules are taken away"]


def test_whom_to_ask() -> None:
    assert question("http://127.0.0.1:15020/ready?x=1") == Question("127.0.0.1", 15020, "/ready?x=1")
    assert question("http://[::1]") == Question("::1", 80, "/")
    for url in ("127.0.0.1:15020", "https://a/", "http://a:x/", "http:///ready", "http://a/b c"):
        with pytest.raises(Refused):
            question(url)
