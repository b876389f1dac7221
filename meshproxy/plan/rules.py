"""What a chain applies to, compiled."""

from __future__ import annotations

from typing import TypeVar

from meshproxy import model
from meshproxy.core.client import within
from meshproxy.core.server_name import by_name
from meshproxy.model.dns import virtual_addresses
from meshproxy.plan.dns import Virtual, destinations
from meshproxy.plan.tls import needs_hello
from meshproxy.relay.entry import Rule

S = TypeVar("S")


def rule_of(chain: model.Chain, service: S, virtual: Virtual) -> Rule[S]:
    match = chain.match
    return Rule(
        frozenset(match.ports) or None,
        within(match.sources) if match.sources else None,
        service,
        by_name((name, True) for name in match.sni) if match.sni else None,
        frozenset(name.encode("ascii") for name in match.alpn) or None,
        destinations(match, virtual),
        speaks=frozenset(match.speaks) or None,
        greeted=needs_hello(chain) or bool(match.speaks),
        passes_tls=chain.protocol == "tls",
    )


def virtual_of(said: model.Listener, dns: model.Dns) -> Virtual:
    """The addresses that chains may mean by names."""
    return virtual_addresses(dns) if any(chain.match.names for chain in said.chains) else {}
