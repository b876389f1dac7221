"""Texts with several manifests, as the command reads and prints them."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshproxy.cli import main
from meshproxy.errors import Invalid
from meshproxy.inject import Options, Stream
from meshproxy.inject.scalars import plain

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n    - {name: a, image: a}\n"
SERVICE = "apiVersion: v1   # stays\nkind: Service\nmetadata: {name:   a}\nspec: {x: 0644, y-z: !!str 1}\n"


def written(text: str) -> str:
    return Stream.of(text.encode(), "app.yaml").injected(Options()).text


def refused(text: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        written(text)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, None) for text in ("", "~", "null")),
        *((text, True) for text in ("y", "Yes", "on", "true")),
        *((text, False) for text in ("N", "no", "OFF", "False")),
        *((text, 420) for text in ("0644", "0o644", "420", "4_20", "+0x1A4", "0b110100100")),
        *((text, 1000.0) for text in ("1e3", "1_000.0", "1000.")),
        ("08", 8.0),
        ("-1", -1),
        *((text, text) for text in ("12:30:45", "2026-01-01", "1.2.3", "0x", "-", ".", "é", "9" * 2000, ".inf", "yEs")),
    ],
)
def test_a_plain_scalar_is_what_kubernetes_takes_it_for(text: str, value: object) -> None:
    assert (plain(text), type(plain(text))) == (value, type(value))


def test_what_is_not_injected_stays_as_it_was_written() -> None:
    assert written(SERVICE) == SERVICE
    text = f"# head\n---\n{SERVICE}---   # and more\n\n{SERVICE}--- {{a: b}}\n---\n---\n# nothing\n"
    assert written(text) == text
    assert written(text.rstrip()) == text


def test_between_others_one_is_written_anew() -> None:
    text = written(f"{SERVICE}---\n# Source: a.yaml\n\n{POD}  # lost\n---\n{SERVICE}")
    assert text.startswith(f"{SERVICE}---\n# Source: a.yaml\n\napiVersion: v1\nkind: Pod\n")
    assert text.endswith(f"---\n{SERVICE}")
    assert "lost" not in text
    assert written(text) == text


def test_json_is_yaml_too() -> None:
    text = '{"apiVersion": "v1",\n "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "a"}]}}\n'
    assert written(text).startswith("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n")
    assert written(f"--- {text}").startswith("---\napiVersion: v1\n")


def test_every_problem_has_its_line() -> None:
    bad = POD.replace("image: a}", "ports: [{containerPort: 15000}]}")
    assert refused(f"{SERVICE}---\n{bad}---\n{bad}") == [
        "app.yaml:11: spec.containers[0]: container `a` has port 15000, which the proxy needs",
        "app.yaml:18: spec.containers[0]: container `a` has port 15000, which the proxy needs",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: ]\n", "app.yaml:2: not YAML: "),
        ("a: 1\na: 2\n", "app.yaml:2: [0].a: duplicate key `a`: lines 1 and 2"),
        ("", "app.yaml: the document is empty"),
        ("a: \x00", "control character U+0000"),
        ("just text\n", "app.yaml:1: a manifest must be a mapping"),
        ("a: 1\n...\n%YAML 1.1\n---\nb: 2\n", "app.yaml:3: a document after the first one must begin with ---"),
        ("a: *x\n", "app.yaml:1: alias *x has no anchor"),
        (f"{POD}  <<: {{hostNetwork: true}}\n", 'app.yaml:7: spec["<<"]: `<<` is not read: write out'),
        ("apiVersion: apps/v1\nkind: Deployment\n", "app.yaml:1: spec: `spec` is missing"),
        ("apiVersion: apps/v1\nkind: Deployment\nspec: {template: 7}\n", "app.yaml:3: spec.template: must be"),
        ("apiVersion: v1\nkind: Pod\n", "app.yaml:1: spec: `spec` is missing"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, words: str) -> None:
    (problem,) = refused(text)
    assert words in problem


def test_what_is_small_and_means_much_is_bounded() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    assert "more than 200000 values, aliases expanded" in refused(bomb)[0]
    assert "5000 documents; at most 4096 are accepted" in refused("a: 1\n" + "---\na: 1\n" * 4999)[0]
    assert written(f"a: {'x' * 1_000_000}\n").endswith("x\n")
    assert "longer than 2097152 characters" in refused(f"a: {'x' * 2_100_000}\n")[0]


# The command --------------------------------------------------------------------------------------


def test_several_files_are_one_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("a", SERVICE), ("b", f"---\n{SERVICE}"), ("c", SERVICE.rstrip())):
        (tmp_path / name).write_text(text)
    files = [option for name in "abc" for option in ("-f", str(tmp_path / name))]
    assert main(["inject", *files]) == 0
    assert capsys.readouterr() == (f"{SERVICE}---\n{SERVICE}---\n{SERVICE}", "")


def test_warnings_are_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = POD.replace("spec:\n", "spec:\n  hostNetwork: true\n")
    (tmp_path / "a.yaml").write_text(text)
    assert main(["inject", "-f", str(tmp_path / "a.yaml")]) == 0
    printed = capsys.readouterr()
    assert printed.out == text
    assert printed.err.startswith(f"warning: {tmp_path}/a.yaml:4: spec: no proxy is put here: ")


def test_what_is_wrong_in_any_file_prints_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(POD)
    (tmp_path / "b.yaml").write_text("a: 1\nb: ]\n")
    files = [option for name in ("a", "b", "c") for option in ("-f", str(tmp_path / f"{name}.yaml"))]
    assert main(["inject", *files]) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    problems = printed.err.splitlines()
    starts = [problem.removeprefix(f"{tmp_path}/")[:17] for problem in problems]
    assert starts == ["b.yaml:2: not YAM", "c.yaml: cannot be"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "the following arguments are required: -f/--file"),
        (("-f", "a", "--config-map", "A_b"), 'must be a name of Kubernetes such as meshproxy, not "A_b"'),
        (("-f", "a", "--control-plane", "plane:80"), "must be an address such as http://plane:8080/"),
        (("-f", "a", "--control-plane", "http://a/{pod}"), "{namespace} and {serviceAccount} in it, not {pod}"),
        (("-f", "a", "--memory", "12 MB"), "must be an amount such as 128Mi"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["inject", *arguments])
    assert ended.value.code == 2
    assert words in " ".join(capsys.readouterr().err.split())
