"""Sessions of our own with brokers, compiled: for what others get, for what is stored, for clients that share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf
from pathlib import Path
from secrets import token_hex
from typing import Protocol, TypeVar

from meshproxy import model
from meshproxy.cluster.cluster import Cluster
from meshproxy.core.table import Claims
from meshproxy.model.mqtt import MqttPolicy
from meshproxy.net.journal import Aside as Thread
from meshproxy.net.journal import Journal
from meshproxy.observe.metrics.mqtt import SpoolStats, UplinkStats
from meshproxy.plan.group import Group
from meshproxy.plan.rim import Rim
from meshproxy.relay.mqtt.asides import House
from meshproxy.relay.mqtt.fan_in import FanIn
from meshproxy.relay.mqtt.house import Aside, Measure, Outlet
from meshproxy.relay.mqtt.incoming import Hear
from meshproxy.relay.mqtt.outlets import Lowered
from meshproxy.relay.mqtt.own import Own, Shared, Stored, deaf
from meshproxy.relay.mqtt.uplink import UplinkService, UplinkTerms
from meshproxy.wire.mqtt import V5, V311

MOST_FILTERS = 100_000
"""Different ones that all clients who share uplinks may have."""


class Used(Protocol):
    def use(self, cluster: Cluster) -> None: ...

    def retire(self, grace: float) -> None: ...


L = TypeVar("L", bound=Used)


@dataclass(slots=True)
class Uplinks:
    """Those of one policy, in one generation; all listeners have them together."""

    policy: MqttPolicy
    measure: Measure
    """Of houses."""
    node: model.Node
    claims: Claims
    rim: Rim
    opening: list[Callable[[], None]] = field(default_factory=list)
    """What is to be done when the generation is put in force."""

    def outlet(self, group: Group) -> Outlet:
        """For messages that a cluster gets from us."""
        return self._live("own", group, lambda: self._own(group, deaf)).uplink

    def aside(self, group: Group, qos: int = 2) -> House:
        """A house for them; a higher QoS is lowered."""
        outlet = self.outlet(group)
        return Aside(
            outlet if qos == 2 else Lowered(outlet, qos), self.measure, self.rim.clock, self.rim.loop.call_soon
        )

    def store(self, group: Group) -> Stored | None:
        said = self.policy.spool
        if said is None:
            return None
        rim = self.rim

        def make() -> Stored:
            directory = Path(said.dir) / self.policy.name / group.config.name
            stats = rim.stats.spools.setdefault(self.policy.name, {}).setdefault(group.config.name, SpoolStats())
            thread = Thread(rim.loop, f"spool {group.config.name}")
            drop = said.full == "drop_oldest"
            journal = Journal(
                directory, said.size, drop=drop, clock=rim.clock, aside=thread, log=rim.log, stats=stats
            )
            own = self._own(group, deaf)
            return Stored(journal, own, rim.clock, self.measure, rim.loop.call_soon, said.expiry or inf)

        return self._live(f"store {said}", group, make)

    def shared(self, group: Group) -> Shared | None:
        said = self.policy.fan_in
        if said is None:
            return None
        rim = self.rim
        level = _terms(group.config, self.policy).level

        def make() -> Shared:
            return Shared(
                lambda hear: self._own(group, hear),
                lambda uplink: FanIn(
                    uplink, said.connections, level, MOST_FILTERS, self.measure, rim.clock, rim.loop.call_soon
                ),
            )

        return self._live(f"shared {said} {self.policy.limits}", group, make)

    def _own(self, group: Group, hear: Hear) -> Own:
        rim, name = self.rim, group.config.name
        stats = rim.stats.uplinks.setdefault(name, UplinkStats())
        service = UplinkService(rim.clock, group.cluster, _terms(group.config, self.policy), stats, rim.log)
        # Nobody else may be called so: another worker, or the process before this one.
        return Own(service, f"{self.node.service or 'meshproxy'}-{name}-{token_hex(6)}", hear)

    def _live(self, what: str, group: Group, make: Callable[[], L]) -> L:
        terms = sha256(repr((what, _terms(group.config, self.policy), group.config.mqtt.password)).encode()).hexdigest()
        live = self.claims.claim((what.split()[0], self.policy.name, group.config.name, terms), make)
        self.opening.append(lambda: live.use(group.cluster))
        return live


def _terms(cluster: model.Cluster, policy: MqttPolicy) -> UplinkTerms:
    mqtt = cluster.mqtt
    return UplinkTerms(
        V311 if mqtt.version == "3.1.1" else V5,
        mqtt.user,
        mqtt.secret,
        int(mqtt.keep_alive),
        answered_within=mqtt.timeout,
        most_packet=policy.limits.packet,
    )
