"""Flags: each that the proxy can say has a sentence, in the module and on the page, and no other has."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from meshproxy.errors import Failure
from meshproxy.observe.flags import FLAGS, words

ROOT = Path(__file__).parent.parent.parent


def said(node: ast.AST, constants: dict[str, str]) -> Iterator[str]:
    """As the third argument of a failure, or noted by a filter."""
    flag: ast.expr | None = None
    match node:
        case ast.Call(func=ast.Name("Failure"), args=[_, _, third]):
            flag = third
        case ast.Call(func=ast.Name("Failure"), keywords=keywords):
            flag = next((each.value for each in keywords if each.arg == "flag"), None)
        case ast.Assign(targets=[ast.Attribute(value=ast.Attribute(attr="notes"), attr="flags")], value=value):
            flag = value
    if isinstance(flag, ast.Name):
        yield constants[flag.id]
    elif flag is not None:
        assert isinstance(flag, ast.Constant), f"line {flag.lineno}: a flag that cannot be read from the source"
        assert isinstance(flag.value, str)
        yield flag.value


def flags_of(source: str) -> set[str]:
    tree = ast.parse(source)
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return {flag for node in ast.walk(tree) for flag in said(node, constants)} - {""}


def test_every_flag_of_the_package_has_a_sentence() -> None:
    sources = [path.read_text() for path in (ROOT / "meshproxy").rglob("*.py")]
    saying = [source for source in sources if "Failure(" in source or "notes.flags" in source]
    assert {flag for source in saying for flag in flags_of(source)} == set(FLAGS)


def test_flags_are_found_wherever_they_are_said() -> None:
    source = 'X = "A"\nFailure("a", 503, "B")\nFailure("a", flag="C")\nFailure("a", 500)\nx.notes.flags = X\n'
    assert flags_of(source) == {"A", "B", "C"}


def test_the_page_has_one_row_for_each_flag() -> None:
    rows = [line for line in (ROOT / "docs" / "flags.md").read_text().splitlines() if line.startswith("| `")]
    assert rows == [f"| `{flag}` | {sentence} |" for flag, sentence in FLAGS.items()]


def test_flags_are_put_in_words_in_their_order() -> None:
    assert words("DI,UF") == (FLAGS["DI"], FLAGS["UF"])
    assert words(Failure("done").flag) == ()
    assert words("UF,X1") == (FLAGS["UF"], "A filter says X1.")
