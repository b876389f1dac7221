"""What can be said about sources, and what is refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshproxy.dialects import read
from meshproxy.errors import Invalid
from meshproxy.model import Config, Source, combine, decode
from meshproxy.model.papers import uses
from meshproxy.model.source import sources_of


def source(**said: Any) -> dict[str, Any]:
    return {"name": "mesh", "url": "https://plane.local/mesh.yaml", **said}


def refused(*sources: dict[str, Any]) -> list[str]:
    with pytest.raises(Invalid) as invalid:
        combine([read(json.dumps({"sources": sources}).encode(), "f")])
    return [f"{problem.path}: {problem.message}" for problem in invalid.value.problems]


def of(**said: Any) -> Source:
    found: Source = decode(Config, {"sources": [source(**said)]}).sources[0]
    return found


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"url": "ftp://plane/"}, "must be an address"),
        ({"url": "http://user:word@plane/"}, "must be an address"),
        ({"url": "http://plane:0/"}, "with a port from 1 to 65535"),
        ({"url": "http://plane/#a"}, "must be an address"),
        ({"url": "http://plane/a b"}, "must be an address"),
        ({"url": "http:///mesh.yaml"}, "must be an address"),
        ({"url": "https://plane/" + "a" * 3000}, "must be an address"),
        ({"name": "a/b"}, "a name of letters, digits, dots, dashes"),
        ({"name": "default"}, "`name` default is taken"),
        ({"name": "history"}, "`name` history is taken"),
        ({"every": "0s"}, "every"),
        ({"kind": "git"}, "kind"),
        ({"token": "a b"}, "token"),
        ({"url": "https://plane/repo/?a=b"}, "a repository has no query"),
        ({"kind": "repo", "url": "https://plane/repo?a=b"}, "a repository has no query"),
        ({"url": "http://plane/a", "tls": {}}, "`tls` needs a `url` that begins with https"),
        ({"tls": {"certificate": "a.pem"}}, "`certificate` needs `key`"),
    ],
)
def test_what_makes_no_sense_is_refused(said: dict[str, Any], words: str) -> None:
    assert any(words in problem for problem in refused(source(**said)))


def test_names_are_there_once_and_there_are_only_so_many() -> None:
    assert "is there twice: first in `sources[0]`" in refused(source(), source())[0]
    assert "17 entries, more than 16" in refused(*(source(name=f"s{number}") for number in range(17)))[0]


@pytest.mark.parametrize(
    ("said", "is_repo"),
    [
        ({"url": "http://plane/repo/books/"}, True),
        ({"url": "http://plane"}, False),
        ({"url": "http://plane/mesh.yaml"}, False),
        ({"url": "http://plane/mesh?of=books/"}, False),
        ({"url": "http://plane/mesh/", "kind": "document"}, False),
        ({"url": "http://plane/mesh", "kind": "repo"}, True),
    ],
)
def test_a_slash_at_the_end_is_a_repository(said: dict[str, Any], is_repo: bool) -> None:
    assert of(**said).is_repo == is_repo


def test_sources_of_the_command_line_have_the_names_of_their_hosts() -> None:
    found = sources_of(["http://plane.local:6060/repo/a/", "https://[fd00::1]:1/x", "http://plane.local/y"])
    assert [said.name for said in found] == ["plane.local", "fd00-1", "plane.local_2"]
    assert found[0] == Source("plane.local", "http://plane.local:6060/repo/a/")
    assert len(sources_of([f"http://{'a' * 300}/"])[0].name) == 63
    with pytest.raises(ValueError, match="must be an address"):
        sources_of(["http://plane/a b"])


def test_certificates_of_a_source_are_among_those_of_the_configuration() -> None:
    config = decode(Config, {"sources": [source(name="other"), source(tls={"ca": "ca.pem"})]})
    [use] = uses(config)
    assert (use.key, use.file, use.listener, use.cluster) == ("sources.mesh.tls.ca", "ca.pem", "", "")
