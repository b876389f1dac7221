"""Loads of MQTT 3.1.1, in their own process, which read the proxy's CPU as those of `benchmarks.load` do.

    qos0       one message in flight on each of 50 connections: each is a segment of its own      work in messages
    qos0-64    64 of them in one write, on each of 10 connections                                 work in messages
    qos1 qos2  20 in flight on each of 10 connections, entirely acknowledged                      work in messages
    one-qos1   20 in flight on one connection                                                     work in messages
    crowd-qos1 20 in flight on each of 50 connections                                             work in messages
    fan-out    one message at a time, for 1,000 subscribers                                       work in deliveries

With `--double` the load is the broker too, on that port: it lets everybody in, swallows and acknowledges.  Nothing is
sent before what was sent earlier has come out at the other end, so that no buffer holds what was counted as done.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle

from benchmarks import process
from benchmarks.load import STALLED, Sample, measure, sampled
from benchmarks.mqtt import packets
from benchmarks.mqtt.packets import ACK_SIZE, PUBACK, PUBCOMP, PUBREC, PUBREL

WINDOW = 20
TOPICS = 8
SUBSCRIBERS = 1000
AT_A_TIME = 100
BLOCK = 1 << 18


class Ends:
    """Where clients connect to, and the broker if it is this process; all connections are open until it is closed."""

    def __init__(self, port: int, double: int | None) -> None:
        self._port = port
        self._open = ExitStack()
        self._listener: socket.socket | None = None
        if double is not None:
            self._listener = self._open.enter_context(socket.create_server(("127.0.0.1", double), backlog=4096))
            self._listener.settimeout(STALLED)

    def crowds(self, many: int) -> Iterator[list[socket.socket]]:
        """The connections of so many clients, which another process lets in, some at a time."""
        for first in range(0, many, AT_A_TIME):
            several = [self._asked(f"bench-{number}") for number in range(first, min(first + AT_A_TIME, many))]
            for own in several:
                packets.introduce(own)
            yield several

    def client(self, name: str) -> tuple[socket.socket, socket.socket | None]:
        """The connection of a client that was let in, and the broker's end of it."""
        own = self._asked(name)
        far = None
        if self._listener is not None:
            far = self._keep(self._listener.accept()[0])
            packets.receive(far)
            far.sendall(packets.ACCEPTED)
        packets.introduce(own)
        return own, far

    def _asked(self, name: str) -> socket.socket:
        own = self._keep(socket.create_connection(("127.0.0.1", self._port), STALLED))
        own.sendall(packets.connect(name.encode()))
        return own

    def _keep(self, connection: socket.socket) -> socket.socket:
        self._open.enter_context(connection)
        connection.settimeout(STALLED)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def close(self) -> None:
        self._open.close()


def messages(number: int, qos: int = 0, many: int = 64) -> list[bytes]:
    """Of one client, in turn on several topics; their ids begin with 1."""
    return [
        packets.publish(b"bench/%03d/%d" % (number, id % TOPICS), b"%03d" % id * 33 + b".", qos, id)
        for id in range(1, many + 1)
    ]


def one_way(ends: Ends, connections: int, batch: int) -> Iterator[int]:
    """A client sends again when the broker has what it sent."""
    poll = select.epoll()
    far_ends: dict[int, socket.socket] = {}
    sends: dict[int, Callable[[], None]] = {}
    writes = []
    for number in range(connections):
        own, far = ends.client(f"bench-{number}")
        if far is None:
            raise ValueError("without a double nobody knows when a message of QoS 0 has come")
        several = messages(number)
        written = cycle(several if batch == 1 else [b"".join(several[:batch])])
        far_ends[far.fileno()], sends[far.fileno()] = far, partial(send_next, own, written)
        poll.register(far, select.EPOLLIN)
        writes.append(len(several[0]) * batch)
        # what comes out is what went in
        own.sendall(sent := next(written))
        if packets.exactly(far, len(sent)) != sent:
            raise ConnectionError("something else came out")
    owed = dict.fromkeys(far_ends, size := writes[0])
    for send in sends.values():
        send()
    room = bytearray(BLOCK)
    while ready := poll.poll(STALLED):
        done = 0
        for fd, _ in ready:
            got = far_ends[fd].recv_into(room)
            if not got:
                raise ConnectionError("a connection to the broker was closed")
            owed[fd] -= got
            if not owed[fd]:
                owed[fd] = size
                sends[fd]()
                done += batch
        yield done
    raise TimeoutError("nothing came to the broker")


def send_next(own: socket.socket, written: Iterator[bytes]) -> None:
    own.sendall(next(written))


@dataclass(slots=True)
class Side:
    """One end of a client's connection, and the part of a packet that has come."""

    connection: socket.socket
    rest: bytes = b""

    def whole(self, size: int) -> bytes:
        """What has come, in whole packets of this size."""
        got = self.connection.recv(BLOCK)
        if not got:
            raise ConnectionError("a connection was closed")
        data = self.rest + got
        end = len(data) - len(data) % size
        self.rest = data[end:]
        return data[:end]


class Publisher(Side):
    """Has a window of messages in flight, and sends each again when it was acknowledged."""

    def __init__(self, connection: socket.socket, several: list[bytes], qos: int) -> None:
        super().__init__(connection)
        self._last = PUBACK if qos == 1 else PUBCOMP
        self._by_id = dict(enumerate(several, 1))
        connection.sendall(b"".join(several))

    def answered(self) -> int:
        """How many messages were entirely acknowledged."""
        data = self.whole(ACK_SIZE)
        done = 0
        out = []
        for at in range(0, len(data), ACK_SIZE):
            kind = data[at]
            if kind == self._last:
                out.append(self._by_id[data[at + 3]])
                done += 1
            elif kind == PUBREC:
                out.append(bytes((PUBREL, 2)) + data[at + 2 : at + 4])
            else:
                raise ConnectionError(f"not an acknowledgement: {data[at : at + 4].hex()}")
        if out:
            self.connection.sendall(b"".join(out))
        return done


class Acknowledging(Side):
    """The broker's end, where all messages are of the same size."""

    def __init__(self, connection: socket.socket, message: bytes, qos: int) -> None:
        super().__init__(connection)
        self._qos, self._size = qos, len(message)
        self._id_at = 4 + int.from_bytes(message[2:4])

    def answer(self) -> int:
        data = self.rest + self.connection.recv(BLOCK)
        if len(data) == len(self.rest):
            raise ConnectionError("a connection to the broker was closed")
        at = 0
        out = []
        while at < len(data):
            released = data[at] == PUBREL
            size = ACK_SIZE if released else self._size
            if at + size > len(data):
                break
            id_at = at + (2 if released else self._id_at)
            kind = PUBCOMP if released else PUBACK if self._qos == 1 else PUBREC
            out.append(bytes((kind, 2)) + data[id_at : id_at + 2])
            at += size
        self.rest = data[at:]
        if out:
            self.connection.sendall(b"".join(out))
        return 0


def acknowledged(ends: Ends, connections: int, qos: int) -> Iterator[int]:
    poll = select.epoll()
    turns: dict[int, Callable[[], int]] = {}
    met = [ends.client(f"bench-{number}") for number in range(connections)]
    for number, (own, far) in enumerate(met):
        several = messages(number, qos, WINDOW)
        if far is not None:
            poll.register(far, select.EPOLLIN)
            turns[far.fileno()] = Acknowledging(far, several[0], qos).answer
        poll.register(own, select.EPOLLIN)
        turns[own.fileno()] = Publisher(own, several, qos).answered
    while ready := poll.poll(STALLED):
        yield sum(turns[fd]() for fd, _ in ready)
    raise TimeoutError("nothing was acknowledged")


def fan_out(ends: Ends, subscribers: int) -> Iterator[int]:
    poll = select.epoll()
    listening: dict[int, socket.socket] = {}
    for several in ends.crowds(subscribers):
        for own in several:
            own.sendall(packets.subscribe(1, b"bench/all/#"))
        for own in several:
            if packets.receive(own)[-1] != 0:
                raise ConnectionError("a subscription was refused")
            listening[own.fileno()] = own
            poll.register(own, select.EPOLLIN)
    publisher, _ = ends.client("bench-publisher")
    message = packets.publish(b"bench/all/1", bytes(packets.PAYLOAD))
    room = bytearray(BLOCK)
    while True:
        publisher.sendall(message)
        owed = dict.fromkeys(listening, len(message))
        while owed:
            ready = poll.poll(STALLED)
            if not ready:
                raise TimeoutError(f"{len(owed)} of {subscribers} subscribers got nothing")
            done = 0
            for fd, _ in ready:
                owed[fd] -= listening[fd].recv_into(room)
                if not owed[fd]:
                    del owed[fd]
                    done += 1
            yield done


KINDS: dict[str, Callable[[Ends], Iterator[int]]] = {
    "qos0": partial(one_way, connections=50, batch=1),
    "qos0-64": partial(one_way, connections=10, batch=64),
    "qos1": partial(acknowledged, connections=10, qos=1),
    "qos2": partial(acknowledged, connections=10, qos=2),
    "one-qos1": partial(acknowledged, connections=1, qos=1),
    "crowd-qos1": partial(acknowledged, connections=50, qos=1),
    "fan-out": partial(fan_out, subscribers=SUBSCRIBERS),
}


def run(kind: str, port: int, double: int | None, pids: Sequence[int], seconds: float, core: int) -> Sample:
    """The load `kind` as its own process on `core`."""
    told = ("--port", port, *(("--double", double) if double is not None else ()), "--seconds", seconds)
    return sampled(process.module("benchmarks.mqtt.load", kind, *told, "--pids", *pids), seconds, core)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mqtt.load", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--double", type=int, help="the port on which the load is the broker")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--pids", type=int, nargs="*", default=[], help="the proxy's processes")
    args = parser.parse_args()
    with closing(Ends(args.port, args.double)) as ends:
        print(json.dumps(asdict(measure(KINDS[args.kind](ends), args.pids, args.seconds))))


if __name__ == "__main__":
    main()
