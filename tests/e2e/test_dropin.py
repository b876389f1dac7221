"""The image of FSM's sidecar with our programs in it: its command line, its ports, its texts, and its end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import LONGEST, poll
from tests.e2e.fsm_pods import Pod, Pods
from tests.lab import needs_lab

SERVICE = "books.shop.svc.cluster.local"
RULE = {"Path": ".*", "Type": "Regex", "Headers": None, "Methods": None}


def policy(reply_from: int, version: str = "1", **more: Any) -> dict[str, Any]:
    """Without a certificate: plain text, and nobody is asked who he is."""
    match = {
        "Port": reply_from,
        "Protocol": "http",
        "HttpHostPort2Service": {"books.shop": SERVICE},
        "HttpServiceRouteRules": {
            SERVICE: {"RouteRules": [{**RULE, "TargetClusters": {f"shop/books|{reply_from}|local": 100}}]}
        },
    }
    return {
        "Version": version,
        "Spec": {"ServiceIdentity": "books.shop"},
        "Inbound": {
            "TrafficMatches": {"80": match},
            "ClustersConfigs": {f"shop/books|{reply_from}|local": {f"127.0.0.1:{reply_from}": 100}},
        },
        "Outbound": {},
        "AllowedEndpoints": {"10.77.0.0/24": "Ingress Controller"},
        **more,
    }


@pytest.fixture
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    needs_lab()
    with Pods(tmp_path_factory.mktemp("pods"), books="books") as pods:
        yield pods["books"]


def asked(pod: Pod, address: str, *more: str) -> tuple[int, str]:
    text, _, status = pod.curl("-w", "\n%{http_code}", *more, f"http://{address}").rpartition("\n")
    return int(status), text


def ended(process: subprocess.Popen[Any]) -> int:
    return process.wait(LONGEST)


def test_it_waits_for_its_policy_serves_it_and_a_change_of_it_and_drains(pod: Pod) -> None:
    pod.app("one", 8001)
    pod.app("two", 8002)
    operator = pod.log.with_suffix(".yaml")
    operator.write_text("drain: {delay: 0s}")
    sidecar = pod.start("--threads=1", "--reuse-port", MESHPROXY_CONFIG=str(operator))
    waiting = pod.program("wait-pipy")
    poll(lambda: asked(pod, "127.0.0.1:15000/ready") == (503, "waiting\n"), "waiting for the first policy")
    assert asked(pod, "127.0.0.1:15000/listeners")[1].splitlines() == [
        "inbound-prometheus-listener::0.0.0.0:15010",
        "inbound-prometheus-listener::[::]:15010",
    ]
    assert waiting.poll() is None
    pod.control.commit("1", policy(8001))
    assert ended(waiting) == 0
    assert asked(pod, "127.0.0.1:15000/ready") == (200, "LIVE\n")
    assert "inbound-listener::0.0.0.0:15003\n" in asked(pod, "127.0.0.1:15000/listeners")[1]

    client = pod.elsewhere
    said = "--resolve", f"books.shop:80:{pod.host.v4}"
    page = client.run("curl", "-s", *said, "http://books.shop/a")
    assert json.loads(page)["app"] == "one"
    pod.control.commit("2", policy(8002))
    poll(lambda: json.loads(client.run("curl", "-s", *said, "http://books.shop/a"))["app"] == "two", "the change")

    status, metrics = asked(pod, "127.0.0.1:15010/stats/prometheus")
    assert status == 200
    labels = 'source_namespace="shop",source_workload_kind="Deployment",source_workload_name="books",'
    labels += 'source_workload_pod="books-6d8f7c9b5-x2x4q",sidecar_cluster_name="shop/books|8002|local"'
    assert f"sidecar_cluster_upstream_rq_total{{{labels}}}" in metrics
    assert "sidecar_server_live 1" in metrics
    assert "meshproxy_listener_connections_total" in metrics
    assert asked(pod, "127.0.0.1:6060/metrics")[0] == 200
    assert json.loads(asked(pod, "127.0.0.1:6060/status")[1])["version"] == "2"
    for address in ("15010/ready", "15000/drain", "15000/nothing", "6060/dump"):
        port, _, path = address.partition("/")
        assert asked(pod, f"127.0.0.1:{port}/{path}") == (404, "Not Found\n")

    # Scraped from elsewhere; what is at 15000 is not for others, who come to the inbound listener in its place.
    assert "sidecar_server_live 1" in client.run("curl", "-s", f"http://{pod.host.v4}:15010/stats/prometheus")
    assert client.run("curl", "-s", f"http://{pod.host.v4}:15000/ready", check=False) == ""

    killer = pod.program("gkill")
    assert ended(killer) == 0
    assert ended(sidecar) == 0
    assert ended(pod.program("gkill")) == 0  # nobody is there any more, which is what it is for
    assert "Traceback" not in pod.log.read_text()
