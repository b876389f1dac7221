"""The folder list is the import order, and the pure layers touch no I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ORDER = (
    "errors schema model wire observe net core cluster relay filters dialects sources discovery plan "
    "admin server demo certs redirect inject dropin cli __main__"
).split()
PURE = {"errors", "schema", "model", "wire", "core", "dialects"}
IO = {"asyncio", "socket", "ssl", "selectors", "select", "subprocess", "threading", "time", "os", "uvloop"}

PACKAGE = Path(__file__).parent.parent / "meshproxy"


def imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer they reach"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def broken_rules(layer: str, source: str) -> list[str]:
    broken = []
    for name in imports(source):
        head, _, rest = name.partition(".")
        room = rest.partition(".")[0]
        if head == "meshproxy" and room in ORDER and ORDER.index(room) > ORDER.index(layer):
            broken.append(f"{layer} may not know {room}")
        if head in IO and layer in PURE:
            broken.append(f"{layer} is pure and may not import {head}")
        if head == "cryptography" and layer not in ("certs", "net"):
            broken.append(f"{layer} may not import what only certs needs, and net for signatures")
    return broken


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_keeps_the_order(path: Path) -> None:
    layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if layer == "__init__":
        assert broken_rules("errors", path.read_text()) == []
        return
    assert layer in ORDER, f"{layer} has no place in the import order"
    assert broken_rules(layer, path.read_text()) == []


def test_the_rule_itself_catches_what_it_should() -> None:
    assert broken_rules("net", "from meshproxy.relay import tcp") == ["net may not know relay"]
    assert broken_rules("wire", "import asyncio") == ["wire is pure and may not import asyncio"]
    assert broken_rules("cli", "from cryptography import x509") == [
        "cli may not import what only certs needs, and net for signatures"
    ]
    assert broken_rules("relay", "import asyncio\nfrom meshproxy.net.conn import Conn") == []
