"""Who a session is with, as routing and policy ask for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Client:
    id: str
    """As it says it; empty only where a broker is to choose one."""
    user: str
    """Whom it has been let in as; empty: nobody in particular."""
    identity: str
    """Who its certificate has proved it to be; empty: it has proved nothing."""
    server_name: str
    """What its TLS hello asks for; empty: nothing."""
    level: int
    """Of the protocol: 4 is 3.1.1, 5 is 5.0."""
    client: str | None = None
    """The address from which it comes; None for a unix socket."""
