"""A pod whose connections are handed over as they are: its application sees its clients, and they see it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.in_place import Pod
from tests.e2e.pods import App
from tests.lab import Host, Lab, needs_lab

PORT = 8080
CONFIG = {
    "listeners": [
        {
            "name": "inbound",
            "listen": ["0.0.0.0:15003", "[::]:15003"],
            "protocol": "tcp",
            "transparent": True,
            "tproxy": True,
            "cluster": "app",
        }
    ],
    "clusters": {"app": {"original": True, "source": "client"}},
}


@pytest.fixture(scope="module", params=["iptables", "nftables"])
def pod(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pod, Host]]:
    needs_lab()
    with Lab("app", "client") as lab:
        pod = Pod(lab["app"], tmp_path_factory.mktemp("tproxy"))
        pod.proxy(CONFIG, capabilities=("net_admin",))
        pod.redirect("--mode", "tproxy", "--no-outbound", "--backend", request.param)
        with lab["app"].inside():
            apps = [App("four", ("0.0.0.0", PORT)), App("six", ("::", PORT))]
        pod.wait()
        yield pod, lab["client"]
        for app in apps:
            app.close()


@pytest.mark.parametrize("family", [4, 6])
def test_the_application_sees_who_asks(pod: tuple[Pod, Host], family: int) -> None:
    app, client = pod
    there, here = (app.host.v4, client.v4) if family == 4 else (f"[{app.host.v6}]", client.v6)
    told = json.loads(client.run("curl", "-s", "-m", "5", f"http://{there}:{PORT}/"))
    assert (told["app"], told["peer"]) == ("four" if family == 4 else "six", here)
    assert 'endpoint="original"' in app.ask("/metrics")[1], "it came by the proxy"


def test_without_the_capability_the_start_says_what_is_missing(tmp_path: Path) -> None:
    needs_lab()
    with Lab("app") as lab:
        pod = Pod(lab["app"], tmp_path)
        pod.proxy(CONFIG)
        assert pod.ended() == 4
        assert "0.0.0.0:15003: `tproxy` takes CAP_NET_ADMIN: Operation not permitted" in pod.log
