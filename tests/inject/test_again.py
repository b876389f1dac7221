"""Whatever a pod says: injected twice is injected once, and a new injection replaces the old one wholly."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshproxy.dialects.writing.in_yaml import text
from meshproxy.inject import Options, Stream
from tests.examples import examples
from tests.inject.pods import deployment, done, tried

NAMES = st.sampled_from("a b c d e".split())
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co")), max_size=8) | st.sampled_from(
    ["y", "no", "0644", "1e3", "a\nb\n", " a", "$(X)", "~"]
)
PORT = st.integers(1, 14999)
HANDLER = st.one_of(
    st.fixed_dictionaries({"httpGet": st.fixed_dictionaries({"port": PORT}, optional={"path": st.just("/a?b=$c")})}),
    st.fixed_dictionaries({"tcpSocket": st.fixed_dictionaries({"port": PORT}, optional={"host": st.just("x")})}),
    st.fixed_dictionaries({"grpc": st.fixed_dictionaries({"port": PORT}), "httpGet": st.none()}),
    st.just({"exec": {"command": ["true"]}}),
)
TIMES = st.fixed_dictionaries({}, optional={"periodSeconds": st.integers(1, 9), "timeoutSeconds": st.integers(1, 9)})
PROBE = st.builds(lambda first, handler, last: {**first, **handler, **last}, TIMES, HANDLER, TIMES)
CONTAINER = st.fixed_dictionaries(
    {"name": NAMES, "image": TEXT},
    optional={
        "env": st.lists(st.fixed_dictionaries({"name": NAMES, "value": TEXT}), max_size=2),
        "livenessProbe": PROBE,
        "readinessProbe": PROBE | st.none(),
        "startupProbe": PROBE,
        "ports": st.none() | st.lists(st.fixed_dictionaries({"containerPort": PORT}), max_size=2),
    },
)
VOLUME = st.fixed_dictionaries({"name": NAMES, "emptyDir": st.just({})})
MORE = {
    "volumes": st.none() | st.lists(VOLUME, max_size=2),
    "shareProcessNamespace": st.booleans() | st.none(),
    "restartPolicy": st.sampled_from(["Always", "Never"]),
    "terminationGracePeriodSeconds": st.integers(0, 60),
}
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "annotations": st.none() | st.dictionaries(NAMES, TEXT, max_size=2),
        "labels": st.dictionaries(NAMES, NAMES, max_size=2),
        "name": NAMES,
    },
)


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    listed = draw(st.lists(CONTAINER, min_size=1, max_size=4, unique_by=lambda container: str(container["name"])))
    init = draw(st.integers(0, len(listed) - 1))
    said = draw(st.fixed_dictionaries({}, optional=MORE))
    spec = {**said, "containers": listed[init:]}
    if init or draw(st.booleans()):
        spec["initContainers"] = listed[:init]
    spec = {key: spec[key] for key in draw(st.permutations([*spec]))}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": draw(METADATA), "spec": spec}
    return {key: pod[key] for key in draw(st.permutations([*pod]))}


OPTIONS = st.builds(
    Options,
    form=st.sampled_from(["native", "older"]),
    cni=st.booleans(),
    interception=st.sampled_from(["redirect", "tproxy", "none"]),
    dns=st.booleans(),
    certificates=st.sampled_from(["", "mesh"]),
    rewrite_probes=st.booleans(),
)


def written(content: str, options: Options) -> str:
    return Stream.of(content.encode(), "f").injected(options).text


@examples(80)
@given(pods(), OPTIONS, OPTIONS)
def test_twice_is_once(pod: dict[str, Any], first: Options, second: Options) -> None:
    content = text([pod])
    once = written(content, first)
    assert written(once, first) == once
    assert written(once, second) == written(content, second)


def test_what_is_not_told_by_the_status_is_not_undone() -> None:
    once, _, _ = tried(deployment())
    theirs = {"name": "later", "image": "later:1"}
    once["spec"]["template"]["spec"]["containers"].append(theirs)
    assert done(once)["containers"][-1] == theirs
