"""Several workloads behind one proxy: what a policy means for each of them, by its own name and for it alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshproxy.admin.reload import Change, Layer
from meshproxy.dialects import for_each, read, yaml12
from meshproxy.dialects.confined import Settings
from meshproxy.errors import Invalid
from meshproxy.model import Config, combine, encode

GOLDEN = Path(__file__).parent / "golden"
SMI = Path(__file__).parent / "smi" / "golden"
MESH = "\n---\n".join((SMI / name).read_text() for name in ("_shop.yaml", "traffic-target-v1alpha4.yaml"))
TWO = """
node: {trust_domain: cluster.local}
sidecar: {source: 169.254.7.7}
workloads:
  - {name: books, namespace: shop, service_account: books-v1, addresses: [10.1.0.7],
     certificate: b.pem, key: b.key, ca: m.pem}
  - {name: buyer, namespace: shop, service_account: bookbuyer, addresses: [10.1.0.9, "fd00::9"]}
"""
OF_FSM = """
workloads:
  - {name: books, namespace: shop, service_account: bookstore, addresses: [10.1.0.7], layer: books}
  - {name: carts, namespace: shop, service_account: carts, addresses: [10.1.0.8], layer: carts}
"""


def fsm(port: int, **more: Any) -> str:
    """Of a service that anybody of the mesh may ask, and that may ask bookstore itself; all else goes on."""
    rule = {"Path": ".*", "Type": "Regex"}
    rules = {"RouteRules": [{**rule, "TargetClusters": {"app": 100}, "AllowedServices": ["a.b"]}]}
    towards = {"RouteRules": [{**rule, "TargetClusters": {"shop/books|80": 90, "spare": 10}}]}
    inbound = {
        "TrafficMatches": {
            "80": {
                "Port": 80,
                "Protocol": "http",
                "HttpHostPort2Service": {"x.shop": "x"},
                "HttpServiceRouteRules": {"x": rules},
            }
        },
        "ClustersConfigs": {"app": {"Endpoints": {f"127.0.0.1:{port}": {"Weight": 100}}}},
    }
    outbound = {
        "TrafficMatches": {
            "80": [
                {
                    "Port": 80,
                    "Protocol": "http",
                    "DestinationIPRanges": {"10.96.0.1/32": None},
                    "HttpHostPort2Service": {"books.shop": "books.shop"},
                    "HttpServiceRouteRules": {"books.shop": towards},
                }
            ]
        },
        "ClustersConfigs": {
            "shop/books|80": {"Endpoints": {"10.1.0.7:80": {"Weight": 100}}},
            "spare": {"Endpoints": {"10.1.0.6:80": {"Weight": 100}}},
        },
    }
    spec = {"SidecarTimeout": 60, "Traffic": {"EnableEgress": True}, "Probes": PROBES}
    said = {"Spec": spec, "Inbound": inbound, "Outbound": outbound, "AllowedEndpoints": {"10.1.0.0/16": "all"}}
    return json.dumps({**said, **more}, indent=1)


PROBES = {
    "LivenessProbes": [
        {"httpGet": {"path": "/live", "port": 15901, "httpHeaders": [{"name": "Original-Http-Port", "value": "8080"}]}}
    ]
}


def layers(**texts: str) -> dict[str, Layer]:
    return {name: Layer((read(text.encode(), f"{name}.yaml"),)) for name, text in texts.items()}


def put(given: dict[str, Layer]) -> Change:
    return Change.of(given, Config(), combine)


def meant(change: Change) -> dict[str, Any]:
    found = {key: what for key, what in encode(change.config).items() if key in ("listeners", "routes", "clusters")}
    return {**found, **({"notes": notes} if (notes := [str(note) for note in change.notes]) else {})}


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("two-of-smi", {"default": TWO, "mesh": MESH}),
        ("two-of-fsm", {"default": OF_FSM, "books": fsm(14001), "carts": fsm(8080)}),
    ],
)
def test_in_our_words(name: str, texts: dict[str, str]) -> None:
    expected = GOLDEN / f"{name}.yaml"
    assert meant(put(layers(**texts))) == yaml12.parse(expected.read_text(), expected.name)


def test_what_a_layer_is_shown_as_could_be_put_in_its_place() -> None:
    """For the proxy of the same workloads: what stands in it is said of them already."""
    change = put(layers(default=TWO, mesh=MESH))
    shown = read(json.dumps(change.layers["mesh"].data).encode(), "shown")
    bare = read(TWO.encode(), "default.yaml")
    assert combine([bare, shown]) == change.config


def test_whose_layer_is_another_ones_is_denied_everything() -> None:
    change = put(layers(default=OF_FSM, books=fsm(14001)))
    assert {cluster.name.partition("/")[0] for cluster in change.config.clusters} == {"books"}
    inbound = change.config.listeners[0]
    assert {str(net) for chain in inbound.chains for net in chain.match.destinations} == {"10.1.0.7/32"}


def test_a_layer_of_nobodys_is_of_all_who_have_none() -> None:
    mixed = OF_FSM.replace(", layer: carts", "")
    said = Settings([read(mixed.encode(), "node.yaml")])
    whose = {layer: [each.place for each in said.of(layer)] for layer in ("books", "default", "mesh")}
    assert whose == {"books": ["workloads.books"], "default": ["workloads.carts"], "mesh": ["workloads.carts"]}
    assert [each.place for each in Settings([]).of("default")] == ["node"]


def test_one_change_is_translated_for_whom_it_concerns(monkeypatch: pytest.MonkeyPatch) -> None:
    from meshproxy.dialects import smi

    asked: list[str] = []
    translate = smi.translate

    def counted(sheets: Any, setting: Any) -> Any:
        asked.append(setting.place)
        return translate(sheets, setting)

    monkeypatch.setattr(smi, "translate", counted)
    many = "workloads:\n" + "".join(
        f"  - {{name: w{n}, namespace: shop, service_account: books-v1, addresses: [10.2.0.{n}]}}\n" for n in range(50)
    )
    first = put(layers(default=many, mesh=MESH))
    assert len(asked) == 50
    again = {**first.layers, **layers(default=many + "  - {name: new, addresses: [10.3.0.1], layer: x}\n")}
    second = put(again)
    assert len(asked) == 50
    put({**second.layers, **layers(default=many.replace("10.2.0.7]", "10.2.0.77]"))})
    assert asked[50:] == ["workloads.w7"]


def refused(**texts: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        put(layers(**texts))
    return [str(problem) for problem in caught.value.problems]


def test_two_with_one_address_or_one_name_are_refused() -> None:
    said = TWO.replace('"fd00::9"', "10.1.0.7")
    (problem,) = refused(default=said, mesh=MESH)
    assert problem.startswith("default.yaml:7: workloads[1].addresses[1]: 10.1.0.7 is an address of workload `books`")
    (problem,) = refused(default=TWO.replace('"fd00::9"', '"::ffff:10.1.0.7"'))
    assert "10.1.0.7 is an address of workload `books`" in problem
    (problem,) = refused(default=TWO.replace('"fd00::9"', '"fd00::9%eth0"'))
    assert "without a zone" in problem
    (problem,) = refused(default=TWO.replace('"fd00::9"', "client"))
    assert "must be an IP address" in problem
    (problem,) = refused(default=TWO.replace("name: buyer", "name: books"))
    assert "workload `books` is defined twice: first in default.yaml:5" in problem


def asked(*endpoints: str) -> tuple[list[str], str | None]:
    """Where a workload is asked whose policy says these, and from where."""
    said = fsm(14001).replace('"127.0.0.1:14001"', ": {}, ".join(map(json.dumps, endpoints)))
    node = OF_FSM + "sidecar: {source: 169.254.7.7}\n"
    clusters = put(layers(default=node, books=said, carts=fsm(5))).config.clusters
    (found,) = (each for each in clusters if each.name == "books/app")
    return [str(each.address) for each in found.members], found.source


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.9.9.9", "[::1]", "[::1%lo]", "[::ffff:127.0.0.1]", "localhost", "LocalHost.", "a.localhost"],
)
def test_no_policy_of_a_workload_reaches_what_is_on_the_loopback_of_the_node(host: str) -> None:
    assert asked(f"{host}:15000") == (["10.1.0.7:15000"], "169.254.7.7")


def test_nobody_but_the_workload_is_asked_as_one_who_was_let_in() -> None:
    assert asked("127.0.0.1:80", "10.1.0.8:80") == (["10.1.0.8:80", "10.1.0.7:80"], None)
    assert asked("10.1.0.8:80") == (["10.1.0.8:80"], None)


def test_a_unix_socket_is_none_of_a_workload() -> None:
    said = fsm(14001).replace("127.0.0.1:14001", "unix:/run/meshproxy/admin.sock")
    (problem,) = refused(default=OF_FSM, books=said, carts=fsm(5))
    assert problem.startswith("books.yaml:")
    assert "a unix socket is one of the node" in problem


def leaving(*gateways: str) -> dict[str, Any]:
    """All egress by these, of which the first has a greater share."""
    said = {f"gw{n}": {"Endpoints": {address: {"Weight": 100}}} for n, address in enumerate(gateways)}
    return {"ForwardMatches": {"*": {name: 200 - 50 * n for n, name in enumerate(said)}}, "EgressGateways": said}


def test_each_has_gateways_of_its_own() -> None:
    books, carts = fsm(14001, Forward=leaving("10.0.0.8:1", "127.0.0.1:1")), fsm(5, Forward=leaving("10.0.0.9:1"))
    config = put(layers(default=OF_FSM, books=books, carts=carts)).config
    assert encode(config)["tunnels"] == {
        "books/gw0/10.0.0.8:1": {"through": "h2", "server": "10.0.0.8:1"},
        "books/gw1/127.0.0.1:1": {"through": "h2", "server": "10.1.0.7:1"},
        "books/egress@": {
            "among": [
                {"tunnel": "books/gw0/10.0.0.8:1", "weight": 200}, {"tunnel": "books/gw1/127.0.0.1:1", "weight": 150}
            ]
        },
        "carts/gw0/10.0.0.9:1": {"through": "h2", "server": "10.0.0.9:1"},
    }  # fmt: skip
    leave = {each.name: each.via for each in config.clusters if each.original}
    assert leave == {
        "books/original@egress@": "books/egress@", "carts/original@gw0/10.0.0.9:1": "carts/gw0/10.0.0.9:1"
    }  # fmt: skip


def test_several_gateways_of_one_weight_are_those_of_the_workload_too() -> None:
    gateways: dict[str, Any] = {"gw": {"Endpoints": {"10.0.0.8:1": {}, "10.0.0.9:1": {}}}}
    books = fsm(14001, Forward={"ForwardMatches": {"*": {"gw": 1}}, "EgressGateways": gateways})
    tunnels = {each.name: each for each in put(layers(default=OF_FSM, books=books)).config.tunnels}
    assert [each.tunnel for each in tunnels["books/egress@"].among] == ["books/gw/10.0.0.8:1", "books/gw/10.0.0.9:1"]


def test_a_gateway_is_no_unix_socket_of_the_node() -> None:
    said = fsm(14001, Forward=leaving("unix:/run/meshproxy/admin.sock"))
    (problem,) = refused(default=OF_FSM, books=said, carts=fsm(5))
    assert "a unix socket is one of the node" in problem


def test_no_workload_says_for_all_which_names_there_are() -> None:
    spec = {"LocalDNSProxy": {"UpstreamDNSServers": {"Primary": "192.0.2.6"}}}
    said = fsm(14001, Spec=spec, DNSResolveDB={"bank.example": ["192.0.2.6"]})
    change = put(layers(default=OF_FSM, books=said, carts=fsm(5)))
    assert change.config.dns == Config().dns
    assert {each.name for each in change.config.listeners} == {"inbound", "outbound", "probes"}
    assert any("names are answered" in str(note) for note in change.notes)


def test_no_workload_says_for_all_what_the_trust_domain_is() -> None:
    nobody = "workloads: [{name: books, addresses: [10.1.0.7], layer: books}]"
    papers = {"CommonName": "a.b.evil.example"}
    problems = refused(default=nobody, books=fsm(14001, Certificate=papers))
    assert any("the trust domain is evil.example, and not cluster.local: say it in `node`" in each for each in problems)


def test_a_certificate_is_that_of_one_workload() -> None:
    assert refused(default=TWO.replace(", ca: m.pem", "")) == [
        "default.yaml:6: workloads[0].certificate: `certificate` needs `ca`",
        "default.yaml:6: workloads[0].key: `key` needs `ca`",
    ]
    (problem,) = refused(default=TWO.replace("source: 169.254.7.7", "certificate: a, key: b, ca: c"))
    assert "`certificate` is that of one workload, and there are `workloads`" in problem


def test_what_is_known_of_nobody_keeps_nobody_waiting() -> None:
    change = put(layers(default=TWO.replace("bookbuyer", "stranger"), mesh=MESH))
    assert {cluster.name.partition("/")[0] for cluster in change.config.clusters} == {"books"}
    assert any("workloads.buyer: no ServiceAccount" in str(note) for note in change.notes)


def test_a_configuration_of_fsm_is_for_one() -> None:
    (problem,) = refused(default=OF_FSM.replace(", layer: books", "").replace(", layer: carts", ""), other=fsm(1))
    assert "it is for one workload, and 2 would have it" in problem


def test_policies_of_two_dialects_need_a_proxy_each() -> None:
    mixed = OF_FSM.replace("carts, addresses: [10.1.0.8], layer: carts", "books-v1, addresses: [10.1.0.8]")
    (problem,) = refused(default=mixed, books=fsm(14001), mesh=MESH)
    assert "another workload has listener `inbound` too" in problem


def test_what_is_wrong_is_told_in_the_words_of_the_document_that_says_it() -> None:
    wrong = fsm(14001).replace("10.96.0.1/32", "10.96.0.1/33")
    (problem,) = refused(default=OF_FSM, books=fsm(14001), carts=wrong)
    assert problem.startswith("carts.yaml:")
    (problem,) = refused(default=TWO.replace("169.254.7.7", "fd00::1"), mesh=MESH)[:1]
    assert '(in our words, clusters["books/local|14001"]' in problem


def test_who_is_told_is_said_once_for_all() -> None:
    spec = {"Observability": {"tracing": {"Address": "zipkin:9411", "Endpoint": "/api", "SampledFraction": 1.0}}}
    change = put(layers(default=OF_FSM, books=fsm(14001, Spec=spec)))
    assert change.config.tracing is None
    assert change.config.metrics.presets == ("fsm",)


def test_a_key_is_never_shown() -> None:
    text = TWO.replace("b.key", '"-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----\\n"')
    config = put(layers(default=text)).config
    assert "AAAA" not in json.dumps(encode(config, redact=True))
    assert "AAAA" in json.dumps(encode(config))
    assert "AAAA" not in repr(config)


def test_for_each_says_what_is_wrong_once() -> None:
    document = read(MESH.replace("kind: HTTPRouteGroup", "kind: Nonsense").encode(), "mesh.yaml")
    many = Settings([read(TWO.encode(), "node.yaml")]).of("default")
    with pytest.raises(Invalid) as caught:
        for_each([document], many)
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == len(set(told))
