"""From bytes to a `Document`: the syntax is told apart, and every problem has its source and line."""

from __future__ import annotations

import gzip

import pytest

from meshproxy.dialects import read, text
from meshproxy.errors import Invalid

YAML = b"""
listeners:
- name: web
  listen: ${LISTEN:-127.0.0.1:80}
  protocol: tcp
  cluster: books
  max_connections: ${MOST:-7}
clusters:
  books: {endpoints: []}
"""
JSON = b"""{"listeners": [{"name": "web", "listen": "127.0.0.1:80", "protocol": "tcp", "cluster": "books",
"max_connections": 7}], "clusters": {"books": {"endpoints": []}}}"""


def refused(data: bytes, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(Invalid) as caught:
        read(data, "f", environment)
    return [str(problem) for problem in caught.value.problems]


def test_yaml_and_json_say_the_same() -> None:
    assert read(YAML, "f", {}).config == read(JSON, "f").config
    assert read(JSON, "f").said == {"listeners", "clusters"}
    assert read(b"\xef\xbb\xbf" + JSON, "f").config == read(JSON, "f").config


def test_a_flow_mapping_is_yaml() -> None:
    assert read(b"{drain: {delay: 0}}", "f").config.drain.delay == 0


def test_without_an_environment_the_text_is_literal() -> None:
    assert len(refused(YAML)) == 2
    assert '"${LISTEN:-127.0.0.1:80}"' in refused(YAML)[0]


def test_a_variable_of_the_environment() -> None:
    config = read(YAML, "f", {"LISTEN": "127.0.0.1:81", "MOST": "8"}).config
    assert (config.listeners[0].listen[0].port, config.listeners[0].max_connections) == (81, 8)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "f: the document is empty"),
        (b" \n\n", "f: the document is empty"),
        (b"# a comment\n", "f: the document is empty"),
        (b"- 1", "f:1: the document must be a mapping"),
        (b"ok: 1\na: \xff", "f:2: not UTF-8: byte 0xff"),
        ("a: 1".encode("utf-16"), "f:1: not UTF-8: byte 0xff"),
        (b"a: 1\nb: \x07", "f:2: control character U+0007"),
        (b"\x00" * 100, "f:1: control character U+0000"),
        (b"a" * (16 * 2**20 + 1), "f: the document has 16777217 bytes; at most 16 MiB are accepted"),
        (b"apiVersion: v1\nkind: Pod\n---\ndrain: {}\n", "f:3: other documents of this text are of another kind"),
        (b"drain: {}\n---\ndrain: {}\n", "f:2: a second document begins"),
        (b"include: [a]\n", "f:1: include: `include` names files: it is for files only"),
        (b"drain:\n  delay: 5\n", "f:2: drain.delay: `delay` must be a duration such as 5s"),
        (b"routes:\n  a:\n    order: written\n", "f:2: routes.a.rules: `rules` is missing"),
        (b'{"drain":\n{"delya": 1}}', "f:2: drain.delya: unknown key `delya`; did you mean `delay`?"),
    ],
)
def test_what_is_refused(data: bytes, message: str) -> None:
    assert any(line.startswith(message) for line in refused(data)), refused(data)


def test_a_character_at_the_seam_of_two_pieces_is_whole() -> None:
    for shift in range(4):
        content = "#" * (text.PIECE - shift) + "é中😀\n" + "a: 1"
        assert text.decode(content.encode(), "f") == content
    with pytest.raises(Invalid, match="f:3: not UTF-8: byte 0xe4"):
        text.decode(b"a:\n1\n" + b"#" * (text.PIECE - 6) + b"\xe4\xb8", "f")
    with pytest.raises(Invalid, match=r"f:4: control character U\+0007"):
        text.decode(b"a:\n1\n" + b"#" * text.PIECE + b"\n\x07", "f")


@pytest.mark.parametrize("size", [text.LONGEST_TEXT + 1, 10_000_000])
@pytest.mark.parametrize("document", ['{"a": "%s"}', 'a: "%s"', "a: %s", "a: |\n  %s"])
def test_a_string_has_a_longest(document: str, size: int) -> None:
    (problem,) = refused((document % ("x" * size)).encode())
    assert "a string is longer than 65536 characters" in problem or "131072 characters without a value" in problem


@pytest.mark.parametrize("document", ['{"%s": [1]}', "? %s\n: [1]"])
def test_a_key_has_a_longest(document: str) -> None:
    (problem,) = refused((document % ("x" * (text.LONGEST_KEY + 1))).encode())
    assert problem == "f:1: a key is longer than 1024 characters"
    assert "unknown key" in refused((document % ("x" * text.LONGEST_KEY)).encode())[0]


@pytest.mark.parametrize("document", [b'{"node": {"zone": "${LONG}"}}', b"node: {zone: '${LONG}'}"])
def test_a_string_has_a_longest_with_what_variables_hold(document: bytes) -> None:
    assert refused(document, {"LONG": "x" * (text.LONGEST_TEXT + 1)}) == [
        "f:1: a string is longer than 65536 characters"
    ]


def test_the_lines_of_a_deep_document_take_no_paths_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[object] = []
    monkeypatch.setattr("meshproxy.dialects.json_text.path_text", rendered.append)
    monkeypatch.setattr("meshproxy.dialects.yaml12.path_text", rendered.append)
    deep = '"a": ' + "[" * 60 + "1," * 1000 + "1" + "]" * 60
    for document in ("{" + deep + "}", deep):
        assert refused(document.encode()) == ["f:1: a: unknown key `a`"]
    assert rendered == []


def test_half_of_what_was_compressed_is_nothing() -> None:
    whole = gzip.compress(b"drain: {}\n")
    assert read(whole, "f").said == {"drain"}
    assert refused(whole[:-1]) == ["f: the gzip data is cut off"]
    assert refused(whole + gzip.compress(b"node: {}\n")) == ["f: something follows the end of the gzip data"]


def test_files_may_include() -> None:
    assert read(b"include: [a.yaml, conf.d]", "f", {}).config.include == ("a.yaml", "conf.d")


def test_a_line_is_that_of_the_key_or_of_the_nearest_above() -> None:
    line_of = read(YAML, "f", {}).line_of
    assert line_of(("listeners", 0, "max_connections")) == 7
    assert line_of(("listeners", 0, "timeouts", "idle")) == 3
    assert line_of(("drain", "delay")) == 1
    assert line_of(("clusters", "books", "endpoints", 4)) == 9
