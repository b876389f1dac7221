"""Envoy's command operators: what each takes from a record.

    column(Operator("REQ", ":path"), facts)     # Told("request.target")

What they may be asked for is judged before, by `model.log_format`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meshproxy.model.log_format import Operator
from meshproxy.observe.access import fields
from meshproxy.observe.access.columns import Alike, Began, By, Column, Number, Read, Traced
from meshproxy.observe.access.moment import began
from meshproxy.observe.access.pen import Value
from meshproxy.observe.record import Record, Who


@dataclass(frozen=True, slots=True)
class Facts:
    """What is the same in all lines."""

    node: str
    hostname: str
    offset: Callable[[], float]
    """The seconds to add to the loop's clock to get those since the epoch."""


def column(said: Operator, facts: Facts) -> Column:
    match said.name:
        case "REQ" | "REQUEST_HEADER":
            return fields.of_request(said.argument.lower().split("?"), said.longest)
        case "RESP" | "RESPONSE_HEADER":
            return fields.of_answer(said.argument.lower().split("?"), said.longest)
        case "PATH":
            return fields.path(said.argument != "NQ", said.longest)
        case "START_TIME":
            return Began(began(said.argument, facts.offset))
        case "NODE":
            return _constant(facts.node)
        case "HOSTNAME":
            return _constant(facts.hostname)
    return COLUMNS[said.name]


# How they are taken -------------------------------------------------------------------------------


def _connection(of: Callable[[Who], Value]) -> Column:
    return Alike(lambda record: of(record.origin), By.CONNECTION)


def _peer(of: Callable[[Any], Value]) -> Column:
    return _connection(lambda origin: of(origin.peer) if origin.peer is not None else None)


def _of_session(of: Callable[[Any], Value]) -> Column:
    """Of what is no session: nothing."""
    return Read(lambda record: of(record.session) if record.session is not None else None)


def _certificate(of: Callable[[Any], Value]) -> Column:
    return _peer(lambda peer: of(peer.certificate) if peer.certificate is not None else None)


def _constant(value: str) -> Column:
    return Alike(lambda _: value)


# What they make of it -----------------------------------------------------------------------------


def _until_answer(record: Record) -> Value:
    return int((record.answered - record.started) * 1000) if record.answered else None


def _since_answer(record: Record) -> Value:
    return int((record.started + record.seconds - record.answered) * 1000) if record.answered else None


def _host(address: str) -> Value:
    """Without the port; what has none is left as it is."""
    host, colon, port = address.rpartition(":")
    return host.strip("[]") if colon and port.isdecimal() else address


def _port(address: str) -> Value:
    port = address.rpartition(":")[2]
    return int(port) if port.isdecimal() else None


def _details(record: Record) -> Value:
    failure = record.failure
    if failure is not None:
        return failure.reason
    return None if record.response is None else "via_upstream"


def _times_asked(record: Record) -> Value:
    return record.attempts + 1 if record.endpoint.name else 0


def _asked(record: Record) -> Value:
    names = [endpoint.name for endpoint in record.tried]
    last = record.endpoint.name
    return ",".join(names if not last or names[-1:] == [last] else [*names, last])


def _cipher(peer: Any) -> Value:
    agreed = peer.agreed.cipher()
    return None if agreed is None else agreed[0]


COLUMNS: Mapping[str, Column] = {
    "PROTOCOL": Alike(lambda record: record.protocol),
    "RESPONSE_CODE": Alike(lambda record: record.status),
    "RESPONSE_CODE_DETAILS": Alike(_details),
    "RESPONSE_FLAGS": Alike(lambda record: record.flags),
    "ROUTE_NAME": Alike(lambda record: record.handling.route),
    "LISTENER": Alike(lambda record: record.handling.listener),
    "BYTES_RECEIVED": Number("received", lambda record: record.received),
    "BYTES_SENT": Number("sent", lambda record: record.sent),
    "DURATION": Number("duration", lambda record: int(record.seconds * 1000)),
    "RESPONSE_DURATION": Read(_until_answer),
    "RESPONSE_TX_DURATION": Read(_since_answer),
    "UPSTREAM_CLUSTER": Alike(lambda record: record.endpoint.cluster),
    "UPSTREAM_HOST": Alike(lambda record: record.endpoint.name),
    "UPSTREAM_REMOTE_ADDRESS": Alike(lambda record: record.endpoint.name),
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": Alike(lambda record: _host(record.endpoint.name)),
    "UPSTREAM_REMOTE_PORT": Alike(lambda record: _port(record.endpoint.name)),
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": Alike(_times_asked),
    "UPSTREAM_HOSTS_ATTEMPTED": Read(_asked),
    "DOWNSTREAM_REMOTE_ADDRESS": _connection(lambda origin: origin.remote),
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": _connection(lambda origin: _host(origin.remote)),
    "DOWNSTREAM_REMOTE_PORT": _connection(lambda origin: _port(origin.remote)),
    "DOWNSTREAM_LOCAL_ADDRESS": _connection(lambda origin: origin.local),
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": _connection(lambda origin: _host(origin.local)),
    "DOWNSTREAM_LOCAL_PORT": _connection(lambda origin: _port(origin.local)),
    "REQUESTED_SERVER_NAME": _peer(lambda peer: peer.name),
    "DOWNSTREAM_TLS_VERSION": _peer(lambda peer: peer.agreed.version()),
    "DOWNSTREAM_TLS_CIPHER": _peer(_cipher),
    # A name with spaces would be several words of a text
    "DOWNSTREAM_PEER_IDENTITY": _peer(lambda peer: peer.identity.replace(" ", "%20")),
    "DOWNSTREAM_PEER_URI_SAN": _certificate(lambda shown: ",".join(shown.uris)),
    "DOWNSTREAM_PEER_DNS_SAN": _certificate(lambda shown: ",".join(shown.dns)),
    "DOWNSTREAM_PEER_SUBJECT": _certificate(lambda shown: shown.subject),
    "DOWNSTREAM_PEER_ISSUER": _certificate(lambda shown: shown.issuer),
    "DOWNSTREAM_PEER_SERIAL": _certificate(lambda shown: f"{shown.serial:x}"),
    "DOWNSTREAM_PEER_FINGERPRINT_256": _certificate(lambda shown: shown.sha256),
    "TRACE_ID": Traced(lambda trace: trace.trace_id),
    "SPAN_ID": Traced(lambda trace: trace.span_id),
    "MQTT_CLIENT_ID": _of_session(lambda session: session.client_id),
    "MQTT_USER": _of_session(lambda session: session.user),
    "MESSAGES_RECEIVED": _of_session(lambda session: session.messages_received),
    "MESSAGES_SENT": _of_session(lambda session: session.messages_sent),
}
