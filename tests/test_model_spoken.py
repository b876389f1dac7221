"""What a cluster and a listener may say of the HTTP that they speak."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, combine, decode

TLS = {"sni": "books.shop"}


def taken(cluster: dict[str, Any]) -> Config:
    return taken_with({"clusters": {"up": {"endpoints": ["10.0.0.1:443"], **cluster}}})


def taken_with(said: dict[str, Any]) -> Config:
    return combine([Document("test", decode(Config, said), frozenset(said), lambda _: None)])


@pytest.mark.parametrize(
    "cluster",
    [
        {},
        {"http": {"version": "h2"}},
        {"http": {"version": "h2"}, "tls": TLS},
        {"http": {"version": "h2"}, "tls": {**TLS, "alpn": ["h2"]}},
        {"http": {"version": "auto"}, "tls": TLS},
        {"http": {"version": "auto"}, "tls": {**TLS, "alpn": ["http/1.1", "h2"]}},
        {"http": {"version": "h2", "http2": {"max_streams": 5, "ping": 0}}},
    ],
)
def test_what_fits(cluster: dict[str, Any]) -> None:
    taken(cluster)


@pytest.mark.parametrize(
    ("cluster", "problem"),
    [
        ({"http": {"version": "auto"}}, "clusters.up.http.version: `version: auto` needs `tls`"),
        (
            {"http": {"version": "h2"}, "tls": {**TLS, "alpn": ["h2", "http/1.1"]}},
            "clusters.up.tls.alpn: `http.version` h2 offers h2, not \"h2, http/1.1\"",
        ),
        (
            {"http": {"version": "auto"}, "tls": {**TLS, "alpn": ["h2"]}},
            "clusters.up.tls.alpn: `http.version` auto offers h2 and http/1.1, not \"h2\"",
        ),
        ({"http": {"http2": {"max_streams": 5}}}, "clusters.up.http.http2: `http2` needs `version: h2`, prior or auto"),
        (
            {"http": {"version": "h2", "http2": {"window": "1MiB", "connection_window": "64KiB"}}},
            "clusters.up.http.http2.connection_window: `connection_window` 65536 is less than `window` 1048576",
        ),
        ({"http": {"version": "h3"}}, "clusters.up.http.version"),
    ],
)
def test_what_does_not_fit(cluster: dict[str, Any], problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        taken(cluster)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("http", "problem"),
    [
        ({"versions": []}, "listeners[0].http.versions"),
        ({"versions": ["h3"]}, "listeners[0].http.versions[0]"),
        (
            {"http2": {"window": "1MiB", "connection_window": "64KiB"}},
            "listeners[0].http.http2.connection_window: `connection_window` 65536 is less than `window` 1048576",
        ),
    ],
)
def test_what_a_listener_cannot_speak(http: dict[str, Any], problem: str) -> None:
    listener = {"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web", "http": http}
    with pytest.raises(Invalid) as caught:
        taken_with({"listeners": [listener], "routes": {"web": [{"reply": {"status": 200}}]}})
    assert problem in str(caught.value)
