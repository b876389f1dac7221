"""What a proxy holds for a client that is connected and says nothing: private memory, all processes.

Some have been there and gone before it is looked at, so that what only the first clients need is not counted.  There
are 10,000 of them, or as many as two descriptors for each leave room for.
"""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from benchmarks.mqtt import packets
from benchmarks.peers import Peer
from benchmarks.process import DEADLINE
from benchmarks.tls.memory import settled

CLIENTS = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 200)
FEW = 1000
"""When there is little time."""
FIRST = 200
AT_A_TIME = 100
PING, PONG = b"\xc0\x00", b"\xd0\x00"


def kib_per_client(peer: Peer, many: int) -> float:
    with introduced(peer.port, FIRST):
        pass
    before = settled(peer)
    with introduced(peer.port, many) as clients:
        held = settled(peer) - before
        # still the same connections, or it was not they that were looked at
        for client in clients:
            client.sendall(PING)
            if packets.receive(client) != PONG:
                raise ConnectionError("a client that was idle is not served")
    return held / many


@contextmanager
def introduced(port: int, many: int) -> Iterator[list[socket.socket]]:
    """So many clients that were let in and stay."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        clients: list[socket.socket] = []
        for first in range(0, many, AT_A_TIME):
            several = []
            for number in range(first, min(first + AT_A_TIME, many)):
                several.append(stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), DEADLINE))))
                several[-1].sendall(packets.connect(b"idle-%d" % number))
            for client in several:
                packets.introduce(client)
            clients += several
        yield clients
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
