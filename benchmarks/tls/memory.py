"""What a proxy holds for a TLS connection that has carried something and is open still: private memory, all processes.

What the first connections need is not the others': as many as will upload at a time have been there and gone before it
is looked at.  The kernel's buffers are not counted; all proxies have the same.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPSConnection

from benchmarks.gateways import BODIES, GREETING
from benchmarks.idle import SETTLE
from benchmarks.peers import Peer
from benchmarks.process import DEADLINE, memory_kib

CONNECTIONS = 500
AT_A_TIME = 10
PRIVATE = ("Private_Clean", "Private_Dirty")


def kib_per_connection(peer: Peer) -> float:
    """After an upload of 1 MiB on each."""
    with uploaded(peer.port, AT_A_TIME):
        pass
    before = settled(peer)
    with uploaded(peer.port, CONNECTIONS) as connections:
        held = settled(peer) - before
        # still the same connections, or it was not they that were looked at
        for connection in connections:
            ask(connection, "GET", "/")
    return held / CONNECTIONS


def settled(peer: Peer) -> int:
    time.sleep(SETTLE)
    return memory_kib(peer.pids, *PRIVATE)


@contextmanager
def uploaded(port: int, many: int) -> Iterator[list[HTTPSConnection]]:
    """So many connections that stay open, each after its upload."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    body = bytes(BODIES["1m"])

    def upload(connection: HTTPSConnection) -> None:
        connection.connect()
        connection.auto_open = 0
        ask(connection, "POST", "/sink", body)

    with ExitStack() as stack, ThreadPoolExecutor(AT_A_TIME) as several:
        connections = [HTTPSConnection("127.0.0.1", port, timeout=DEADLINE, context=context) for _ in range(many)]
        for connection in connections:
            stack.enter_context(closing(connection))
        list(several.map(upload, connections))
        yield connections


def ask(connection: HTTPSConnection, method: str, path: str, body: bytes | None = None) -> None:
    connection.request(method, path, body)
    answer = connection.getresponse()
    if (answer.status, answer.read()) != (200, GREETING.encode()):
        raise ConnectionError(f"{method} {path}: status {answer.status}")
