"""A service for those whom an entry admits, by the identity that they have proved; everybody else is refused.

It stands before a service for whole connections, and is asked once, before anybody is dialled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meshproxy.core.by_identity import ByIdentity
from meshproxy.core.client import Within, within
from meshproxy.model.authorize import Callers
from meshproxy.net.conn import Conn
from meshproxy.relay.entry import Service
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin


def admitting(said: Sequence[Callers], trust_domain: str) -> ByIdentity[Within | None]:
    """Where each identity may come from; None: from anywhere."""
    return ByIdentity(
        ((entry.identities, within(entry.sources) if entry.sources else None) for entry in said), trust_domain
    )


@dataclass(frozen=True, slots=True)
class Authorized:
    admitting: ByIdentity[Within | None]
    service: Service
    state: ListenerState
    tell: Callable[[Origin], None]
    """Of those who are refused."""

    def behind(self, origin: Origin) -> Service | None:
        return self.service.behind(origin) if self._admits(origin) else None

    def _admits(self, origin: Origin) -> bool:
        return any(here is None or here(origin.address) for here in self.admitting[origin.identity or ""])

    def start(self, conn: Conn, origin: Origin) -> None:
        if self._admits(origin):
            self.service.start(conn, origin)
        else:
            self.tell(origin)
            self.state.turn_away(conn, origin, "authorize")
