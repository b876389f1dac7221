"""Rate limits: so many in a time, and what is said to those who come after."""

from __future__ import annotations

from meshproxy.dialects.fsm.draft import Data
from meshproxy.dialects.fsm.said import ConnectionLimits, RequestLimits
from meshproxy.schema.kinds import show_duration

WINDOW = 1.0
"""Seconds, where nothing is said."""


def of_requests(said: RequestLimits, shared: str | None) -> list[Data]:
    """The filter, if there is a limit; rules that share a name share the limit."""
    local = said.local
    if local is None:
        return []
    limit: Data = {"requests": local.requests, "per": show_duration(local.window or WINDOW)}
    if local.burst:
        limit["burst"] = local.burst
    if local.status:
        limit["status"] = local.status
    if local.headers:
        limit["headers"] = {header.name: header.value for header in local.headers}
    if shared is not None:
        limit["shared"] = shared
    return [{"rate_limit": limit}]


def of_connections(said: ConnectionLimits) -> list[Data]:
    local = said.local
    if local is None:
        return []
    limit: Data = {"connections": local.connections, "per": show_duration(local.window or WINDOW)}
    if local.burst:
        limit["burst"] = local.burst
    return [{"rate_limit": limit}]
