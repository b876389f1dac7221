"""What a client's stay was, for those who hear of it at its end, and who its client talks to, while it lasts.

    stay = Stay(origin)
    stay.missed(edges, endpoint)    # one that was asked in vain
    stay.reached(edges, endpoint)   # the broker that has the session from now on
    stay.moved(120, 44)             # bytes; now and then, never for each message
    stay.said(3, 1)                 # messages
    stay.record(...)                # a `Passed` for whoever hears of its end

A source is called as it is for every other protocol.  Neither client ids nor user names are sources: there are as many
as clients like, and some look like the identities that others have proved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from meshproxy.cluster.endpoint import Endpoint
from meshproxy.core.exchange import NOBODY, Nobody
from meshproxy.errors import Failure
from meshproxy.observe.metrics.answers import EdgeStats
from meshproxy.observe.telling import Edges
from meshproxy.relay.origin import Origin, Whence
from meshproxy.relay.passed import Passed, Shared, Spot
from meshproxy.wire.mqtt import V5, V311

MOST_TRIED = 8
"""Brokers that were asked in vain are remembered, of a stay that may last for weeks."""

SPOKEN = {V311: "MQTT/3.1.1", V5: "MQTT/5.0"}

ENDED: Mapping[str, Failure] = {
    "closed": Failure("closed", flag="DC"),
    "reset": Failure("reset", flag="DC"),
    "keep_alive": Failure("keep_alive", flag="DT"),
    "slow": Failure("slow", flag="DT"),
    "malformed": Failure("malformed", flag="DPE"),
    "in_flight": Failure("in_flight", flag="DPE"),
    "no_broker": Failure("no_broker", flag="UF"),
    "refused": Failure("refused", flag="UR"),
    "untaken": Failure("untaken", flag="UR"),
    "subscriptions": Failure("subscriptions", flag="UR"),
    "broker": Failure("broker", flag="UC"),
    "taken_over": Failure("taken_over", flag="UC"),
    "drain": Failure("drained", flag="DR"),
}
"""By the word by which the end of a session is counted; for the others there is nothing to say against it."""

REFUSED: Mapping[str, Failure] = {
    "malformed": Failure("malformed", flag="DPE"),
    "version": Failure("version", flag="DPE"),
    "client_id": Failure("client_id", flag="DPE"),
    "wrong": Failure("wrong_password", flag="AZ"),
    "unknown": Failure("unknown_user", flag="AZ"),
    "nothing": Failure("no_credentials", flag="AZ"),
    "will": Failure("will", flag="AZ"),
    "busy": Failure("busy", flag="OM"),
    "no_way": Failure("no_way", flag="NR"),
    "timeout": Failure("timeout", flag="DT"),
    "closed": Failure("closed", flag="DC"),
    "reset": Failure("reset", flag="DC"),
    "drain": Failure("drained", flag="DR"),
}
"""The same of those that do not come to be one."""


class Caller(NamedTuple):
    """Satisfies `observe.record.Session`."""

    client_id: str
    user: str = ""
    messages_received: int = 0
    messages_sent: int = 0


class Stay:
    __slots__ = (
        "_edge", "_endpoint", "_messages_received", "_messages_sent", "_received", "_sent", "_tried", "_whence",
        "unreachable",
    )  # fmt: skip

    def __init__(self, origin: Origin) -> None:
        self._whence = Whence(origin)
        self._edge: EdgeStats | None = None
        self._endpoint: Endpoint | Nobody | Shared = NOBODY
        """That was asked last."""
        self._tried: tuple[Endpoint, ...] = ()
        self._received = self._sent = 0
        self._messages_received = self._messages_sent = 0
        self.unreachable: Failure | None = None
        """Why there is no broker."""

    def missed(self, edges: Edges, endpoint: Endpoint) -> None:
        self._tried = (*self._tried[-MOST_TRIED + 1 :], endpoint)
        self.refused(edges, endpoint)

    def refused(self, edges: Edges, endpoint: Endpoint) -> None:
        """By a broker that has said so."""
        self._endpoint = endpoint
        edges.failed(self._whence.who, endpoint.name)

    def reached(self, edges: Edges, endpoint: Endpoint | Shared) -> None:
        self.unreachable = None
        self._endpoint = endpoint
        self._edge = edge = edges.of(self._whence.who, endpoint.name)
        edge.connections_total += 1

    def moved(self, received: int, sent: int) -> None:
        self._received += received
        self._sent += sent
        if self._edge is not None:
            self._edge.received_bytes_total += received
            self._edge.sent_bytes_total += sent

    def said(self, received: int, sent: int) -> None:
        self._messages_received += received
        self._messages_sent += sent

    def record(
        self, listener: str, client_id: str, user: str, level: int, began: float, now: float, failure: Failure | None
    ) -> Passed:
        return Passed(
            self._whence, Spot(listener), began, now - began, self._received, self._sent, failure, self._endpoint,
            self._tried, flags=failure.flag if failure is not None else "", protocol=SPOKEN[level],
            session=Caller(client_id, user, self._messages_received, self._messages_sent),
        )  # fmt: skip
