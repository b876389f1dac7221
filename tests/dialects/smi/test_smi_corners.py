"""Where SMI leaves something open, or implementations differ: what is done here, and docs/smi.md says why."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.core.route import Router, compile_routes
from meshproxy.model import Rule
from tests.dialects.smi.policies import plain, put, refused

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {app}, version: {name}}}}}
spec: {{serviceAccountName: {account}}}
status: {{podIP: {ip}}}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{clusterIP: {ip}, selector: {selector}, ports: {ports}}}
"""
GROUP = """
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {{name: {name}, namespace: shop}}
spec: {{matches: {matches}}}
"""
TCP = """
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {{name: tcp, namespace: shop}}
spec: {{matches: {{ports: {ports}}}}}
"""
TARGET = """
apiVersion: access.smi-spec.io/{version}
kind: TrafficTarget
metadata: {{name: target, namespace: shop}}
spec:
  destination: {{kind: ServiceAccount, name: {account}, namespace: shop}}
  rules: {rules}
  sources: [{{kind: ServiceAccount, name: bookbuyer, namespace: shop}}]
"""
SPLIT = """
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {{name: {name}, namespace: shop}}
spec: {{service: {service}, backends: {backends}, matches: {matches}}}
"""
HTTP, TCP_RULE = "{kind: HTTPRouteGroup, name: group}", "{kind: TCPRoute, name: tcp}"
WEB = "[{name: http, port: 80, targetPort: 8080}]"


def pod(name: str, ip: str, account: str = "books", app: str = "books", namespace: str = "shop") -> str:
    return POD.format(name=name, namespace=namespace, app=app, account=account, ip=ip)


def service(name: str, ip: str, selector: str = "{app: books}", ports: str = WEB, namespace: str = "shop") -> str:
    return SERVICE.format(name=name, namespace=namespace, ip=ip, selector=selector, ports=ports)


def group(matches: str, name: str = "group") -> str:
    return GROUP.format(name=name, matches=matches)


def target(*rules: str, version: str = "v1alpha3", account: str = "books") -> str:
    return TARGET.format(version=version, account=account, rules=f"[{', '.join(rules)}]")


def split(backends: str, name: str = "split", service: str = "books", matches: str = "[]") -> str:
    return SPLIT.format(name=name, service=service, backends=backends, matches=matches)


def policy(*texts: str) -> str:
    return "---".join(texts)


BOOKS = policy(pod("v1", "10.1.0.1"), service("books", "10.96.0.1"))
SHOP = policy(
    pod("v1", "10.1.0.1"),
    pod("v2", "10.1.0.2"),
    service("books", "10.96.0.1"),
    service("books-v1", "10.96.0.2", "{version: v1}"),
    service("books-v2", "10.96.0.3", "{version: v2}"),
)


ELSEWHERE = policy(
    pod("o", "10.1.9.1", "office", "office", "office"),
    service("desk", "10.96.9.1", "{app: office}", namespace="office"),
)


def admitted(*texts: str, port: int = 8080) -> list[dict[str, Any]]:
    """Who may ask what on the port, of HTTP or not."""
    config = plain(put("shop/books", policy(*texts))[0])
    table = config.get("routes", {}).get(f"inbound|{port}")
    if table is not None:
        found: list[dict[str, Any]] = table[0]["authorize"]
        return found
    chains = next(each for each in config["listeners"] if each["name"] == "inbound")["chains"]
    callers: list[dict[str, Any]] = next(each for each in chains if each["match"]["ports"] == [port])["authorize"]
    return callers


def rules(*texts: str, who: str = "shop/books", table: str = "outbound|80") -> dict[str, dict[str, Any]]:
    found = plain(put(who, policy(*texts))[0])["routes"][table]["rules"]
    return {rule["name"]: rule for rule in found}


def shares(rule: dict[str, Any]) -> dict[str, int]:
    return {share["cluster"]: share.get("weight", 1) for share in rule["split"]}


def router(*texts: str) -> Router[Rule]:
    config, _ = put("shop/books", policy(*texts))
    found = next(table for table in config.routes if table.name == "outbound|80")
    return compile_routes(((rule.match, rule) for rule in found.rules), written=found.order == "written")


class Head:
    target = b"/"

    def __init__(self, **headers: bytes) -> None:
        self._headers = {name.encode().replace(b"_", b"-"): value for name, value in headers.items()}

    def get(self, name: bytes, /) -> bytes | None:
        return self._headers.get(name)


def test_corner_1_paths_are_anchored_at_the_start_and_open_at_the_end() -> None:
    assert admitted(BOOKS, group("[{name: a, pathRegex: /api}]"), target(HTTP))[0]["paths"] == [{"begins": "/api"}]


def test_corner_2_headers_are_named_in_any_case_match_as_a_whole_and_must_be_there() -> None:
    at = router(
        SHOP,
        group('[{name: a, headers: {X-Canary: "yes|"}}]'),
        split("[{service: books-v2, weight: 1}]", matches="[{kind: HTTPRouteGroup, name: group}]"),
    )

    def decided(**headers: bytes) -> str | None:
        found = at.find(b"books", b"/", b"GET", Head(**headers))
        return found.outcome.name if found else None

    assert decided(x_canary=b"yes") == "shop/books|80/split"
    assert decided(x_canary=b"yes, no") == decided(x_canary=b"yessir") == "shop/books|80"
    assert decided(x_canary=b"") == "shop/books|80/split"
    assert decided() == "shop/books|80"


def test_corner_2_a_header_that_is_there_in_two_cases_is_a_problem() -> None:
    found = refused("shop/books", policy(BOOKS, group('[{name: a, headers: {x-a: "1", X-A: "2"}}]'), target(HTTP)))
    (problem,) = found
    assert "is there twice" in problem
    assert problem.startswith("1.yaml:")


@pytest.mark.parametrize(
    "methods", ["", ", methods: []", ', methods: ["*"]', ', methods: [GET, "*"]', ", methods: null"]
)
def test_corner_3_no_methods_are_all_methods(methods: str) -> None:
    assert "methods" not in admitted(BOOKS, group(f"[{{name: a{methods}}}]"), target(HTTP))[0]


def test_corner_4_a_tcp_route_says_on_which_ports_the_requests_of_a_group_are_admitted() -> None:
    books = policy(
        pod("v1", "10.1.0.1"),
        service("books", "10.96.0.1", ports="[{name: http, port: 80, targetPort: 8080}, {name: http-2, port: 81}]"),
    )
    both = (books, group("[{name: a, pathRegex: /a}]"), TCP.format(ports="[80]"), target(HTTP, TCP_RULE))
    assert [entry["paths"] for entry in admitted(*both)] == [[{"begins": "/a"}]]
    assert admitted(*both, port=81) == []


def test_corner_4_a_tcp_route_alone_admits_every_request_on_its_ports() -> None:
    assert admitted(BOOKS, TCP.format(ports="[]"), target(TCP_RULE)) == [{"identities": ["shop/bookbuyer"]}]


def test_corner_4_where_there_are_no_requests_a_group_admits_nothing_and_a_tcp_route_connections() -> None:
    books = policy(pod("v1", "10.1.0.1"), service("books", "10.96.0.1", ports="[{name: tcp-db, port: 3306}]"))
    only_group = (books, group("[{name: a}]"), target(HTTP))
    assert admitted(*only_group, port=3306) == []
    assert "admits nothing to shop/books" in put("shop/books", policy(*only_group))[1][0]
    both = (books, group("[{name: a}]"), TCP.format(ports="[3306]"), target(HTTP, TCP_RULE))
    assert admitted(*both, port=3306) == [{"identities": ["shop/bookbuyer"]}]


def test_corner_4_a_port_that_no_service_has_is_told() -> None:
    _, notes = put("shop/books", policy(BOOKS, TCP.format(ports="[9]"), target(TCP_RULE)))
    assert any("port 9 is none of a service of shop/books" in note for note in notes)


def test_corner_5_without_rules_or_sources_nobody_is_admitted_or_it_is_refused() -> None:
    assert admitted(BOOKS, target(version="v1alpha2")) == []
    assert "admits nothing" in put("shop/books", policy(BOOKS, target(version="v1alpha2")))[1][0]
    assert "`rules` must not be an empty list" in refused("shop/books", policy(BOOKS, target()))[0]
    without = target(version="v1alpha3").replace("  rules: []\n", "")
    assert "`rules` is missing" in refused("shop/books", policy(BOOKS, without))[0]


def test_corner_6_the_root_may_be_a_backend_and_is_not_split_again() -> None:
    found = rules(SHOP, split("[{service: books, weight: 90}, {service: books-v2, weight: 10}]"))
    assert shares(found["shop/books|80"]) == {"shop/books|80": 90, "shop/books-v2|80": 10}


def test_corner_7_what_no_match_is_for_goes_to_the_root() -> None:
    found = rules(
        SHOP,
        group("[{name: a, headers: {x-a: '1'}}]"),
        split("[{service: books-v2, weight: 1}]", matches="[{kind: HTTPRouteGroup, name: group}]"),
    )
    assert found["shop/books|80"]["cluster"] == "shop/books|80"
    assert shares(found["shop/books|80/split"]) == {"shop/books-v2|80": 1}


def test_corner_8_several_splits_of_a_root_stand_by_name_those_with_matches_first() -> None:
    several = (
        SHOP,
        group("[{name: a, pathRegex: /a}]", "b"),
        group("[{name: a, pathRegex: /a/b}]", "c"),
        split("[{service: books-v1, weight: 1}]", "a-rest"),
        split("[{service: books-v2, weight: 1}]", "c", matches="[{kind: HTTPRouteGroup, name: c}]"),
        split("[{service: books-v1, weight: 1}]", "b", matches="[{kind: HTTPRouteGroup, name: b}]"),
    )
    mine = [name for name in rules(*several) if name.startswith("shop/books|80")]
    assert mine == ["shop/books|80/b", "shop/books|80/c", "shop/books|80"]
    assert shares(rules(*several)["shop/books|80"]) == {"shop/books-v1|80": 1}


def test_corner_8_two_splits_of_all_requests_contradict_each_other() -> None:
    found = refused(
        "shop/books",
        policy(SHOP, split("[{service: books-v1, weight: 1}]"), split("[{service: books-v2, weight: 1}]", "zweiter")),
    )
    (problem,) = found
    assert "books is split already by shop/split in 1.yaml:" in problem


def test_corner_8_several_groups_of_a_split_are_one() -> None:
    at = router(
        SHOP,
        group("[{name: a, pathRegex: /a}]", "a"),
        group("[{name: b, pathRegex: /b}]", "b"),
        split(
            "[{service: books-v2, weight: 1}]",
            matches="[{kind: HTTPRouteGroup, name: a}, {kind: HTTPRouteGroup, name: b}]",
        ),
    )
    decided = [at.find(b"books", path, b"GET", Head()) for path in (b"/a", b"/b", b"/c")]
    assert [found.outcome.name if found else None for found in decided] == [
        "shop/books|80/split",
        "shop/books|80/split",
        "shop/books|80",
    ]


def test_corner_9_a_split_whose_weights_are_all_0_is_as_none() -> None:
    of = policy(SHOP, split("[{service: books-v1, weight: 0}, {service: books-v2, weight: 0}]"))
    assert rules(of)["shop/books|80"]["cluster"] == "shop/books|80"
    assert "no backend with a weight above 0" in put("shop/books", of)[1][0]


def test_corner_9_a_backend_without_endpoints_leaves_its_share_to_the_others() -> None:
    of = policy(
        SHOP,
        service("books-v3", "10.96.0.4", "{version: v3}"),
        split("[{service: books-v1, weight: 1}, {service: books-v3, weight: 9}]"),
    )
    assert shares(rules(of)["shop/books|80"]) == {"shop/books-v1|80": 1}
    assert "shop/books-v3 has no endpoint for port 80" in put("shop/books", of)[1][0]


def test_corner_9_where_no_backend_has_endpoints_nobody_answers_for_them() -> None:
    of = policy(SHOP, service("books-v3", "10.96.0.4", "{version: v3}"), split("[{service: books-v3, weight: 9}]"))
    assert shares(rules(of)["shop/books|80"]) == {"shop/books-v3|80": 9}


def test_corner_9_a_backend_without_the_port_of_the_root_gets_nothing() -> None:
    of = policy(
        SHOP,
        service("books-v3", "10.96.0.4", "{version: v1}", "[{name: http, port: 81}]"),
        split("[{service: books-v1, weight: 1}, {service: books-v3, weight: 9}]"),
    )
    assert shares(rules(of)["shop/books|80"]) == {"shop/books-v1|80": 1}
    assert "shop/books-v3 has no port 80" in put("shop/books", of)[1][0]


def test_corner_9_a_backend_that_is_yet_to_be_made_gets_nothing() -> None:
    of = policy(SHOP, split("[{service: books-v1, weight: 100}, {service: books-v9, weight: 0}]"))
    assert shares(rules(of)["shop/books|80"]) == {"shop/books-v1|80": 100}
    assert "no Service books-v9 yet" in put("shop/books", of)[1][0]


def test_corner_10_requests_are_split_one_by_one_and_connections_by_connection() -> None:
    assert "split_by" not in rules(SHOP, split("[{service: books-v1, weight: 1}]"))["shop/books|80"]
    db = "[{name: tcp, port: 80, targetPort: 8080}]"
    of = policy(
        pod("v1", "10.1.0.1"),
        pod("v2", "10.1.0.2"),
        pod("v3", "10.1.0.3"),
        service("books", "10.96.0.1", ports=db),
        service("books-v1", "10.96.0.2", "{version: v1}", db),
        split("[{service: books, weight: 1}, {service: books-v1, weight: 1}]"),
    )
    cluster = plain(put("shop/books", of)[0])["clusters"]["shop/books|80|split"]
    # A sixth for each of three pods, and the half for one of them.
    weights = {each["address"]: each.get("weight", 1) for each in cluster["endpoints"]}
    assert weights == {"10.1.0.1:8080": 4, "10.1.0.2:8080": 1, "10.1.0.3:8080": 1}


def test_corner_10_a_split_of_requests_does_not_concern_connections() -> None:
    of = policy(
        pod("v1", "10.1.0.1"),
        service("books", "10.96.0.1", ports="[{name: tcp, port: 80}]"),
        group("[{name: a}]"),
        split("[{service: books, weight: 1}]", matches="[{kind: HTTPRouteGroup, name: group}]"),
    )
    config, notes = put("shop/books", of)
    assert "shop/books|80" in plain(config)["clusters"]
    assert "is for requests" in notes[0]


def test_corner_11_who_may_ask_is_checked_by_the_backend_that_is_asked() -> None:
    of = policy(
        pod("v1", "10.1.0.1", "books-v1"),
        pod("v2", "10.1.0.2", "books-v2"),
        service("books", "10.96.0.1"),
        service("books-v2", "10.96.0.3", "{version: v2}"),
        group("[{name: a}]"),
        target(HTTP, account="books-v1"),
        split("[{service: books-v2, weight: 1}]"),
    )
    assert plain(put("shop/books-v2", of)[0])["routes"]["inbound|8080"][0]["authorize"] == []
    assert plain(put("shop/books-v1", of)[0])["routes"]["inbound|8080"][0]["authorize"] != []


def test_corner_12_weights_are_of_services_and_not_of_pods() -> None:
    of = policy(SHOP, pod("v1b", "10.1.0.3"), split("[{service: books, weight: 1}, {service: books-v2, weight: 1}]"))
    assert shares(rules(of)["shop/books|80"]) == {"shop/books|80": 1, "shop/books-v2|80": 1}


def test_corner_12_weights_of_any_size_keep_their_proportion() -> None:
    of = policy(SHOP, split("[{service: books-v1, weight: 4000000000}, {service: books-v2, weight: 1}]"))
    assert shares(rules(of)["shop/books|80"]) == {"shop/books-v1|80": 65535, "shop/books-v2|80": 1}


@pytest.mark.parametrize(
    "host",
    [b"books", b"BOOKS", b"books:80", b"books.shop", b"Books.shop.svc:80", b"books.shop.svc.cluster.local"]
    + [b"10.96.0.1", b"10.96.0.1:80"],
)
def test_corner_13_hosts_are_named_in_any_case_with_or_without_a_port(host: bytes) -> None:
    found = router(SHOP).find(host, b"/", b"GET", Head())
    assert found is not None
    assert found.outcome.name == "shop/books|80"


def test_corner_13_a_bare_name_is_of_the_own_namespace() -> None:
    at = router(SHOP, ELSEWHERE)
    assert at.find(b"desk", b"/", b"GET", Head()) is None
    found = at.find(b"desk.office", b"/", b"GET", Head())
    assert found is not None
    assert found.outcome.name == "office/desk|80"


@pytest.mark.parametrize(
    "name", ["books", "books.shop", "books.shop.svc", "books.shop.svc.cluster.local", "books.shop.svc.cluster.local."]
)
def test_corner_14_a_root_is_named_in_full_or_in_short(name: str) -> None:
    found = rules(SHOP, split("[{service: books-v2.shop, weight: 1}]", service=name))
    assert shares(found["shop/books|80"]) == {"shop/books-v2|80": 1}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("books.office", "must be of namespace shop"),
        ("books.shop.example", "is no service of the cluster"),
        ("bookz", "no Service shop/bookz; did you mean `books`?"),
    ],
)
def test_corner_14_a_root_is_of_the_namespace_of_its_split(name: str, why: str) -> None:
    found = refused("shop/books", policy(SHOP, split("[{service: books-v2, weight: 1}]", service=name)))
    (problem,) = found
    assert why in problem


def test_corner_14_a_backend_may_be_of_another_namespace() -> None:
    found = rules(SHOP, ELSEWHERE, split("[{service: desk.office, weight: 1}]"))
    assert shares(found["shop/books|80"]) == {"office/desk|80": 1}




# What is told although it is in force -------------------------------------------------------------


def test_a_target_whose_sources_nobody_knows_is_told() -> None:
    binding = """
apiVersion: access.smi-spec.io/v1alpha4
kind: IdentityBinding
metadata: {name: bookbuyer, namespace: shop}
spec: {schemes: {podLabelSelector: {matchLabels: {app: nobody}}}}
"""
    said = target(HTTP, version="v1alpha4")
    said = said.replace("[{kind: ServiceAccount, name: bookbuyer", "[{kind: IdentityBinding, name: bookbuyer")
    of = policy(BOOKS, group("[{name: a}]"), binding, said)
    assert admitted(of) == []
    assert "admits nobody: it has no source that is known" in put("shop/books", of)[1][0]


def test_a_service_outside_of_the_mesh_is_told() -> None:
    external = "\napiVersion: v1\nkind: Service\nmetadata: {name: bank}\nspec: {type: ExternalName}\n"
    assert "default/bank is a name outside of the mesh" in put("shop/books", policy(BOOKS, external))[1][0]


def test_a_service_without_an_address_is_told_and_takes_no_connections() -> None:
    config, notes = put("shop/books", policy(BOOKS, service("nuts", "''", "{app: nuts}", "[{port: 80}]")))
    assert "shop/nuts has no address on port 80" in notes[0]
    outbound = next(each for each in plain(config)["listeners"] if each["name"] == "outbound")
    assert [chain["match"]["destinations"] for chain in outbound["chains"]] == [["10.96.0.1/32", "10.1.0.1/32"]]


def test_slices_of_names_are_told_and_serve_nobody() -> None:
    names = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: books, namespace: shop, labels: {kubernetes.io/service-name: books}}
addressType: FQDN
endpoints: [{addresses: [books.example]}]
ports: [{name: http, port: 80}]
"""
    config, notes = put("shop/books", policy(BOOKS, names))
    assert "endpoints of this type are names" in notes[0]
    assert plain(config)["clusters"]["shop/books|80"]["endpoints"] == []


def test_ports_of_udp_and_of_http2_are_told_once() -> None:
    dns = "[{name: dns, port: 53, protocol: UDP}, {name: dns-2, port: 54, protocol: UDP}, {name: grpc, port: 80}]"
    _, notes = put("shop/books", policy(pod("v1", "10.1.0.1"), service("books", "10.96.0.1", ports=dns)))
    assert [note.partition(": 1.yaml")[0] for note in notes] == ["not-in-force", "not-in-force"]
    assert "port 53 of shop/books is UDP" in notes[0]
    assert "port 80 of shop/books is of HTTP/2" in notes[1]


# What is spoken -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("port", "http"),
    [
        ("{name: http-web, port: 80}", True),
        ("{name: web, appProtocol: http, port: 80}", True),
        ("{name: http, appProtocol: redis, port: 80}", False),
        ("{name: https, port: 80}", False),
        ("{name: tcp-web, port: 80}", False),
        ("{name: web, port: 80}", False),
        ("{port: 80}", False),
    ],
)
def test_a_port_speaks_what_its_service_says(port: str, http: bool) -> None:
    config, _ = put("shop/books", policy(pod("v1", "10.1.0.1"), service("books", "10.96.0.1", ports=f"[{port}]")))
    assert ("outbound|80" in plain(config).get("routes", {})) is http


@pytest.mark.parametrize(
    "more", [target(HTTP), split("[{service: nuts, weight: 1}]", matches="[{kind: HTTPRouteGroup, name: group}]")]
)
def test_a_port_that_says_nothing_speaks_http_where_requests_are_looked_at(more: str) -> None:
    unsaid = "[{port: 80}]"
    books, nuts = service("books", "10.96.0.1", ports=unsaid), service("nuts", "10.96.0.2", "{app: nuts}", unsaid)
    config, _ = put("shop/books", policy(pod("v1", "10.1.0.1"), books, nuts, group("[{name: a}]"), more))
    assert "outbound|80" in plain(config)["routes"]


# What does not fit another resource ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (split("[{service: books.shop.example, weight: 1}]"), "books.shop.example is no service of the cluster"),
        (
            split("[{service: books, weight: 1}]", matches="[{kind: HTTPRouteGroup, name: grupp}]"),
            "no HTTPRouteGroup shop/grupp; did you mean `group`?",
        ),
        (TCP.format(ports="[]") + "---" + target("{kind: TCPRoute, name: tcp, matches: [a]}"), "not of a TCPRoute"),
        (
            target(HTTP, version="v1alpha4").replace("tion: {kind: ServiceAccount", "tion: {kind: IdentityBinding"),
            "no IdentityBinding shop/books",
        ),
        (split("[{service: books, weight: 1x}]").replace("v1alpha4", "v1alpha1"), "`weight` must be a quantity"),
    ],
)
def test_a_reference_to_what_is_not_there_is_a_problem(more: str, why: str) -> None:
    assert any(why in problem for problem in refused("shop/books", policy(BOOKS, group("[{name: a}]"), more)))


def test_what_cannot_be_read_hides_no_contradiction_and_makes_none() -> None:
    damaged = split("[{service: books, weight: -1}]", matches="[{kind: HTTPRouteGroup, name: group}]")
    nameless = group("[{name: a, methods: GET}]")
    more = target("{kind: HTTPRouteGroup, name: grupp}"), target(HTTP).replace("name: target", "name: second", 1)
    told = refused("shop/books", policy(BOOKS, damaged, nameless, *more))
    assert len(told) == 3
    for part in ("`weight` must be", "`methods` must be a list", "no HTTPRouteGroup shop/grupp"):
        assert any(part in problem for problem in told), told


# Who is who ---------------------------------------------------------------------------------------


def test_a_target_of_one_port_admits_nothing_on_another_one() -> None:
    ports = "[{name: http, port: 80, targetPort: 8080}, {name: http-2, port: 81}]"
    books = policy(pod("v1", "10.1.0.1"), service("books", "10.96.0.1", ports=ports), group("[{name: a}]"))
    of_one = target(HTTP, version="v1alpha2").replace("name: books, namespace: shop}", "name: books, port: 80}", 1)
    assert len(admitted(books, of_one)) == 1
    assert admitted(books, of_one, port=81) == []


@pytest.mark.parametrize("status", ["phase: Failed", "conditions: [{type: Ready, status: 'False'}]"])
def test_a_pod_that_is_not_ready_serves_nobody(status: str) -> None:
    late = pod("v2", "10.1.0.2").replace("podIP: 10.1.0.2", f"podIP: 10.1.0.2, {status}")
    config, _ = put("shop/books", policy(BOOKS, late))
    found = plain(config)["clusters"]["shop/books|80"]["endpoints"]
    assert [each["address"] for each in found] == ["10.1.0.1:8080"]


def test_who_shares_an_address_is_told_apart_by_the_pod_that_is_named_or_not_at_all() -> None:
    endpoints = """
apiVersion: v1
kind: Endpoints
metadata: {name: books, namespace: shop}
subsets: [{addresses: [{ip: 10.1.0.1%s}], ports: [{name: http, port: 8080}]}]
"""
    both = (BOOKS, pod("v2", "10.1.0.1", "other", "other"))
    for named, identity in ((", targetRef: {kind: Pod, name: v1}", "shop/books"), ("", None)):
        config, _ = put("shop/books", policy(*both, endpoints % named))
        (found,) = plain(config)["clusters"]["shop/books|80"]["endpoints"]
        assert (found.get("identity") if isinstance(found, dict) else None) == identity


def test_who_shares_requests_speaks_the_same() -> None:
    unsaid = "[{port: 80}]"
    v1, v2 = service("v1", "10.96.0.2", "{version: v1}", unsaid), service("v2", "10.96.0.3", "{version: v2}", unsaid)
    pods = pod("v1", "10.1.0.1"), pod("v2", "10.1.0.2", "others")
    shared = split("[{service: v1, weight: 1}, {service: v2, weight: 1}]", service="v1")
    assert set(rules(*pods, v1, v2, group("[{name: a}]"), target(HTTP), shared)) == {"shop/v1|80", "shop/v2|80"}
    assert set(rules(*pods, v1, v2, group("[{name: a}]"), target(HTTP))) == {"shop/v1|80"}


def test_a_group_for_one_port_makes_no_http_of_another_one() -> None:
    ports = "[{name: a, port: 80}, {name: b, port: 81}]"
    books = policy(pod("v1", "10.1.0.1"), service("books", "10.96.0.1", ports=ports), group("[{name: a}]"))
    config, _ = put("shop/books", policy(books, TCP.format(ports="[80]"), target(HTTP, TCP_RULE)))
    assert {name for name in plain(config)["routes"] if name.startswith("inbound")} == {"inbound|80"}


def test_a_binding_by_labels_is_for_the_pods_that_have_them() -> None:
    binding = """
apiVersion: access.smi-spec.io/v1alpha4
kind: IdentityBinding
metadata: {name: books, namespace: shop}
spec: {schemes: {podLabelSelector: {matchLabels: {version: v2}}}}
"""
    said = target(HTTP, version="v1alpha4").replace("tion: {kind: ServiceAccount", "tion: {kind: IdentityBinding")
    of = policy(SHOP, group("[{name: a}]"), binding, said)
    for version, admits in (("v1", 0), ("v2", 1)):
        config, _ = put("shop/books", of, node=f"labels: {{version: {version}}}")
        assert len(plain(config)["routes"]["inbound|8080"][0]["authorize"]) == admits
