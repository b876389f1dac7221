"""Clients who name where they want to go: who they must be, whether they may, and the addresses that it comes to.

    why = await forwarder.admit(x, user, password, target)          # None: it may
    x.led                                                           # (("10.0.0.7", 443), ("10.0.0.8", 443))

Names are resolved here and nowhere else: the addresses that were looked at are those that are dialled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from meshproxy.core.exchange import Exchange
from meshproxy.core.targets import Target, Targets
from meshproxy.errors import Failure
from meshproxy.model import Address
from meshproxy.net.origdst import Destination
from meshproxy.relay.mqtt.authentication import Authenticator, Outcome, Refusal
from meshproxy.relay.onward import answers
from meshproxy.relay.origin import Origin

NOT_ALLOWED = Failure("target_not_allowed", 403, "NR")
LOOP = Failure("loop", 403, "NR")
"""To the proxy itself."""
NO_NAME = Failure("name_not_resolved", 502, "UH")
UNPROVEN = Failure("proxy_authentication", 407, "AZ")
BUSY = Failure("overload", 503, "OM")

MOST_ADDRESSES = 3
"""Of a name, that are tried."""

Names = Callable[[str], Awaitable[tuple[str, ...]]]
"""The addresses of a name; no address is a LookupError."""


@dataclass(frozen=True, slots=True, eq=False)
class Forwarder:
    """Compiled."""

    targets: Targets
    names: Names | None
    """None: it is the cluster that knows where connections go, whatever the name."""
    ours: Collection[Address]
    """Where nobody is led."""
    authenticator: Authenticator | None
    """None: nobody is asked who it is."""

    async def admit(
        self, x: Exchange, user: str | None, password: bytes | None, target: Target
    ) -> Failure | None:
        """Why it may not; else `x.led` is where it goes."""
        if self.authenticator is not None:
            outcome = await self._who(self.authenticator, user, password, x.origin)
            if isinstance(outcome, Refusal):
                return BUSY if outcome is Refusal.BUSY else UNPROVEN
        return await self.lead(x, target)

    async def who(self, user: str | None, password: bytes | None, origin: Origin) -> bool:
        """Whether it is somebody."""
        if self.authenticator is None:
            return True
        return not isinstance(await self._who(self.authenticator, user, password, origin), Refusal)

    async def lead(self, asking: Exchange | Origin, target: Target) -> Failure | None:
        if not self.targets.admits(target):
            return NOT_ALLOWED
        if self.names is None:
            return None
        if target.ip is not None:
            found: tuple[str, ...] = (str(target.ip),)
        else:
            try:
                resolved = await self.names(target.name)
            except LookupError:
                return NO_NAME
            found = self.targets.reachable(target, resolved)[:MOST_ADDRESSES]
        led = tuple((host, target.port) for host in found)
        if not led:
            return NOT_ALLOWED
        if any(self._is_ours(each) for each in led):
            return LOOP
        asking.led = led
        return None

    def _is_ours(self, destination: Destination) -> bool:
        return any(each.port == destination[1] for each in self.ours) and answers(self.ours, destination)

    @staticmethod
    async def _who(
        authenticator: Authenticator, user: str | None, password: bytes | None, origin: Any
    ) -> Outcome:
        said: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        comparison = authenticator.identify(user, password, origin, said.set_result)
        try:
            return await said
        finally:
            if comparison is not None:
                comparison.cancel()
