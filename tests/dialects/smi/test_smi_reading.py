"""What a policy may look like, and how each thing wrong with it is told: all at once, each with its file and line."""

from __future__ import annotations

import json

import pytest

from meshproxy.dialects import yaml12
from meshproxy.dialects.smi import workloads
from meshproxy.dialects.translation import Sheet
from meshproxy.errors import Invalid
from tests.dialects.smi.policies import PAPERS, plain, put, refused
from tests.dialects.smi.test_smi_golden import GOLDEN

BOOKS = (GOLDEN / "_books.yaml").read_text()
POLICY = (GOLDEN / "traffic-target-v1alpha3.yaml").read_text()
WHOLE = f"{BOOKS}---\n{POLICY}"


def listed(text: str, kind: str = "List", api: str = "v1") -> str:
    items = [value for value in yaml12.parse_all(text, "f") if value is not None]
    return json.dumps({"apiVersion": api, "kind": kind, "metadata": {}, "items": items})


def wrong(*lines: str) -> list[str]:
    """Of a resource, beside the books."""
    return [problem.removeprefix("2.yaml:") for problem in refused("shop/books", BOOKS, "\n".join(lines))]


def test_one_text_or_many_a_list_or_json_say_the_same() -> None:
    expected = plain(put("shop/books", BOOKS, POLICY)[0])
    assert plain(put("shop/books", POLICY, BOOKS)[0]) == expected
    assert plain(put("shop/books", WHOLE)[0]) == expected
    assert plain(put("shop/books", listed(WHOLE))[0]) == expected
    assert plain(put("shop/books", listed(listed(WHOLE)))[0]) == expected


def test_items_of_a_list_of_one_kind_need_not_say_it() -> None:
    group, target = POLICY.split("---\n")
    bare = target.replace("apiVersion: access.smi-spec.io/v1alpha3\n", "").replace("kind: TrafficTarget\n", "")
    typed = listed(bare, "TrafficTargetList", "access.smi-spec.io/v1alpha3")
    assert plain(put("shop/books", BOOKS, group, typed)[0]) == plain(put("shop/books", BOOKS, POLICY)[0])


def test_a_list_may_be_empty() -> None:
    empty = '{"apiVersion": "v1", "kind": "List", "items": %s}'
    expected = plain(put("shop/books", BOOKS)[0])
    assert plain(put("shop/books", BOOKS, empty % "[]", empty % "null")[0]) == expected
    assert wrong(empty % "7") == ["1: items: `items` must be a list, not 7"]
    assert wrong(empty % "[7]") == ["1: items[0]: a resource must be a mapping, not 7"]


def test_a_version_or_kind_is_a_string() -> None:
    assert wrong("apiVersion: 1", "kind: Pod") == ["1: apiVersion: `apiVersion` must be a string, not 1"]
    assert wrong("apiVersion: v1", "kind: 7") == ["2: kind: `kind` must be a string, not 7"]


def test_every_problem_is_told_with_its_line() -> None:
    assert wrong(
        "apiVersion: access.smi-spec.io/v1alpha3",
        "kind: TrafficTarget",
        "metadata: {name: a, namespace: shop}",
        "spec:",
        "  destination: {kind: Group, name: books}",
        "  rulez: []",
        "  sources: []",
        "---",
        "apiVersion: split.smi-spec.io/v1alpha2",
        "kind: TrafficSplit",
        "metadata: {name: Upper}",
        "spec:",
        "  service: books",
        "  backends:",
        "  - {service: books, weight: -1}",
        "  - {service: books, weight: 500m}",
    ) == [
        "6: spec.rulez: unknown key `rulez`; did you mean `rules`?",
        '5: spec.destination.kind: `kind` must be ServiceAccount, not "Group"',
        "7: spec.sources: `sources` must not be an empty list",
        "4: spec.rules: `rules` is missing",
        '11: metadata.name: `name` must be a name of Kubernetes such as books-v1, not "Upper"',
        "15: spec.backends[0].weight: `weight` must be a whole number from 0 to 9223372036854775807, not -1",
        "16: spec.backends[1].weight: `weight` must be a whole number from 0 to 9223372036854775807, "
        'not "500m"',
    ]


@pytest.mark.parametrize(
    ("api", "kind", "why"),
    [
        ("split.smi-spec.io/v1alpha9", "TrafficSplit", "`apiVersion` must be split.smi-spec.io/v1alpha1 or "),
        ("access.smi-spec.io/v1alpha3", "IdentityBinding", "must be access.smi-spec.io/v1alpha4 for IdentityBinding"),
        ("specs.smi-spec.io/v1alpha3", "UDPRoute", "must be specs.smi-spec.io/v1alpha4 for UDPRoute"),
        ("access.smi-spec.io/v1alpha3", "TrafficTargett", "did you mean `TrafficTarget`?"),
        ("specs.smi-spec.io/v1alpha3", "TrafficSplit", "`kind` must be HTTPRouteGroup or TCPRoute or UDPRoute"),
    ],
)
def test_a_kind_or_version_that_is_not_known_is_a_problem(api: str, kind: str, why: str) -> None:
    assert why in wrong(f"apiVersion: {api}", f"kind: {kind}", "metadata: {name: a}", "spec: {}")[0]


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: access.smi-spec.io/v1alpha3\nkind: TrafficTarget\nmetadata: {name: a}\n"
        "destination: {kind: ServiceAccount, name: books}\nspecs: []\nsources: []",
        "apiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup\nmetadata: {name: a}\nmatches: []",
        "apiVersion: specs.smi-spec.io/v1alpha1\nkind: HTTPRouteGroup\nmetadata: {name: a}\n"
        "matches: [{name: a, pathRegex: /, methods: [GET], headers: {a: b}}]",
        "apiVersion: specs.smi-spec.io/v1alpha3\nkind: TCPRoute\nmetadata: {name: a}\nspec: {matches: {ports: [1]}}",
        "apiVersion: split.smi-spec.io/v1alpha2\nkind: TrafficSplit\nmetadata: {name: a, namespace: shop}\n"
        "spec: {service: books, backends: [{service: books, weight: 1}], matches: []}",
        "apiVersion: access.smi-spec.io/v1alpha3\nkind: TrafficTarget\nmetadata: {name: a}\nspec:\n"
        "  destination: {kind: ServiceAccount, name: books, port: 80}\n"
        "  rules: [{kind: TCPRoute, name: a}]\n  sources: [{kind: ServiceAccount, name: a}]",
    ],
)
def test_what_another_version_says_is_unknown_in_this_one(text: str) -> None:
    assert any("unknown key" in problem for problem in wrong(text))


def test_a_resource_that_stands_twice_is_a_problem() -> None:
    found = refused("shop/books", BOOKS, POLICY, POLICY)
    assert found == [
        "3.yaml:5: metadata.name: HTTPRouteGroup shop/routes is there twice: first in 2.yaml:5",
        "3.yaml:16: metadata.name: TrafficTarget shop/buy is there twice: first in 2.yaml:16",
    ]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("- name: insiders", "- name: buy", "`name` \"buy\" is there twice: first in 2.yaml:8"),
        ("name: routes, matches", "name: router, matches", "no HTTPRouteGroup shop/router; did you mean `routes`?"),
        ("matches: [buy]", "matches: [bui]", 'shop/routes has no match "bui"; did you mean `buy`?'),
        ("kind: HTTPRouteGroup, name", "kind: TCPRoute, name", "no TCPRoute shop/routes"),
        ("name: books, namespace: shop", "name: books, namespace: office", "`namespace` must be shop"),
        ("/buy", "(a+)+", "takes linear time"),
    ],
)
def test_what_does_not_fit_another_resource_is_a_problem(old: str, new: str, why: str) -> None:
    found = refused("shop/books", BOOKS, POLICY.replace(old, new))
    assert why in found[0]
    assert found[0].startswith("2.yaml:")


@pytest.mark.parametrize(
    ("schemes", "why"),
    [
        ("{}", "`schemes` must have"),
        ("{podLabelSelector: {}, serviceAccount: a}", "exclude each other"),
        ("{spiffeIdentities: [cluster.local/ns/office/sa/a]}", "is of another namespace"),
        ("{podLabelSelector: {matchExpression: []}}", "did you mean `matchExpressions`?"),
    ],
)
def test_an_identity_binding_that_contradicts_itself_is_a_problem(schemes: str, why: str) -> None:
    of = "apiVersion: access.smi-spec.io/v1alpha4\nkind: IdentityBinding\nmetadata: {name: a}\n"
    assert why in wrong(f"{of}spec: {{schemes: {schemes}}}")[0]


def test_an_identity_binding_selects_by_expressions() -> None:
    text = (GOLDEN / "identity-binding-v1alpha4.yaml").read_text()
    for expressions, admits in (
        ("[{key: app, operator: In, values: [books]}]", True),
        ("[{key: app, operator: NotIn, values: [books]}]", False),
        ("[{key: app, operator: Exists}]", True),
        ("[{key: app, operator: DoesNotExist}]", False),
    ):
        said = text.replace("matchLabels: {app: books}", f"matchExpressions: {expressions}")
        assert ("inbound|14001" in plain(put("shop/books", BOOKS, said)[0]).get("routes", {})) is admits


def test_objects_of_kubernetes_may_say_more_and_null_is_absent() -> None:
    more = BOOKS.replace("spec: {serviceAccountName", "spec: {nodeName: a, dnsPolicy: null, serviceAccountName")
    more = more.replace("metadata: {name: books, ", "metadata: {uid: 7, labels: null, name: books, ")
    assert plain(put("shop/books", more, POLICY)[0]) == plain(put("shop/books", BOOKS, POLICY)[0])
    assert "`podIP` must be an IP address" in refused("shop/books", BOOKS.replace("10.1.0.7", "10.1.0"))[0]


def test_other_kinds_are_noted_once_and_namespaces_never() -> None:
    others = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}"
    _, notes = put("shop/books", BOOKS, namespace, others % "a", others % "b")
    assert notes == ["ignored: 3.yaml:2: kind: ConfigMap of v1: it says nothing that is understood here"]


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("shop/nobody", "no ServiceAccount, Pod, Deployment, StatefulSet or DaemonSet knows shop/nobody"),
        ("shop/''", "`node.service_account` must say whose proxy this is"),
        ("''/''", "`node.namespace` and `node.service_account` must say whose proxy this is"),
    ],
)
def test_a_workload_that_nobody_knows_is_a_problem(who: str, why: str) -> None:
    assert why in refused(who, BOOKS)[0]


@pytest.mark.parametrize("node", ["service: books", "labels: {app: books}"])
def test_a_workload_may_be_known_by_its_service_or_its_labels(node: str) -> None:
    said = BOOKS.replace("labels: {app: books}", "labels: {app: nuts}").replace("targetPort: web", "targetPort: 7")
    assert {"local|7", "local|3306"} <= plain(put("shop/books", said, node=node)[0])["clusters"].keys()
    assert not [name for name in plain(put("shop/books", said)[0])["clusters"] if name.startswith("local")]


def test_a_named_port_that_no_container_has_is_a_problem() -> None:
    found = refused("shop/books", BOOKS.replace("name: web, containerPort", "name: wob, containerPort"))
    assert found == ["1.yaml:18: spec.ports[0].targetPort: `targetPort` web is the name of no port of shop/books"]


def test_without_a_certificate_nobody_is_let_in_and_that_is_told() -> None:
    config, notes = put("shop/books", BOOKS, POLICY, more="")
    assert plain(config)["routes"]["inbound|14001"][0]["authorize"] == []
    assert "tls" not in plain(config)["listeners"][0]
    assert all("tls" not in cluster for cluster in plain(config)["clusters"].values())
    assert notes == [
        "ignored: 2.yaml:16: metadata.name: shop/buy admits nobody: without `sidecar.certificate` nobody can prove who "
        "they are"
    ]


def test_plain_connections_are_taken_where_the_sidecar_is_permissive() -> None:
    config, _ = put("shop/books", BOOKS, POLICY, more=PAPERS.replace("}", ", permissive: true}"))
    assert plain(config)["listeners"][0]["permissive"] is True


def test_problems_in_our_own_words_are_told_where_somebody_said_it() -> None:
    many = POLICY.replace("methods: [GET]", f"methods: [{', '.join(f'M{n}' for n in range(70))}]")
    found = refused("shop/books", BOOKS, many)
    assert found[0].startswith("2.yaml:8: spec.matches[0].methods: `methods` has 70 entries, more than 64")


def test_the_workloads_that_resources_know() -> None:
    sheets = [Sheet("f", value) for value in yaml12.parse_all(WHOLE, "f") if value is not None]
    assert workloads(sheets) == ["shop/bookbuyer", "shop/books"]
    with pytest.raises(Invalid):
        workloads([Sheet("f", {"apiVersion": "v1", "kind": "Pod"})])
