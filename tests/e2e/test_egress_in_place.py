"""One pod whose proxy tells by the first bytes what its application speaks, and lets the unknown pass or not."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.conftest import poll
from tests.e2e.in_place import GREETING, Greeter, Pod, connected
from tests.e2e.pods import App
from tests.lab import Host, Lab, needs_lab

PORT, SMTP, BLOCKED = 8088, 2525, 8089
KNOWN = "known.example"


@dataclass(frozen=True, slots=True)
class Scene:
    pod: Pod
    outside: Host


def config(known: str) -> dict[str, Any]:
    """What is HTTP for a known host goes to the mesh, for an unknown one to where it is; a port is closed to all."""
    listener = {
        "name": "outbound",
        "listen": ["0.0.0.0:15001", "[::]:15001"],
        "protocol": "tcp",
        "transparent": True,
        "timeouts": {"detect": "300ms"},
        "chains": [
            {"match": {"ports": [BLOCKED]}, "cluster": "nobody"},
            {"match": {"speaks": ["http1"]}, "protocol": "http", "routes": "web"},
            {"match": {"speaks": ["other"]}, "cluster": "outside"},
        ],
    }
    return {
        "listeners": [listener],
        "routes": {"web": [{"match": {"hosts": [KNOWN]}, "cluster": "known"}, {"cluster": "outside"}]},
        "clusters": {"known": {"endpoints": [known]}, "outside": {"original": True}, "nobody": {"endpoints": []}},
    }


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    needs_lab()
    with Lab("app", "outside") as lab:
        pod, outside = Pod(lab["app"], tmp_path_factory.mktemp("egress")), lab["outside"]
        pod.proxy(config(f"{outside.v4}:9999"))
        pod.redirect()
        with outside.inside():
            names = {"known": 9999, "elsewhere": PORT, "nobody": BLOCKED}
            apps: list[App | Greeter] = [App(name, ("0.0.0.0", port)) for name, port in names.items()]
        apps.append(Greeter(outside, SMTP))
        pod.wait()
        yield Scene(pod, outside)
        for app in apps:
            app.close()


def test_a_host_that_is_known_is_led_and_others_pass(scene: Scene) -> None:
    here = f"http://{scene.outside.v4}:{PORT}/"
    for host, app in ((KNOWN, "known"), ("other.example", "elsewhere")):
        status, body = scene.pod.curl("-H", f"Host: {host}", here)
        assert (status, json.loads(body)["app"]) == (200, app)


def test_a_server_that_speaks_first_is_heard_after_a_moment(scene: Scene) -> None:
    with socket_of(scene, SMTP) as sock:
        assert sock.recv(99) == GREETING
        sock.sendall(b"ehlo")
        assert sock.recv(99) == b"EHLO"


def test_what_is_blocked_is_blocked(scene: Scene) -> None:
    assert scene.pod.curl(f"http://{scene.outside.v4}:{BLOCKED}/") == (0, "")
    assert scene.pod.rejected("outbound")["no_endpoint"] == 1


def test_the_proxy_is_not_its_own_client(scene: Scene) -> None:
    """Rules that leave another user alone than the proxy lead back to it what it sends: it notices, and ends that."""
    before = scene.pod.rejected("outbound").get("loop", 0)
    scene.pod.redirect("--uid", "4242")
    try:
        # To where it has no connection yet.
        assert scene.pod.curl("-H", "Host: other.example", f"http://{scene.outside.v4}:9999/")[0] in (502, 503)
        with socket_of(scene, SMTP) as sock:
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        poll(lambda: scene.pod.rejected("outbound").get("loop", 0) == before + 2, "two loops are told")
    finally:
        scene.pod.redirect()


def test_who_connects_to_the_proxy_itself_is_told_that_there_is_nothing(scene: Scene) -> None:
    before = scene.pod.rejected("outbound").get("loop", 0)
    with connected(scene.pod.host, ("127.0.0.1", 15001)) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
    assert scene.pod.rejected("outbound")["loop"] == before + 1


def socket_of(scene: Scene, port: int) -> socket.socket:
    """Of the application, which is root here: nobody whom the rules leave alone."""
    return connected(scene.pod.host, (scene.outside.v4, port))
