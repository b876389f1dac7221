"""A site and its centre, and a link between them that goes away under what real programs say over it."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.conftest import LONGEST, poll
from tests.e2e.in_place import ANYBODY, Pod, connected, listening, program
from tests.e2e.pods import App
from tests.lab import Host, Lab, needs_lab
from tests.pki import Pki

WEB, MQTT, BULK = 8080, 1883, 9000
AWAY = 2.5
"""Seconds, longer than a connection may be silent."""


@dataclass(frozen=True, slots=True)
class Site:
    edge: Pod
    centre: Pod
    cable: Host
    """Whose end of the link is pulled."""

    def pull(self) -> None:
        self.cable.run("ip", "link", "set", "eth0", "down")

    def plug(self) -> None:
        self.cable.run("ip", "link", "set", "eth0", "up")

    def links(self) -> int:
        text = self.edge.ask("/metrics")[1]
        return int(text.partition('meshproxy_tunnel_links{tunnel="centre"} ')[2].split()[0])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    needs_lab()
    directory = tmp_path_factory.mktemp("tunnel")
    pki = directory / "pki"
    pki.mkdir()
    ca = Pki(pki).ca()
    mosquitto = program("mosquitto")
    if mosquitto is None or shutil.which("mosquitto_sub") is None:
        pytest.skip("no mosquitto here (scripts/install-peers)")
    own, other = ca.issue("shop/edge"), ca.issue("shop/centre")
    with Lab("edge", "centre") as lab:
        edge, centre = Pod(lab["edge"], directory), Pod(lab["centre"], directory)
        accepting = {"certificate": str(other.certificate), "key": str(other.key), "client_ca": str(ca.root)}
        centre.proxy(
            {
                "listeners": [
                    {"name": "tunnels", "listen": "0.0.0.0:8443", "protocol": "tunnel", "tls": accepting},
                    {"name": "edges", "listen": [], "protocol": "tcp", "transparent": True, "cluster": "there"},
                ],
                "clusters": {"there": {"original": True}},
                "tunnels": {"centre": {"accept": ["shop/edge"], "listener": "edges", "dead": "1s", "resume": "30s"}},
            }
        )
        tls = {"certificate": str(own.certificate), "key": str(own.key), "ca": str(ca.root), "names": ["shop/centre"]}
        ports = {"web": WEB, "mqtt": MQTT, "bulk": BULK}
        edge.proxy(
            {
                "listeners": [
                    {"name": name, "listen": f"127.0.0.1:{port}", "protocol": "tcp", "cluster": name}
                    for name, port in ports.items()
                ],
                "clusters": {
                    name: {"endpoints": [f"127.0.0.1:{port}"], "via": "centre", "lane": lane}
                    for (name, port), lane in zip(ports.items(), ("fast", "fast", "bulk"), strict=True)
                },
                "tunnels": {
                    "centre": {
                        "dial": f"{lab['centre'].v4}:8443", "tls": tls, "dead": "1s", "resume": "30s",
                        "classes": {"fast": {"tier": 0}, "bulk": {"tier": 1}},
                    }
                },
            }
        )  # fmt: skip
        with lab["centre"].inside():
            app = App("centre", ("127.0.0.1", WEB))
        conf = directory / "mosquitto.conf"
        conf.write_text(f"listener {MQTT} 127.0.0.1\nallow_anonymous true\nuser root\n")
        quiet = (directory / "apps.log").open("ab")
        lab["centre"].start([mosquitto, "-c", str(conf)], stdout=quiet, stderr=quiet)
        poll(listening(lab["centre"], MQTT), "the broker")
        for pod in (edge, centre):
            pod.wait()
        there = Site(edge, centre, lab["centre"])
        poll(there.links, "a link")
        yield there
        app.close()
        quiet.close()


def test_programs_that_know_nothing_of_a_tunnel_use_it(site: Site) -> None:
    status, body = site.edge.curl(f"http://127.0.0.1:{WEB}/books")
    assert (status, json.loads(body)["path"]) == (200, "/books")
    sent = ("mosquitto_pub", "-h", "127.0.0.1", "-p", str(MQTT), "-t", "a", "-m", "one", "-r", "-q", "1")
    site.edge.run(*sent)


def test_what_is_under_way_goes_on_after_the_link_was_away(site: Site) -> None:
    """A subscriber, an upload that is compared byte for byte, and a request that is made while nobody is there."""
    edge = site.edge
    subscriber = edge.host.start(
        ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(MQTT), "-t", "news", "-C", "1", "-W", "20", "-q", "1"],
        uid=ANYBODY, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    taken = Sums(site.centre.host, BULK)
    upload = threading.Thread(target=pour, args=(edge.host, BULK, 30_000_000))
    upload.start()
    poll(lambda: taken.size > 1_000_000, "the upload is under way")
    site.pull()
    asked = edge.host.start(
        ["curl", "-s", "-m", "20", f"http://127.0.0.1:{WEB}/patient"], uid=ANYBODY, stdout=subprocess.PIPE, text=True
    )
    poll(lambda: site.links() == 0, "the link is given up")
    before = taken.size
    site.plug()
    poll(lambda: taken.size > before, "it goes on")
    assert json.loads(str(asked.communicate(timeout=LONGEST)[0]))["path"] == "/patient"
    edge.run("mosquitto_pub", "-h", "127.0.0.1", "-p", str(MQTT), "-t", "news", "-m", "still here", "-q", "1")
    assert subscriber.communicate(timeout=LONGEST)[0] == "still here\n"
    upload.join(LONGEST)
    poll(lambda: taken.ended, "the upload has ended")
    assert taken.digest() == hashlib.sha256(bytes(range(256)) * (30_000_000 // 256)).hexdigest()
    taken.close()


class Sums:
    """A server that takes one upload and knows its digest."""

    def __init__(self, host: Host, port: int) -> None:


        with host.inside():
            self._sock = socket.create_server(("127.0.0.1", port))
        self._digest = hashlib.sha256()
        self.size = 0
        self.ended = False
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        sock, _ = self._sock.accept()
        with sock:
            while data := sock.recv(65536):
                self._digest.update(data)
                self.size += len(data)
        self.ended = True

    def digest(self) -> str:
        return self._digest.hexdigest()

    def close(self) -> None:
        self._sock.close()


def pour(host: Host, port: int, size: int) -> None:
    block: Any = bytes(range(256)) * 256
    left = size // 256 * 256
    with connected(host, ("127.0.0.1", port)) as sock:
        sock.settimeout(60)
        while left:
            piece = block[:left]
            sock.sendall(piece)
            left -= len(piece)


