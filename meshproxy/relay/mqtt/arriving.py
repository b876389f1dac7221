"""A client of MQTT that has connected: its CONNECT is read, and looked at, before any broker hears of it.

    CONNECT, in time -> what may be said -> who it is -> where it goes -> whether its will may be -> a session
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from meshproxy.core.mqtt.client import Client
from meshproxy.core.mqtt.ruling import Ruling
from meshproxy.errors import Failure
from meshproxy.net.conn import Conn
from meshproxy.relay.mqtt.authentication import Comparison, Outcome, Refusal
from meshproxy.relay.mqtt.leaving import leave
from meshproxy.relay.mqtt.session import CLOSED, Session
from meshproxy.relay.mqtt.stay import REFUSED, SPOKEN, Caller
from meshproxy.relay.origin import Origin
from meshproxy.relay.passed import Passed, Spot
from meshproxy.wire.mqtt import (
    CONNACK_311,
    CONNECT,
    V5,
    V311,
    Code,
    Connack,
    Connect,
    Cut,
    Fault,
    Frames,
    Malformed,
    Property,
    Will,
    decode,
    encode,
    looks_like_connect,
)

if TYPE_CHECKING:
    from meshproxy.relay.mqtt.rules import TopicRule
    from meshproxy.relay.mqtt.service import MqttService, Way

OPENING_5 = b"\0\4MQTT\5"
SAID_311 = frozenset((Fault.UNKNOWN_VERSION, Fault.BAD_CLIENT_ID))
"""Of what can be wrong with a CONNECT; what else is, is told by the end."""

_REFUSALS = {Refusal.NOTHING: Code.NOT_AUTHORIZED, Refusal.BUSY: Code.SERVER_BUSY}
"""What is said to a client that is nobody; which of name and password was wrong it is not told."""


class Arriving:
    __slots__ = (
        "_asked",
        "_conn",
        "_connect",
        "_early",
        "_frames",
        "_origin",
        "_over",
        "_service",
        "_user",
        "deadline",
    )  # fmt: skip

    def __init__(self, service: MqttService, conn: Conn, origin: Origin) -> None:
        self._service = service
        self._conn = conn
        self._origin = origin
        self._frames = Frames(service.bounds.packet)
        self._connect: Connect | None = None
        self._early = b""
        """What came behind the CONNECT."""
        self._asked: Comparison | None = None
        self._over = False
        self._user = ""
        """Whom it is let in as, once that is known."""
        self.deadline = service.now() + service.bounds.connect
        service.deadlines.watch(self, service.bounds.connect)
        service.state.connections.add(self)
        conn.handler = self

    def begin(self) -> None:
        conn, origin = self._conn, self._origin
        early, origin.early = origin.early, b""
        conn.read_to(self._read)
        if early:
            self._read(early)
        if not self._over and self._connect is None:
            conn.look()
        if not self._over and self._connect is None:
            conn.start()

    def _read(self, data: bytes) -> None:
        first = not self._frames.waiting
        try:
            buffer, cuts = self._frames.feed(data)
            if cuts:
                self._packet(buffer, cuts)
            elif first and looks_like_connect(data) is False:
                self._malformed(Malformed(Fault.NOT_MQTT, "no CONNECT", Code.PROTOCOL_ERROR))
        except Malformed as fault:
            if fault.before[1] and self._connect is None:
                # The session will find the same.
                self._packet(*fault.before)
            else:
                self._malformed(fault)

    def _packet(self, buffer: bytes, cuts: Sequence[Cut]) -> None:
        start, body, end = cuts[0]
        if buffer[start] >> 4 != CONNECT:
            self._malformed(Malformed(Fault.NOT_MQTT, "something before a CONNECT", Code.PROTOCOL_ERROR))
            return
        try:
            packet = decode(0, buffer, start, body, end)
        except Malformed as fault:
            known = buffer[body : body + len(OPENING_5)] == OPENING_5
            self._malformed(fault, V5 if known else V311)
            return
        assert isinstance(packet, Connect)
        self._conn.stop()
        self._connect = packet
        self._early = buffer[end:]
        self._look_at(packet)

    def _look_at(self, packet: Connect) -> None:
        service = self._service
        bounds = service.bounds
        if packet.level not in bounds.versions:
            self._refuse(Code.UNSUPPORTED_PROTOCOL_VERSION, "version")
        elif len(packet.client_id) > bounds.client_id or not (packet.client_id or packet.clean or packet.level == V5):
            self._refuse(Code.CLIENT_IDENTIFIER_NOT_VALID, "client_id")
        elif service.authenticate is None:
            self._known(packet.user or "")
        elif Property.AUTHENTICATION_METHOD in packet.properties:
            self._refuse(Code.BAD_AUTHENTICATION_METHOD, "unknown")
        else:
            asked = service.authenticate.identify(packet.user, packet.password, self._origin, self._identified)
            if not self._over:
                self._asked = asked

    def _identified(self, said: Outcome) -> None:
        self._asked = None
        if self._over:
            return
        if isinstance(said, str):
            self._known(said)
        else:
            self._refuse(_REFUSALS.get(said, Code.BAD_USER_OR_PASSWORD), said.value)

    def _known(self, user: str) -> None:
        packet, service, origin = self._connect, self._service, self._origin
        assert packet is not None
        self._user = user
        peer = origin.peer
        name = peer.name if peer is not None else None
        client = Client(packet.client_id, user, origin.identity or "", name or "", packet.level, origin.client)
        way = next((way for way in service.ways if way.matches(client)), None)
        if way is None:
            self._refuse(Code.NOT_AUTHORIZED, "no_way")
            return
        if service.authenticate is not None:
            packet = replace(packet, user=user or None)
        if way.credentials is not None:
            packet = replace(packet, user=way.credentials[0], password=way.credentials[1])
        if packet.password is not None and packet.user is None and packet.level != V5:
            packet = replace(packet, password=None)
        self._go_on(packet, client, way)

    def _go_on(self, packet: Connect, client: Client, way: Way) -> None:
        service, origin = self._service, self._origin
        if packet.level == V5:
            properties = {key: value for key, value in packet.properties.items() if key != Property.TOPIC_ALIAS_MAXIMUM}
            packet = replace(packet, properties=properties)
        named = not packet.client_id and (way.shared is not None or way.level not in (None, packet.level))
        if named:
            client.id = service.name_client()
            packet = replace(packet, client_id=client.id)
        manners = way.manners(client)
        if manners is None:
            self._refuse(Code.NOT_AUTHORIZED, "no_way")
            return
        session = Session(service, way, manners, self._conn, origin, client, packet)
        session.named = named
        if way.announce is not None:
            session.preface = way.announce(origin.source, origin.destination or self._conn.local)
        refusal = session.bridge.refusal(packet) if session.bridge is not None else None
        if refusal is not None:
            self._refuse(refusal, "unknown")
            return
        if packet.will is not None:
            try:
                ruling = session.manners.rulings[packet.will.topic]
            except Malformed as fault:
                self._malformed(fault, packet.level)
                return
            if not ruling.allowed:
                service.stats.denied["will"] += 1
                self._refuse(Code.NOT_AUTHORIZED, "will")
                return
            session.connect = replace(packet, will=_ruled(packet.will, ruling))
        self._leave()
        session.begin(self._early)

    # What does not come about

    def on_end(self, conn: Conn) -> None:
        self._end("closed")

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._end("reset")

    def expired(self) -> None:
        self._end("timeout")

    def account(self) -> None:
        """Nothing has been relayed yet."""

    def leave(self) -> None:
        """It has little time as it is."""

    def drain(self) -> None:
        self._end("drain")

    def _malformed(self, fault: Malformed, level: int = V311) -> None:
        self._service.stats.malformed[fault.word] += 1
        if level == V5:
            self._conn.write(encode(Connack(False, fault.code), V5))
        elif fault.word in SAID_311:
            # In the words of 3.1.1, which whoever speaks something else may know.
            self._conn.write(encode(Connack(False, CONNACK_311[fault.code]), V311))
        self._end("malformed")

    def _refuse(self, code: Code, word: str) -> None:
        packet = self._connect
        assert packet is not None
        said = code if packet.level == V5 else CONNACK_311[code]
        self._conn.write(encode(Connack(False, said), packet.level))
        self._end(word)

    def _end(self, word: str) -> None:
        if self._over:
            return
        service = self._service
        self._leave()
        service.stats.refused[word] += 1
        self._tell(REFUSED[word])
        if word == "reset":
            self._conn.close()
        else:
            leave(service.clock, self._conn)
        service.state.closed(self, CLOSED.get(word, "error"))

    def _tell(self, why: Failure) -> None:
        packet, service, conn = self._connect, self._service, self._conn
        if packet is None and why.flag == "DC" and not self._frames.waiting:
            return  # it has only looked whether somebody is here, as balancers do all day
        now, began = service.now(), self.deadline - service.bounds.connect
        service.state.told.tell(
            Passed(
                self._origin, Spot(service.state.name), began, now - began, conn.received, conn.sent, why,
                flags=why.flag, protocol=SPOKEN[packet.level] if packet is not None else "MQTT",
                session=Caller(packet.client_id if packet is not None else "", self._user),
            )
        )  # fmt: skip

    def _leave(self) -> None:
        self._over = True
        self._service.deadlines.forget(self)
        self._service.state.connections.discard(self)
        if self._asked is not None:
            self._asked.cancel()
            self._asked = None


def _ruled(will: Will, ruling: Ruling[TopicRule]) -> Will:
    """As the rule for its topic has it, as far as a broker can be asked for that."""
    rule = ruling.rule
    if rule is None:
        return replace(will, topic=ruling.topic)
    return replace(will, topic=ruling.topic, qos=min(will.qos, rule.max_qos), retain=will.retain and rule.retain)
