"""What a log would be told of the connections of a listener."""

from __future__ import annotations

from typing import Any

from meshproxy.observe.record import Record


def overheard(w: Any, listener: str = "in") -> list[Record]:
    """Everything, from now on."""
    heard: list[Record] = []

    def hear(record: Record) -> None:
        assert record.origin.local, "a line asks for it while it is written"
        heard.append(record)

    (state,) = (state for state in w.worker._guests.states if state.name == listener)
    state.told.hears = state.told.hears_sessions = (hear,)
    return heard


def edges(w: Any, cluster: str = "up", listener: str = "in") -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """By source and endpoint: connections, those that failed, bytes from the source, and to it."""
    return {
        (source, endpoint): (
            edge.connections_total, edge.failed_total, edge.received_bytes_total, edge.sent_bytes_total
        )
        for source, by_endpoint in w.stats.edges[listener][cluster].items()
        for endpoint, edge in by_endpoint.items()
    }  # fmt: skip


def why(record: Record) -> tuple[str, str, str]:
    """How it was spoken, and what became of it."""
    return record.protocol, record.flags, record.failure.reason if record.failure is not None else ""
