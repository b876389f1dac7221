"""The programs of the image, as they are called: who they are, what they refuse, and how they wait."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from meshproxy.dropin import life
from meshproxy.dropin.__main__ import main


@contextmanager
def proxy(monkeypatch: pytest.MonkeyPatch, *answers: bytes) -> Iterator[list[bytes]]:
    """At the port of one: answers each request in turn, and then is gone."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(life, "PROXY", server.getsockname())

        def serve() -> None:
            for answer in answers:
                sock, _ = server.accept()
                with sock:
                    asked.append(sock.recv(4096).partition(b"\r\n")[0])
                    sock.sendall(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n")
            server.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join(5)


def test_the_first_argument_is_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["envoy"]) == 2
    assert "one of pipy, wait-pipy, gkill" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["wait-pipy", "gkill"])
def test_those_of_kubelet_take_no_arguments(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "now"]) == 2
    assert f"{name}: takes no arguments" in capsys.readouterr().err


def test_a_wrong_command_line_is_told_with_what_is_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pipy", "main.js"]) == 2
    told = capsys.readouterr().err
    assert "is no address of a repository" in told
    assert "usage: pipy [options] http://HOST:PORT/repo/CODEBASE/" in told


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pipy", "--help"]) == 0
    assert main(["pipy", "--version"]) == 0
    assert "in the place of Pipy" in capsys.readouterr().out


def test_wait_pipy_waits_until_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(monkeypatch, b"503 No", b"503 No", b"200 OK") as asked:
        assert main(["wait-pipy"]) == 0
    assert asked == [b"GET /ready HTTP/1.1"] * 3


def test_wait_pipy_gives_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(life, "LONGEST_START", 0.0)
    with proxy(monkeypatch):
        assert main(["wait-pipy"]) == 1
    assert "the proxy is not ready after 0 s" in capsys.readouterr().err


def test_gkill_drains_and_waits_until_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(monkeypatch, b"200 OK", b"503 No", b"503 No") as asked:
        assert main(["gkill"]) == 0
    assert asked == [b"POST /drain HTTP/1.1", b"GET /ready HTTP/1.1", b"GET /ready HTTP/1.1"]


def test_gkill_says_that_it_may_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with proxy(monkeypatch, b"404 Not Found"):
        assert main(["gkill"]) == 1
    assert "the proxy refuses it (404)" in capsys.readouterr().err
