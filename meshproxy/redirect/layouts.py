"""What a mesh calls its chains, and which ports are its own: ours, that of FSM, that of Istio."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from ipaddress import IPv4Address


@dataclass(frozen=True, slots=True)
class Chains:
    """Names; those of nat and of mangle differ, for nftables has all in one table."""

    inbound: str
    in_redirect: str
    outbound: str
    out_redirect: str
    dns: str
    guard: str
    tproxy: str
    kept: str

    @property
    def names(self) -> tuple[str, ...]:
        return astuple(self)


@dataclass(frozen=True, slots=True)
class Layout:
    name: str
    chains: Chains
    outbound_port: int
    inbound_port: int
    uid: int
    passed: tuple[int, ...]
    """Ports of the proxy for whoever watches it: inbound leaves them alone."""
    guarded: tuple[int, ...] = ()
    """Ports of the proxy that nobody outside may come to."""
    own_calls: bool = True
    """Whether what the proxy sends to this host is inbound unless something else is said."""
    resolver: IPv4Address | None = None
    """The only address whose DNS is redirected, to itself; without one all DNS is."""


MESHPROXY = Layout(
    "meshproxy",
    Chains(
        *("MESHPROXY_INBOUND", "MESHPROXY_IN_REDIRECT", "MESHPROXY_OUTBOUND", "MESHPROXY_OUT_REDIRECT"),
        *("MESHPROXY_DNS", "MESHPROXY_GUARD", "MESHPROXY_TPROXY", "MESHPROXY_KEPT"),
    ),
    outbound_port=15001,
    inbound_port=15003,
    uid=1500,
    passed=(15000, 15020, 15021, 15901, 15902, 15903, 15904),
    own_calls=False,
)
FSM = Layout(
    "fsm",
    Chains(
        *("FSM_PROXY_INBOUND", "FSM_PROXY_IN_REDIRECT", "FSM_PROXY_OUTBOUND", "FSM_PROXY_OUT_REDIRECT"),
        *("FSM_PROXY_DNS", "FSM_PROXY_GUARD", "FSM_PROXY_TPROXY", "FSM_PROXY_KEPT"),
    ),
    outbound_port=15001,
    inbound_port=15003,
    uid=1500,
    passed=(15010, 15901, 15902, 15903, 15904),
    # Its admin port says the private key to whoever asks.
    guarded=(6060, 15000),
    resolver=IPv4Address("127.0.0.153"),
)
ISTIO = Layout(
    "istio",
    Chains(
        *("ISTIO_INBOUND", "ISTIO_IN_REDIRECT", "ISTIO_OUTPUT", "ISTIO_REDIRECT"),
        *("ISTIO_OUTPUT_DNS", "ISTIO_GUARD", "ISTIO_TPROXY", "ISTIO_DIVERT"),
    ),
    outbound_port=15001,
    inbound_port=15006,
    uid=1337,
    passed=(15008, 15020, 15021, 15090),
)
LAYOUTS = {layout.name: layout for layout in (MESHPROXY, FSM, ISTIO)}
