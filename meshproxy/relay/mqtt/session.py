"""A session of MQTT, from the CONNACK to its end: whatever happens to the client, to the broker, or in between.

    session = Session(service, way, conn, client, connect)
    session.begin(early)        # a broker is reached, and what it says of the CONNECT goes to the client

A client keeps its connection while its broker is lost, where `failover` says for how long: another one is asked for the
same session, what is not answered is asked again, and what was delivered is brought to its end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from meshproxy.cluster.endpoint import Endpoint
from meshproxy.errors import Failure
from meshproxy.relay.mqtt.asides import Asides
from meshproxy.relay.mqtt.leaving import leave
from meshproxy.relay.mqtt.reaching import Line, Reaching
from meshproxy.relay.mqtt.seating import Place, Seating
from meshproxy.relay.mqtt.stay import ENDED
from meshproxy.relay.mqtt.talk import MOST_FROM_BROKER, NO_IDS
from meshproxy.relay.mqtt.up import Up
from meshproxy.relay.passed import Shared
from meshproxy.wire.mqtt import (
    CONNACK_311,
    DISCONNECT,
    PUBCOMP,
    PUBREL,
    V5,
    Ack,
    Code,
    Connack,
    Connect,
    Disconnect,
    Frames,
    Malformed,
    Pong,
    Properties,
    Property,
    Publish,
    Suback,
    Subscribe,
    Unsubscribe,
    decode,
    encode,
)
from meshproxy.wire.mqtt.codes import CODES

if TYPE_CHECKING:
    from meshproxy.net.conn import Conn
    from meshproxy.relay.mqtt.service import Store

GRACE = 1.5
"""How much longer than what it said a client may be silent."""
SETTLED = 2.0
"""Seconds: a broker that ends a session so soon after it was moved there means it, for the client is somewhere else."""
MEANT = frozenset(("closed", "reset"))
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
TOO_SLOW = 5.0
"""Seconds for which what was sent may wait for a client that is disconnected if it is slow."""
LONGEST_KEEP_ALIVE = 65_535
MOST_RECEIVED = 65_535
TAKEN_OVER = frozenset(
    (
        Code.SESSION_TAKEN_OVER,
        Code.NOT_AUTHORIZED,
        Code.ADMINISTRATIVE_ACTION,
        Code.PROTOCOL_ERROR,
        Code.MALFORMED_PACKET,
        Code.PACKET_TOO_LARGE,
        Code.QUOTA_EXCEEDED,
        Code.MESSAGE_RATE_TOO_HIGH,
        Code.RECEIVE_MAXIMUM_EXCEEDED,
        Code.TOPIC_ALIAS_INVALID,
        Code.TOPIC_NAME_INVALID,
        Code.TOPIC_FILTER_INVALID,
    )
)
"""Why a broker ends a session where another would not be of use."""
CLOSED = {"disconnect": "done", "closed": "done", "keep_alive": "idle", "drain": "drain", "reset": "reset"}
"""How the end of a session counts as that of a connection; all others are errors."""


class Session(Up):
    __slots__ = (
        "_clearing", "_early", "_giving_up", "_home", "_left_open", "_moved_at", "_pause", "_reaching", "_rested",
        "_resting", "_slowness", "_timer", "named", "preface",
    )  # fmt: skip

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._early = b""
        """What the client said before it was let in."""
        self.preface = b""
        """What a broker wants to see before all else: a PROXY header."""
        self.named = False
        """The client has a name that we have given it."""
        self._reaching: Reaching | Seating | None = None
        self._timer: Any = None
        self._giving_up: Any = None
        """Until when a broker is looked for."""
        self._resting: Any = None
        """The timer, while the client is not read because it was too fast."""
        self._rested = 0.0
        """When that is over."""
        self._slowness: Any = None
        """The timer, while a client has to hurry."""
        self._pause = 0.0
        self._moved_at = -inf
        """When another broker was found."""
        self._home: str | None = None
        """The endpoint that has, or had last, the session."""
        self._left_open: frozenset[str] = frozenset()
        """Endpoints that were lost while a message of QoS 2 was under way, either way: what they know of it is old."""
        self._clearing = False
        """A broker is asked to forget a session that is not this one."""

    @property
    def storing(self) -> bool:
        store = self.way.store
        return store is not None and (self.line is None or not store.empty)

    # Finding a broker

    def begin(self, early: bytes) -> None:
        self._early = early
        self.conn.handler = self
        self.service.state.connections.add(self)
        self._reach()

    def _reach(self) -> None:
        way = self.way
        connect = self._greeting()
        data = encode(connect if self.bridge is None else self.bridge.connect(connect), self.level_up)
        if way.shared is not None:
            self._reaching = Seating(way.shared, self.client, data, self)
        else:
            # Brokers come and go by reloads, and a session outlives many.
            group = self.service.state.clusters.get(way.cluster.name)
            cluster = way.cluster if group is None else group.cluster
            self._reaching = Reaching(way.means, cluster, self.client, self.preface + data, self.level_up, self)
        self._reaching.begin()

    def _greeting(self) -> Connect:
        """A client that begins anew does so once, not at each broker that it is moved to."""
        connect = self.connect
        if self._clearing:
            return replace(connect, clean=True, will=None, properties=_for_now(connect.properties))
        if not self.connack_owed and connect.clean and connect.properties.get(Property.SESSION_EXPIRY_INTERVAL):
            return replace(connect, clean=False)
        return connect

    def reached(self, line: Line | Place, connack: Connack, rest: bytes) -> None:
        self._reaching = None
        if self.over:
            line.close()
        elif self.connack_owed:
            self._admitted(line, connack, rest)
        elif connack.code:
            line.close()
            self._again_later()
        elif self._clearing:
            self._clearing = False
            self._take_leave(line)
            self._again_later()
        elif self._is_strange(line, connack):
            self._clearing = True
            self._take_leave(line)
            self._reach()
        else:
            self._moved(line, connack, rest)

    def _is_strange(self, line: Line | Place, connack: Connack) -> bool:
        """Whether the broker has a session that the client would take for its own, and must not: one that it has asked
        to be forgotten, or one in which ids mean what they meant before the session was somewhere else."""
        home = _name(line)
        return connack.present and home != self._home and (self.connect.clean or home in self._left_open)

    def _take_leave(self, line: Line | Place) -> None:
        """In good order, so that the broker does not send the will."""
        line.conn.write(encode(Disconnect(), self.level_up))
        line.close()

    def missed(self, endpoint: Endpoint) -> None:
        self.stay.missed(self.way.edges, endpoint)

    def unreachable(self, failure: Failure) -> None:
        self._reaching = None
        if self.over:
            return
        self.stay.unreachable = failure
        if not self.connack_owed:
            self._again_later()
        elif self.way.store is not None:
            self._admit_alone()
        else:
            self._refuse(Code.SERVER_UNAVAILABLE, "no_broker")

    # The first one

    def _admitted(self, line: Line | Place, connack: Connack, rest: bytes) -> None:
        said = connack if self.bridge is None else self.bridge.connack(connack, {})
        if connack.code:
            if isinstance(line, Line):
                self.stay.refused(self.way.edges, line.lease.endpoint)
            line.close()
            self.conn.write(encode(said, self.client.level))
            self.finish("refused")
            return
        self._has(line)
        self._home = _name(line)
        self.connack_owed = False
        self._welcome(said)
        self._join(line, rest)

    def _has(self, line: Line | Place) -> None:
        self.line = line
        endpoint = line.lease.endpoint if isinstance(line, Line) else Shared(self.way.cluster.name)
        self.stay.reached(self.way.edges, endpoint)

    def _admit_alone(self) -> None:
        """There is no broker, but somebody who takes what the client has to say."""
        self.connack_owed = False
        self._welcome(Connack(False, 0))
        self.conn.read_to(self.take_each)
        self._take_early(self.take_each)
        self._again_later()

    def _welcome(self, said: Connack) -> None:
        bounds, connect = self.service.bounds, self.connect
        keep_alive: float = connect.keep_alive or inf
        if self.client.level == V5:
            properties = dict(said.properties)
            self.window = min(self.window, properties.get(Property.RECEIVE_MAXIMUM, MOST_RECEIVED))
            properties[Property.RECEIVE_MAXIMUM] = self.window
            if self.named:
                properties[Property.ASSIGNED_CLIENT_IDENTIFIER] = connect.client_id.encode()
            properties[Property.TOPIC_ALIAS_MAXIMUM] = bounds.topic_aliases
            largest = min(bounds.packet, properties.get(Property.MAXIMUM_PACKET_SIZE, bounds.packet))
            self.frames.most = properties[Property.MAXIMUM_PACKET_SIZE] = largest
            keep_alive = properties.get(Property.SERVER_KEEP_ALIVE, keep_alive) or inf
            if keep_alive > bounds.keep_alive:
                keep_alive = min(max(int(bounds.keep_alive), 1), LONGEST_KEEP_ALIVE)
                properties[Property.SERVER_KEEP_ALIVE] = keep_alive
            self.room = connect.properties.get(Property.RECEIVE_MAXIMUM, MOST_RECEIVED)
            said = Connack(said.present, said.code, properties)
            connect.client_id = properties.get(Property.ASSIGNED_CLIENT_IDENTIFIER, b"").decode() or connect.client_id
        self.conn.fed_by = self
        self.conn.write(encode(said, self.client.level))
        self.service.stats.sessions_total += 1
        self.service.stats.sessions_active += 1
        self.patience = keep_alive * GRACE
        self.last = self.service.now()
        self.deadline = self.last + self.patience
        self.service.deadlines.watch(self, min(self.patience, bounds.answer))

    def _refuse(self, code: Code, word: str) -> None:
        level = self.client.level
        self.conn.write(encode(Connack(False, code if level == V5 else CONNACK_311.get(code, 3)), level))
        self.finish(word)

    def _join(self, line: Line | Place, rest: bytes) -> None:
        up, down = line.conn, self.conn
        up.fed_by = down
        if down.full:
            self.hold()
        hear = self.hear if self.plain else self.hear_each
        take = self.take if self.bridge is None else self.take_each
        up.read_to(hear)
        down.read_to(take)
        if rest:
            hear(rest)
        if self.over:
            return
        if self.line is line:
            up.start()
        self._take_early(take if self.line is line else self.take_each)

    def _take_early(self, take: Callable[[bytes], None]) -> None:
        early, self._early = self._early, b""
        if early:
            take(early)
        if not self.over:
            self.answered()

    # The next one

    def gone(self, line: Line | Place, reason: str) -> None:
        """Of a broker."""
        if self.over:
            return
        service = self.service
        soon = service.now() - self._moved_at < SETTLED
        store = self.way.store
        if (soon and reason in MEANT) or (service.failover is None and store is None):
            self.finish("taken_over" if soon else "broker", Code.SERVER_BUSY)
            return
        # What has passed until now is that broker's.
        self.account()
        if reason == "drain":
            self._take_leave(line)
        else:
            line.close()
        self._without(reason)
        if store is not None:
            self._store_unanswered(store)
        elif service.failover is not None:
            self._giving_up = service.clock.after(service.failover, self._give_up)
        if soon:
            self._again_later()
        else:
            self._pause = 0.0
            self._reach()

    def _without(self, reason: str) -> None:
        """What the broker has begun to say is not ended by another, and its pings are not answered."""
        self.service.stats.lost[reason] += 1
        self.line = None
        self.frames_up = Frames(MOST_FROM_BROKER)
        self.queue = None
        self.requests.lost()
        if self._home is not None and (self.requests.is_open or self.deliveries.is_open):
            self._left_open |= {self._home}
        self.conn.release()
        self.conn.read_to(self.take_each)
        if self.pinged:
            self.pinged = False
            self.tell(Pong())

    def broker_broken(self) -> None:
        if self.line is not None:
            self.gone(self.line, "protocol")

    def broker_leaves(self, packet: Disconnect) -> None:
        stays = self.service.failover is not None or self.way.store is not None
        if self.line is not None and stays and packet.code not in TAKEN_OVER:
            self.gone(self.line, "leaves")
        else:
            if self.client.level == V5:
                self.tell(packet)
            self.finish("broker")

    def _again_later(self) -> None:
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
        self._timer = self.service.clock.after(self._pause * (0.5 + self.service.chance()), self._reach)

    def _give_up(self) -> None:
        self.finish("broker", Code.SERVER_BUSY)

    def _moved(self, line: Line | Place, connack: Connack, rest: bytes) -> None:
        """The session goes on, with another broker or the same one."""
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        stats = self.service.stats
        five = self.level_up == V5
        self._has(line)
        home = _name(line)
        same = connack.present and home == self._home
        self._home = home
        self._left_open -= {home}
        self._moved_at = self.service.now()
        stats.moved_total += 1
        write = line.conn.write
        if not same:
            for given in self.deliveries.orphaned():
                self.tell(Ack(PUBREL, given))
            self.hidden.clear()
        if not same or self.subscriptions.replaying:
            for packet in self.subscriptions.replay(self.free_id, five=five):
                write(encode(packet, self.level_up))
        again = self.requests.again(present=connack.present)
        for data in again.packets:
            write(data)
            if not same and data[0] >> 4 == PUBREL:
                # That the broker has a session does not say that it is the one in which the message was.
                stats.in_doubt_total += 1
        for number in again.in_doubt:
            self._leave_in_doubt(number)
        self._join(line, rest)

    def _store_unanswered(self, store: Store) -> None:
        """What the broker has not answered is answered here: the client is not to wait for an uplink.  Only a PUBREL
        waits for the broker that has the message: who says that it is over could be killed before it is."""
        requests = self.requests
        for number, data in tuple(requests.kept.items()):
            packet = decode(self.level_up, data, *Frames(len(data)).feed(data)[1][0])
            if isinstance(packet, Publish):
                if self.is_stored(packet, self.service.rule_of(packet.topic)):
                    known = requests.is_known(number)
                    requests.answered(number)
                    self.put_aside(store, packet, known=known)
            elif isinstance(packet, Subscribe):
                requests.answered(number)
                self.tell(Suback(number, self.subscriptions.granted(number)))
            elif isinstance(packet, Unsubscribe):
                requests.answered(number)
                self.tell(self.unsubscribed(packet))
        if self.stopped:
            self.answered()

    def _leave_in_doubt(self, number: int) -> None:
        """Only the broker that is gone knows whether it has passed it on."""
        self.service.stats.in_doubt_total += 1
        self.tell(Ack(PUBCOMP, number))

    # The client

    def on_end(self, conn: Conn) -> None:
        self.finish("closed")

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self.finish("reset")

    def expired(self) -> None:
        now, patience = self.service.now(), self.patience
        if now >= self.due:
            self.due = inf
            if self.line is not None and self.broker_owes:
                self.gone(self.line, "silent")
        if self.over:
            return
        # A client that is not read may have said something.
        silent_until = now + patience if self.stopped else self.last + patience
        if now >= silent_until:
            self.finish("keep_alive", Code.KEEP_ALIVE_TIMEOUT)
        else:
            self.deadline = min(silent_until, self.due)

    def malformed(self, fault: Malformed) -> None:
        self.service.stats.malformed[fault.word] += 1
        self.finish("malformed", fault.code)

    def rest(self, seconds: float) -> None:
        self.stop()
        self._rested = max(self._rested, self.service.now() + seconds)
        if self._resting is None:
            self._resting = self.service.clock.after(seconds, self._go_on)

    def _go_on(self) -> None:
        left = self._rested - self.service.now()
        if left > 0:
            self._resting = self.service.clock.after(left, self._go_on)
        else:
            self._resting = None
            self.answered()

    def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            self.conn.stop()

    def answered(self) -> None:
        aside_full = isinstance(self.aside, Asides) and self.aside.full
        if self._resting is None and self.requests.waiting < self.window and not (self.conn.full or aside_full):
            self.stopped = False
            self.conn.start()

    def hold(self) -> None:
        """The client does not take what it is sent."""
        line, policy = self.line, self.service.bounds.slow
        if policy == "drop":
            self.slow = True
            if line is not None:
                line.conn.read_to(self.hear_each)
            return
        if line is not None:
            line.conn.hold()
        if policy == "disconnect" and self._slowness is None:
            self._slowness = self.service.clock.after(TOO_SLOW, self._too_slow)

    def release(self) -> None:
        line = self.line
        if self._slowness is not None:
            self._slowness.cancel()
            self._slowness = None
        if self.slow:
            self.slow = False
            self.owed = 0
            self.ease()
        if line is not None:
            line.conn.release()
        if self.stopped:
            self.answered()

    def _too_slow(self) -> None:
        self.service.stats.dropped["slow"] += 1
        self.finish("slow")

    # The end

    def account(self) -> None:
        conn, stats, stay = self.conn, self.service.state.stats, self.stay
        stats.bytes_received_total += conn.received
        stats.bytes_sent_total += conn.sent
        stay.moved(conn.received, conn.sent)
        conn.received = conn.sent = 0
        if self.line is not None:
            self.line.moved()
        counted = self.service.stats
        counted.messages_in_total += self.messages_in
        counted.messages_out_total += self.messages_out
        stay.said(self.messages_in, self.messages_out)
        self.messages_in = self.messages_out = 0

    def leave(self) -> None:
        """A session of MQTT has no end of its own: it goes on until it is drained."""

    def drain(self) -> None:
        self.finish("drain", Code.SERVER_SHUTTING_DOWN)

    def finish(self, reason: str, code: Code | None = None) -> None:
        """`code` is what a client of 5.0 is told."""
        if self.over:
            return
        self.over = True
        service = self.service
        if code is not None and self.client.level == V5 and not self.connack_owed:
            self.tell(Disconnect(code if code in CODES[DISCONNECT] else Code.UNSPECIFIED_ERROR))
        self.account()
        service.deadlines.forget(self)
        for timer in (self._timer, self._giving_up, self._resting, self._slowness):
            if timer is not None:
                timer.cancel()
        if self._reaching is not None:
            self._reaching.cancel()
            self._reaching = None
        if self.line is not None:
            self.line.close()
            self.line = None
        if isinstance(self.aside, Asides):
            self.aside.close()
            self.aside = NO_IDS
        if not self.connack_owed:
            service.stats.sessions_active -= 1
        service.stats.ended[reason] += 1
        self._tell(reason)
        if reason == "reset":
            self.conn.close()
        else:
            leave(service.clock, self.conn)
        service.state.closed(self, CLOSED.get(reason, "error"))
        if service.log is not None:
            service.log(self, reason)

    def _tell(self, reason: str) -> None:
        service, client, stay = self.service, self.client, self.stay
        failure = (stay.unreachable if reason in ("no_broker", "broker") else None) or ENDED.get(reason)
        service.state.told.tell(
            stay.record(
                service.state.name, client.id or self.connect.client_id, client.user, client.level, self.began,
                service.now(), failure,
            )
        )  # fmt: skip


def _for_now(properties: Properties) -> Properties:
    return {key: value for key, value in properties.items() if key != Property.SESSION_EXPIRY_INTERVAL}


def _name(line: Line | Place) -> str:
    return line.lease.endpoint.name if isinstance(line, Line) else ""
