"""What an operator can say about MQTT within WebSocket, and what of it makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import decode, encode
from meshproxy.model.websocket import MOST_ENTRIES, WebSocket, problems


def test_what_is_said_and_what_is_not() -> None:
    assert decode(WebSocket, {}) == WebSocket(("/mqtt",), ())
    said = decode(WebSocket, {"paths": ["/a", "/b"], "origins": ["https://Panel.Example:443", "*"]})
    assert said == WebSocket(("/a", "/b"), ("https://panel.example", "*"))
    assert decode(WebSocket, encode(said)) == said
    assert not [*problems(said)]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"paths": []}, "must not be an empty list"),
        ({"paths": ["mqtt"]}, "a path such as /v2"),
        ({"origins": ["panel.example"]}, "an origin such as"),
        ({"origins": ["https://panel.example/x"]}, "an origin such as"),
    ],
)
def test_what_is_refused(said: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        decode(WebSocket, said)


@pytest.mark.parametrize(
    ("said", "path", "words"),
    [
        ({"paths": ["/mqtt?x=1"]}, ("paths", 0), "`paths` are without a query, which /mqtt?x=1 has"),
        ({"origins": ["https://*.example"]}, ("origins", 0), "`origins` are exact, or `*`, not https://*.example"),
        ({"paths": ["/x"] * (MOST_ENTRIES + 1)}, ("paths",), f"`paths` has {MOST_ENTRIES + 1} entries, more than 64"),
        ({"origins": ["*"] * 65}, ("origins",), "`origins` has 65 entries, more than 64"),
    ],
)
def test_what_does_not_fit(said: dict[str, Any], path: tuple[Any, ...], words: str) -> None:
    assert [*problems(decode(WebSocket, said))] == [(path, words)]
