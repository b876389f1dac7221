"""Policies of SMI in the hands of a test: put in our words, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.dialects import read, translated
from meshproxy.dialects.translation import Setting
from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, combine, encode

PAPERS = "sidecar: {certificate: own.pem, key: own.key, ca: mesh.pem}"


def native(who: str, more: str, node: str) -> Document:
    namespace, _, account = who.partition("/")
    text = f"node: {{namespace: {namespace}, service_account: {account}, {node}}}\n{more}\n"
    return read(text.encode(), "node.yaml")


def put(who: str, *policies: str, more: str = PAPERS, node: str = "") -> tuple[Config, list[str]]:
    """All of it as one configuration, and what was noted."""
    documents = [native(who, more, node), *(read(text.encode(), f"{n}.yaml") for n, text in enumerate(policies, 1))]
    found = translated(documents, Setting.of(documents))
    return combine(found.documents), [str(note) for note in found.notes]


def plain(config: Config) -> dict[str, Any]:
    """What the policy says, as it could stand in a file."""
    return {key: value for key, value in encode(config).items() if key in ("listeners", "routes", "clusters")}


def refused(who: str, *policies: str, more: str = PAPERS) -> list[str]:
    with pytest.raises(Invalid) as caught:
        put(who, *policies, more=more)
    return [str(problem) for problem in caught.value.problems]
