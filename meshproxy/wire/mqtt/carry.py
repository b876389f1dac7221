"""Between two versions: a client of 5.0 whose broker speaks 3.1.1, and the other way.  What is lost is written down in
docs/mqtt-versions.md.

    bridge = Bridge(client=V5, broker=V311)
    bridge.connect(packet)                      # what the broker is sent; of bridge.refusal(packet) the client is told
    bridge.connack(answer, {Property.ASSIGNED_CLIENT_IDENTIFIER: b"boat-7"})
    bridge.to_broker(packet); bridge.to_client(packet)

A packet that comes back as it was is written in the other version as it is: `encode` leaves out what that has no place
for.  Topics are resolved before: no alias crosses a bridge.
"""

from __future__ import annotations

from meshproxy.wire.mqtt.codes import CONNACK_311, V5, V311, Code
from meshproxy.wire.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Properties,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from meshproxy.wire.mqtt.properties import NOTHING, Property

FOR_EVER = 0xFFFFFFFF
"""A Session Expiry Interval that never ends."""

MOST_UNSUBSCRIBES = 1024
"""That the broker has not answered: how many filters each had has to be known until then."""

_REASONS = (
    Code.SUCCESS,
    Code.UNSUPPORTED_PROTOCOL_VERSION,
    Code.CLIENT_IDENTIFIER_NOT_VALID,
    Code.SERVER_UNAVAILABLE,
    Code.BAD_USER_OR_PASSWORD,
    Code.NOT_AUTHORIZED,
)
"""By return codes of 3.1.1."""


class Bridge:
    """For one session, whose two versions differ."""

    __slots__ = ("_down", "_longer", "_unsubscribes")

    def __init__(self, client: int, broker: int) -> None:
        self._down = client > broker
        """From 5.0 to 3.1.1."""
        self._longer = False
        """The broker keeps the session for longer than the client has asked for."""
        self._unsubscribes: dict[int, int] = {}
        """By packet identifier: how many filters."""

    def refusal(self, packet: Connect) -> Code | None:
        """Why this client cannot have such a broker."""
        if self._down and Property.AUTHENTICATION_METHOD in packet.properties:
            return Code.BAD_AUTHENTICATION_METHOD
        return None

    def connect(self, packet: Connect) -> Connect:
        """Its client id is given already: who is not clean has one."""
        if self._down:
            return self._connect_down(packet)
        said: Properties = {Property.REQUEST_PROBLEM_INFORMATION: 0}
        if not packet.clean:
            said[Property.SESSION_EXPIRY_INTERVAL] = FOR_EVER
        return Connect(
            V5,
            packet.client_id,
            packet.clean,
            packet.keep_alive,
            packet.user,
            packet.password,
            packet.will,
            said,
        )

    def _connect_down(self, packet: Connect) -> Connect:
        expiry = packet.properties.get(Property.SESSION_EXPIRY_INTERVAL, 0)
        clean = packet.clean and not expiry
        self._longer = not clean and expiry != FOR_EVER
        user = packet.user
        if user is None and packet.password is not None:
            # 3.1.1 has no password without a name
            user = ""
        will = packet.will
        if will:
            will = Will(will.topic, will.payload, will.qos, will.retain, NOTHING)
        return Connect(V311, packet.client_id, clean, packet.keep_alive, user, packet.password, will, NOTHING)

    def connack(self, packet: Connack, own: Properties = NOTHING) -> Connack:
        """`own`: what the relay has to say for itself to a client of 5.0."""
        if not self._down:
            return Connack(packet.present, CONNACK_311[packet.code], NOTHING)
        code = _REASONS[packet.code]
        if code:
            return Connack(False, code, NOTHING)
        said: Properties = {Property.SUBSCRIPTION_IDENTIFIER_AVAILABLE: 0}
        if self._longer:
            said[Property.SESSION_EXPIRY_INTERVAL] = FOR_EVER
        return Connack(packet.present, code, said | own)

    def answer(self, packet: Packet) -> Packet | None:
        """To the client, from the relay itself: then the packet does not go on.  A DISCONNECT ends the session."""
        if not self._down:
            return None
        if isinstance(packet, Subscribe) and Property.SUBSCRIPTION_IDENTIFIER in packet.properties:
            refused = (int(Code.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED),) * len(packet.subscriptions)
            return Suback(packet.id, refused, NOTHING)
        if isinstance(packet, Unsubscribe) and len(self._unsubscribes) >= MOST_UNSUBSCRIBES:
            return Disconnect(Code.QUOTA_EXCEEDED, NOTHING)
        if isinstance(packet, Auth):
            # It comes from who has named no method, since who has was refused
            return Disconnect(Code.PROTOCOL_ERROR, NOTHING)
        return None

    def to_broker(self, packet: Packet) -> Packet | None:
        """Of what was not answered.  A DISCONNECT of which nothing is left: the connection ends without one, so that
        the broker sends the will."""
        if self._down:
            if isinstance(packet, Unsubscribe):
                self._unsubscribes[packet.id] = len(packet.filters)
            elif isinstance(packet, Disconnect) and packet.code:
                return None
        return packet

    def to_client(self, packet: Packet) -> Packet | None:
        """None: a DISCONNECT or AUTH, which a client of 3.1.1 cannot be sent (its connection ends after the first), or
        an answer to a question that nobody has asked."""
        if self._down:
            if isinstance(packet, Unsuback):
                filters = self._unsubscribes.pop(packet.id, 0)
                return Unsuback(packet.id, (0,) * filters, NOTHING) if filters else None
        elif isinstance(packet, Suback):
            return Suback(packet.id, tuple([min(code, 0x80) for code in packet.codes]), NOTHING)
        elif isinstance(packet, Disconnect | Auth):
            return None
        return packet
