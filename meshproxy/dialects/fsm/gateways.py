"""Egress gateways: a rule names some of them, and what is to leave by it goes through one of their endpoints.

    gateways = Gateways(draft)
    gateways.for_all            # whether all egress is to leave through some
    gateways.way("*", path)     # the tunnel by which it leaves; None: there is nobody, and so it does not leave

They are spoken to in plain text, and do not know who asks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meshproxy.dialects.fsm.clusters import name_of, scaled
from meshproxy.dialects.fsm.draft import Draft
from meshproxy.dialects.fsm.said import EgressGateway
from meshproxy.schema.shapes import Path

PATH: Path = ("Forward",)
ALL = "*"
USUAL = 100
"""What a weight is of which nothing is said, as their control plane has it."""


@dataclass(slots=True)
class Gateways:
    draft: Draft
    _ways: dict[str, str | None] = field(default_factory=dict)

    @property
    def for_all(self) -> bool:
        return bool(dict(self.draft.said.forward.matches).get(ALL))

    def way(self, rule: str, path: Path) -> str | None:
        """`path` is where it is asked for."""
        if rule not in self._ways:
            self._ways[rule] = self._put(rule)
        found = self._ways[rule]
        if found is None:
            self.draft.note("ignored", path, "no gateway of `Forward` is there for it: it does not leave, in any way")
        return found

    def _put(self, rule: str) -> str | None:
        said = self.draft.said.forward
        path: Path = (*PATH, "ForwardMatches", rule)
        known = dict(said.gateways)
        weights: dict[str, float] = {}
        for name, weight in dict(said.matches).get(rule) or ():
            gateway = known.get(name, EgressGateway())
            if not gateway.endpoints:
                self.draft.note("ignored", (*path, name), "no such gateway with endpoints in `EgressGateways`")
            whole = sum(each.weight or USUAL for _, each in gateway.endpoints)
            self.draft.make(len(gateway.endpoints), path)
            for address, each in gateway.endpoints:
                weights[self._tunnel(name, gateway, address)] = (weight or USUAL) * (each.weight or USUAL) / whole
        if len(weights) < 2:
            return next(iter(weights), None)
        equal = len(set(weights.values())) == 1
        among = [
            tunnel if equal else {"tunnel": tunnel, "weight": weight}
            for tunnel, weight in scaled(weights).items()
        ]
        tunnel = "egress@" if rule == ALL else f"egress@{name_of(rule)}"
        self.draft.put("tunnels", tunnel, {"among": among}, path)
        return tunnel

    def _tunnel(self, name: str, gateway: EgressGateway, address: str) -> str:
        tunnel = name_of(f"{name}/{address}")
        through = "socks5" if gateway.mode == "sock5" else "h2"
        path: Path = (*PATH, "EgressGateways", name, "Endpoints", address)
        self.draft.put("tunnels", tunnel, {"through": through, "server": address}, path)
        return tunnel
