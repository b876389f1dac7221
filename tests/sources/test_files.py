"""Configuration files: read as a whole, followed through links and includes, and never in circles."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from meshproxy import dialects
from meshproxy.errors import Invalid
from meshproxy.sources import files as files_module
from meshproxy.sources.files import Files


def write(path: Path, name: str, *, include: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"include: [{include}]\nclusters: {{{name}: {{endpoints: ['127.0.0.1:1']}}}}\n")
    return path


def names(files: Files) -> list[str]:
    return [cluster.name for document in files.read() for cluster in document.config.clusters]


def problems(files: Files) -> list[str]:
    with pytest.raises(Invalid) as refusal:
        files.read()
    return [str(problem) for problem in refusal.value.problems]


def test_files_and_directories_in_order(tmp_path: Path) -> None:
    write(tmp_path / "d" / "b.yaml", "b")
    write(tmp_path / "d" / "a.yml", "a")
    (tmp_path / "d" / "c.json").write_text('{"clusters": {"c": {"endpoints": []}}}')
    write(tmp_path / "d" / ".hidden.yaml", "hidden")
    (tmp_path / "d" / "notes.txt").write_text("not a configuration")
    single = write(tmp_path / "z.conf", "z")
    assert names(Files([str(single), str(tmp_path / "d")], {})) == ["z", "a", "b", "c"]


def test_includes_are_relative_to_the_file_and_read_once(tmp_path: Path) -> None:
    write(tmp_path / "parts" / "one.yaml", "one")
    write(tmp_path / "parts" / "two.yaml", "two", include="one.yaml")
    top = write(tmp_path / "top.yaml", "top", include="parts, parts/one.yaml")
    assert names(Files([str(top)], {})) == ["top", "one", "two"]


def test_a_circle_of_includes_is_named(tmp_path: Path) -> None:
    a = write(tmp_path / "a.yaml", "a", include="b.yaml")
    write(tmp_path / "b.yaml", "b", include="a.yaml")
    (found,) = problems(Files([str(a)], {}))
    assert f"{a} -> {tmp_path / 'b.yaml'} -> {a}" in found


def test_every_problem_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("listeners: 5\n")
    (tmp_path / "b.yaml").write_text("\n\nclusterz: {}\n")
    found = problems(Files([str(tmp_path), str(tmp_path / "missing.yaml")], {}))
    assert len(found) == 3
    assert found[0].startswith(f"{tmp_path}/a.yaml:1: listeners: ")
    assert found[1].startswith(f"{tmp_path}/b.yaml:3: clusterz: ")
    assert "missing.yaml" in found[2]
    assert "No such file" in found[2]


def test_a_huge_file_is_refused_without_being_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as file:
        file.truncate(100 << 20)
    (found,) = problems(Files([str(huge)], {}))
    assert "16 MiB" in found


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    for number in range(300):
        write(tmp_path / f"{number:03}.yaml", f"c{number}")
    assert any("more than 256 files" in problem for problem in problems(Files([str(tmp_path)], {})))


def test_the_environment_fills_in(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("clusters: {a: {endpoints: ['127.0.0.1:${PORT:-80}'], connect_timeout: '${WAIT}'}}")
    (document,) = Files([str(path)], {"WAIT": "3s"}).read()
    (cluster,) = document.config.clusters
    assert (str(cluster.members[0].address), cluster.connect_timeout) == ("127.0.0.1:80", 3.0)


def test_what_an_editor_and_kubernetes_do_is_noticed(tmp_path: Path) -> None:
    # A ConfigMap volume: data in a hidden, dated directory, a link to it, links to the files through that link.
    write(tmp_path / "..2026_01" / "a.yaml", "a")
    (tmp_path / "..data").symlink_to("..2026_01")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    files = Files([str(tmp_path)], {})
    assert names(files) == ["a"]
    assert not files.changed()

    write(tmp_path / "..2026_02" / "a.yaml", "b")
    (tmp_path / "..data_tmp").symlink_to("..2026_02")
    os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
    assert files.changed()
    assert names(files) == ["b"]
    assert not files.changed()

    write(tmp_path / "more.yaml", "c")
    assert files.changed()
    assert names(files) == ["b", "c"]
    (tmp_path / "more.yaml").unlink()
    assert files.changed()


def test_files_that_were_refused_or_missing_are_watched_too(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    files = Files([str(path)], {})
    problems(files)
    path.write_text("nonsense: 1")
    assert files.changed()
    problems(files)
    assert not files.changed()
    write(path, "mended")
    assert files.changed()
    assert names(files) == ["mended"]


def test_a_change_while_it_is_read_is_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.yaml", "a")
    files = Files([str(path)], {})
    real_read = dialects.read

    def read_and_change(*args: Any) -> Any:
        document = real_read(*args)
        write(path, "changed_meanwhile")
        return document

    monkeypatch.setattr(files_module, "read", read_and_change)
    assert names(files) == ["a"]
    assert files.changed()


ONE = "clusters: {one: {endpoints: ['127.0.0.1:${PORT}']}}"


def test_a_variable_is_a_document_among_files(tmp_path: Path) -> None:
    environment = {"B": ONE, "A": '{"clusters": {}}', "PORT": "7"}
    files = Files(["env:B", str(write(tmp_path / "a.yaml", "a")), "env:A"], environment)
    documents = files.read()
    assert [document.source for document in documents] == ["env:B", str(tmp_path / "a.yaml"), "env:A"]
    (endpoint,) = documents[0].config.clusters[0].members
    assert str(endpoint.address) == "127.0.0.1:7"
    assert not files.changed()
    assert [document.source for document in files.read()] == [document.source for document in documents]


def test_it_may_say_policy_in_other_words() -> None:
    (document,) = Files(["env:A"], {"A": "apiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup"}).read()
    assert document.foreign is not None


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "env:A: there is nothing in this variable of the environment"),
        ({"A": ""}, "env:A: there is nothing in this variable of the environment"),
        ({"A": " \n"}, "env:A: there is nothing in this variable of the environment"),
        ({"A": "\n\nclusterz: {}"}, "env:A:3: clusterz: "),
        ({"A": "include: [/etc]"}, "env:A:1: include: `include` names files: it is for files only"),
        ({"A": "x: \udcff"}, "env:A:1: not UTF-8: byte 0xff"),
    ],
)
def test_what_is_wrong_with_a_variable(environment: dict[str, str], words: str) -> None:
    (found,) = problems(Files(["env:A"], environment))
    assert found.startswith(words)


def test_a_variable_counts_with_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "MOST_BYTES", 50)
    (found,) = problems(Files(["env:A", "env:B"], {"A": "clusters: {}" + 38 * " ", "B": "clusters: {}"}))
    assert found.startswith("env:B: the files have more than ")
