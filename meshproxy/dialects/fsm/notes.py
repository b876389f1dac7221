"""Which faults of the sidecar of FSM are had back."""

from __future__ import annotations

from meshproxy.dialects.fsm.draft import Draft

COMPAT = {
    ("identity", "header"): "who a client is is what it says in a header, which anybody can write",
    ("server_name", "ignored"): "any workload of the mesh may answer for any other: names of servers are not verified",
    ("balance", "connection"): "an endpoint is chosen once for each connection of a client",
    ("retry", "any"): "requests are asked again that may have been carried out, such as a payment",
    ("breaker", "closed"): "a breaker closes untried, for all that waits",
    ("regex", "search"): "expressions match anywhere: `/admin` is found in `/public/admin` too",
    ("methods", "seven"): "rules without methods are for seven of them",
    ("bodies", "buffered"): "bodies go on when all of them is there, and are held in memory",
    ("headers", "last"): "of repeated header fields only the last goes on",
}


def put_notes(draft: Draft) -> None:
    for (key, value), words in COMPAT.items():
        if getattr(draft.compat, key) == value:
            draft.note("compat", (), f"`compat.{key}` is {value}: {words}")
