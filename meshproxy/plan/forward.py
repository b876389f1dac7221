"""Clients who name where they want to go, compiled: an allow-list, users, and who is asked for names.

    forward = forwarding(config, "web", listening, clusters, claims, rim)
    forwarder = forward(rule.connect, "routes.web.rules[0].connect")
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING

from meshproxy import model
from meshproxy.core.papers import Unusable
from meshproxy.core.passwords import read_users
from meshproxy.core.table import Claims
from meshproxy.core.targets import Targets
from meshproxy.errors import Invalid, Problem
from meshproxy.model import Address
from meshproxy.model.forward import Forward, ForwardUser
from meshproxy.net.clock import at_once
from meshproxy.plan.group import Group
from meshproxy.plan.rim import Rim
from meshproxy.relay.forward import Forwarder, Names
from meshproxy.relay.live import Kept
from meshproxy.relay.mqtt.authentication import Authenticator, Roll, by_password
from meshproxy.relay.mqtt.hashing import Hashing, threads

if TYPE_CHECKING:
    from meshproxy.discovery.dns import Resolver

MakeForwarder = Callable[[Forward, str], Forwarder]
"""Of what is said, and where in the configuration."""


def forwarding(
    config: model.Config,
    listener: str,
    listening: tuple[Address, ...],
    clusters: Mapping[str, Group],
    claims: Claims,
    rim: Rim,
) -> MakeForwarder:
    """`listening` is where the listener itself is: nobody is led there, nor to what steers the proxy."""
    ours = (*(each for each in listening if each.kind != "unix"), *steering(config))

    def forwarder(said: Forward, where: str) -> Forwarder:
        original = clusters[said.cluster].config.original
        return Forwarder(
            Targets(said.allow),
            _names(config.dns.servers, claims, rim) if original else None,
            ours,
            _authenticator(said.users, listener, where, claims, rim) if said.users else None,
        )

    return forwarder


def steering(config: model.Config) -> tuple[Address, ...]:
    """Where the proxy itself is asked and told: some of that believes everybody on the same host."""
    status = (config.status.listen,) if config.status is not None else ()
    fronts = (each for front in config.fronts for each in front.listen)
    return tuple(each for each in (config.admin.listen, *status, *fronts) if each.kind != "unix")


def _names(servers: tuple[Address, ...], claims: Claims, rim: Rim) -> Names:
    # Loaded only where clients may say names
    from meshproxy.discovery.dns import Remembered, of_system

    async def resolver() -> Resolver:
        return await asyncio.to_thread(of_system, rim.loop, rim.clock, rim.log, servers)

    names: Names = claims.claim(("names of clients", servers), lambda: Remembered(rim.loop, rim.clock, resolver))
    return names


def _authenticator(
    said: tuple[ForwardUser, ...], listener: str, where: str, claims: Claims, rim: Rim
) -> Authenticator:
    text = "".join(f"{user.name}:{user.password.text}\n" for user in said)
    roll: Roll = claims.claim(("roll", sha256(text.encode()).hexdigest()), lambda: Roll(rim.clock))
    if roll.users is None:
        try:
            roll.users = at_once(read_users(text))
        except Unusable as why:
            raise Invalid([Problem(f"{where}.users", f"`users`: {why}")]) from None
    return Authenticator(
        [by_password(roll)],
        claims.claim(("hashing",), lambda: Hashing(threads(rim.loop))),
        roll.users.decoy,
        claims.claim(("authenticated", f"{listener} {where}"), lambda: Kept(Counter())).value,
    )
