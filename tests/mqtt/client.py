"""Clients of MQTT that lose nothing: they connect again and send again, whatever happens to their connection.

    publisher = Publisher(account, "press-1", address, level=V5, qos=2)
    async with publisher: ...            # publishes in a window until it is told to finish
    await publisher.finish()             # until all is acknowledged

What they send and get they write down in an `Account`.  Both versions, and a session that outlives connections.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from contextlib import suppress
from itertools import cycle
from typing import Self, cast

from meshproxy.wire.mqtt import (
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    V5,
    V311,
    Ack,
    Connack,
    Connect,
    Disconnect,
    Frames,
    Malformed,
    Packet,
    Properties,
    Property,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    decode,
    encode,
)
from tests.mqtt.account import Account, Message

Address = tuple[str, int]

AGAIN_AFTER = 0.02
ANSWER_WITHIN = 5.0
SESSION_EXPIRY = 300
REFUSED = 0x80


class Line(asyncio.Protocol):
    """One connection, in packets."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._frames = Frames(1 << 24)
        loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[int | None] = loop.create_future()
        """The code of the CONNACK, or nothing if there was none."""
        self.gone: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        level, heard = self._client.level, self._client.heard
        try:
            data, cuts = self._frames.feed(data)
            for cut in cuts:
                heard(self, decode(level, data, *cut))
        except Malformed as error:
            self._client.faults.append(f"{self._client.name} heard {error!r}")
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._client.lost(self)

    def send(self, packet: Packet) -> None:
        self.transport.write(encode(packet, self._client.level))


class Client:
    """Has a session, and a connection most of the time."""

    def __init__(self, account: Account, name: str, address: Address, *, level: int = V311) -> None:
        self.account, self.name, self.address, self.level = account, name, address, level
        self.connections = 0
        self.faults: list[str] = []
        """What no peer may do."""
        self._line: Line | None = None
        """On which it was let in."""
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._line is not None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._stay())
        return self

    async def __aexit__(self, *ignored: object) -> None:
        assert self._task
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        if self._line is not None:
            self._line.send(Disconnect())
            self._line.transport.close()
        assert not self.faults, self.faults

    async def _stay(self) -> None:
        while True:
            with suppress(OSError, TimeoutError):
                line = await self._connect()
                await line.gone
            await asyncio.sleep(AGAIN_AFTER)

    async def _connect(self) -> Line:
        async with asyncio.timeout(ANSWER_WITHIN):
            loop = asyncio.get_running_loop()
            transport, line = await loop.create_connection(lambda: Line(self), *self.address)
            try:
                said: Properties = {Property.SESSION_EXPIRY_INTERVAL: SESSION_EXPIRY} if self.level == V5 else {}
                line.send(Connect(self.level, self.name, clean=False, keep_alive=60, properties=said))
                code = await line.answer
                if code != 0:
                    raise ConnectionRefusedError(code)
            except BaseException:
                transport.abort()
                raise
        return line

    def lost(self, line: Line) -> None:
        if self._line is line:
            self._line = None
        if not line.answer.done():
            line.answer.set_result(None)
        if not line.gone.done():
            line.gone.set_result(None)

    def heard(self, line: Line, packet: Packet) -> None:
        if isinstance(packet, Connack):
            self._answered(line, packet)
        elif isinstance(packet, Disconnect):
            line.transport.abort()
        elif line is self._line:
            self.take(packet)

    def _answered(self, line: Line, answer: Connack) -> None:
        if line.answer.done():
            return
        line.answer.set_result(answer.code)
        if not answer.code:
            # Now, not when the task is awake: what a session goes on with comes in the same breath, and wants answers.
            self.connections += 1
            self._line = line
            self.begin(answer)

    def send(self, packet: Packet) -> None:
        """Where there is no connection it is sent by whoever begins the next."""
        if self._line is not None:
            self._line.send(packet)

    @abstractmethod
    def begin(self, answer: Connack) -> None:
        """A session goes on, or a new one begins."""

    @abstractmethod
    def take(self, packet: Packet) -> None:
        """Whatever comes but answers."""


class Flight:
    """A message that is not entirely acknowledged."""

    __slots__ = ("message", "released")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.released = False


class Publisher(Client):
    """Keeps a window of messages in flight, one more for each that is acknowledged, and none faster than its pace."""

    def __init__(
        self,
        account: Account,
        name: str,
        address: Address,
        *,
        level: int = V311,
        qos: int = 1,
        topics: int = 3,
        size: int = 50,
        window: int = 10,
        pace: float = 0.001,
    ) -> None:
        super().__init__(account, name, address, level=level)
        self.qos, self._size, self._window, self._pace = qos, size, window, pace
        self._topics = cycle(f"account/{name}/{qos}/{number}".encode() for number in range(topics))
        self._flights: dict[int, Flight] = {}
        self._ids = cycle(range(1, 65536))
        self._open = True
        self._feeder: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._feeder = asyncio.create_task(self._feed())
        return self

    async def __aexit__(self, *ignored: object) -> None:
        assert self._feeder
        self._feeder.cancel()
        await super().__aexit__()

    async def finish(self) -> None:
        """Begin nothing new, and wait until all that was begun is acknowledged."""
        self._open = False
        while self._flights:  # noqa: ASYNC110 - a test has its own deadline
            await asyncio.sleep(0.005)

    async def _feed(self) -> None:
        while self._open:
            await asyncio.sleep(self._pace)
            if self._line is not None and len(self._flights) < self._window:
                self._publish()

    def _publish(self) -> None:
        message = self.account.sent(self.name, next(self._topics), self.qos, self._size)
        id = 0
        if self.qos:
            id = next(each for each in self._ids if each not in self._flights)
            self._flights[id] = Flight(message)
        self.send(Publish(message.topic, message.payload, self.qos, id=id))

    def begin(self, answer: Connack) -> None:
        self._window = min(self._window, answer.properties.get(Property.RECEIVE_MAXIMUM, self._window))
        for id, flight in self._flights.items():
            message = flight.message
            if flight.released:
                self.send(Ack(PUBREL, id))
            else:
                self.send(Publish(message.topic, message.payload, self.qos, dup=True, id=id))

    def take(self, packet: Packet) -> None:
        if not isinstance(packet, Ack):
            return
        flight = self._flights.get(packet.id)
        if packet.kind == PUBREC and packet.code < REFUSED:
            if flight is not None:
                flight.released = True
                # what is released stands in the order of its release
                self._flights[packet.id] = self._flights.pop(packet.id)
            self.send(Ack(PUBREL, packet.id))
        elif flight is not None and packet.kind in (PUBACK, PUBREC, PUBCOMP):
            del self._flights[packet.id]
            if packet.code < REFUSED or packet.kind == PUBCOMP:
                self.account.acknowledged(flight.message)
            else:
                self.account.refused(flight.message, packet.code)


class Subscriber(Client):
    """Gets all that is sent for an account, or what a filter says."""

    def __init__(
        self,
        account: Account,
        name: str,
        address: Address,
        *,
        level: int = V311,
        qos: int = 2,
        topic_filter: bytes = b"account/#",
    ) -> None:
        super().__init__(account, name, address, level=level)
        self._subscription = Subscription(topic_filter, qos)
        self._unreleased: set[int] = set()
        self.ready = asyncio.Event()
        """It was subscribed for once."""

    def begin(self, answer: Connack) -> None:
        if not answer.present:
            self._unreleased.clear()
            self.send(Subscribe(1, (self._subscription,)))

    def take(self, packet: Packet) -> None:
        if isinstance(packet, Publish):
            if packet.qos < 2:
                self.account.delivered(self.name, packet)
                if packet.qos:
                    self.send(Ack(PUBACK, packet.id))
                return
            if packet.id not in self._unreleased:
                self._unreleased.add(packet.id)
                self.account.delivered(self.name, packet)
            self.send(Ack(PUBREC, packet.id))
        elif isinstance(packet, Ack) and packet.kind == PUBREL:
            self._unreleased.discard(packet.id)
            self.send(Ack(PUBCOMP, packet.id))
        elif isinstance(packet, Suback):
            if packet.codes[0] >= REFUSED:
                self.faults.append(f"{self.name} may not subscribe: {packet.codes[0]:#x}")
            self.ready.set()
