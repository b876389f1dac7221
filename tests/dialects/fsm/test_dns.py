"""The names that a document of FSM has answered beside the workload."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshproxy.dialects import native, read, translated
from meshproxy.dialects.translation import Setting, Translation
from meshproxy.model import Config, Document, combine
from meshproxy.model.dns import Record
from tests.dialects.fsm.test_strict import inbound, problems


def document(names: Any = None, **proxy: Any) -> dict[str, Any]:
    return inbound({}, Spec={"LocalDNSProxy": proxy or {"UpstreamDNSServers": None}}, DNSResolveDB=names)


def understood(value: dict[str, Any], **said: Any) -> tuple[Config, Translation]:
    documents: list[Document] = [read(json.dumps(value).encode(), "config.json")]
    if said:
        documents.append(native.load(said, "ours.yaml", lambda _: None))
    found = translated(documents, Setting.of(documents))
    return combine(found.documents), found


@pytest.mark.parametrize(
    ("servers", "asked"),
    [
        ({"Primary": "10.0.0.1", "Secondary": "10.0.0.2"}, ["10.0.0.1:53", "10.0.0.2:53"]),
        ({"Secondary": "10.0.0.2"}, ["10.0.0.2:53"]),
        ({}, ["10.96.0.10:53"]),
        (None, ["10.96.0.10:53"]),
    ],
)
def test_who_is_asked(servers: Any, asked: list[str]) -> None:
    config, _ = understood(document(UpstreamDNSServers=servers))
    assert [str(each) for each in config.dns.servers] == asked
    (listener,) = [each for each in config.listeners if each.protocol == "dns"]
    assert (listener.name, str(listener.listen[0])) == ("dns", "127.0.0.153:5300")


def test_the_table() -> None:
    config, found = understood(document({"a.shop": ["10.0.0.1", "10.0.0.2"], "b.shop": None, "*": ["10.0.0.3"]}))
    assert dict(config.dns.names) == {
        "a.shop": (Record("10.0.0.1"), Record("10.0.0.2")), "*": (Record("10.0.0.3"),)
    }
    assert config.dns.ttl == 600
    assert not [note for note in found.notes if "DNS" in str(note)]


def test_a_table_that_nobody_asks_says_nothing() -> None:
    config, _ = understood(inbound({}, DNSResolveDB={"a.shop": ["10.0.0.1"]}))
    assert config.dns.names == ()
    assert not any(each.protocol == "dns" for each in config.listeners)


def test_our_own_words_count() -> None:
    config, found = understood(document({"a.shop": ["10.0.0.1"]}), dns={"servers": ["10.0.0.9"]})
    assert [str(each) for each in config.dns.servers] == ["10.0.0.9:53"]
    assert config.dns.names == ()
    assert any(each.protocol == "dns" for each in config.listeners)
    assert [note.kind for note in found.notes if "LocalDNSProxy" in str(note)] == ["ignored"]


def test_problems_are_told_where_they_stand() -> None:
    assert "must be an IP address" in problems(document({"a.shop": ["x"]}))['DNSResolveDB["a.shop"]']
    found = problems(document(UpstreamDNSServers={"Primary": "x"}))
    assert [path.startswith("Spec.LocalDNSProxy") for path in found] == [True]
