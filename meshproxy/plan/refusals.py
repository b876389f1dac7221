"""What the log says of those who are refused for who they are: seldom, and never what a client said of itself."""

from __future__ import annotations

from collections.abc import Callable

from meshproxy.model import Address
from meshproxy.net.through.faults import ProxyRefused
from meshproxy.net.tls import Broken
from meshproxy.observe.log import Log
from meshproxy.relay.origin import Origin

EVERY = 10.0
"""Seconds between two lines that say the same."""


def of_identity(log: Log, listener: str) -> Callable[[Origin], None]:
    """No entry of `authorize` admits it."""

    def tell(origin: Origin) -> None:
        said = {"listener": listener, "client": origin.client, "identity": origin.identity}
        log.limited(f"identity {listener} {origin.identity}", EVERY, "info", "not-authorized", **said)

    return tell


def of_claim(log: Log, listener: str) -> Callable[[Origin], None]:
    """It calls itself by a name that it has not proved; by which one is for nobody to read."""

    def tell(origin: Origin) -> None:
        said = {"listener": listener, "client": origin.client, "identity": origin.identity}
        log.limited(f"claim {listener} {origin.identity}", EVERY, "info", "false-claim", **said)

    return tell


def of_client(log: Log, listener: str) -> Callable[[Origin, Broken], None]:
    """No TLS came about with it."""

    def tell(origin: Origin, why: Broken) -> None:
        said = {"listener": listener, "client": origin.client, "why": why.strerror}
        log.limited(f"client {listener} {why.word}", EVERY, "info", "handshake-failed", **said)

    return tell


def of_endpoint(log: Log, cluster: str) -> Callable[[Address, Broken], None]:
    """No TLS came about with it, or it is somebody else."""

    def tell(address: Address, why: Broken) -> None:
        said = {"cluster": cluster, "endpoint": address, "why": why.strerror}
        log.limited(f"endpoint {cluster} {address} {why.word}", EVERY, "warning", "handshake-failed", **said)

    return tell


def of_proxy(log: Log, cluster: str, tunnel: str) -> Callable[[Address, ProxyRefused], None]:
    """It does not connect to an endpoint for us; its own words are not told, for they may be anybody's."""

    def tell(address: Address, why: ProxyRefused) -> None:
        said = {"cluster": cluster, "endpoint": address, "tunnel": tunnel, "why": why.strerror}
        log.limited(f"proxy {tunnel} {address} {why.why}", EVERY, "warning", "proxy-refused", **said)

    return tell


def of_unreached(log: Log, cluster: str, tunnel: str) -> Callable[[OSError], None]:
    """Its proxy is not there, or does not speak as it should: another one is asked."""

    def tell(why: OSError) -> None:
        said = {"cluster": cluster, "tunnel": tunnel, "why": why.strerror or str(why)}
        log.limited(f"unreached {tunnel} {cluster}", EVERY, "warning", "proxy-unreached", **said)

    return tell
