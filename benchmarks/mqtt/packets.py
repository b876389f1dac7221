"""The packets of MQTT 3.1.1 that a load needs, made before it begins.

    publish(b"bench/007/3", payload, qos=1, id=20)
    introduce(connection)
"""

from __future__ import annotations

import socket

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 0x10, 0x20, 0x30, 0x40, 0x50, 0x62, 0x70
SUBSCRIBE, SUBACK = 0x82, 0x90
ACCEPTED = bytes((CONNACK, 2, 0, 0))
ACK_SIZE = 4
KEEP_ALIVE = 600
PAYLOAD = 100


def packet(first: int, body: bytes) -> bytes:
    length, left = bytearray(), len(body)
    while left > 127:
        length.append(left & 127 | 128)
        left >>= 7
    length.append(left)
    return bytes((first, *length)) + body


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2) + value


def connect(client_id: bytes) -> bytes:
    """With a clean session."""
    return packet(CONNECT, text(b"MQTT") + bytes((4, 2)) + KEEP_ALIVE.to_bytes(2) + text(client_id))


def subscribe(id: int, topic_filter: bytes, qos: int = 0) -> bytes:
    return packet(SUBSCRIBE, id.to_bytes(2) + text(topic_filter) + bytes((qos,)))


def publish(topic: bytes, payload: bytes, qos: int = 0, id: int = 0) -> bytes:
    return packet(PUBLISH | qos << 1, text(topic) + (id.to_bytes(2) if qos else b"") + payload)


def receive(connection: socket.socket) -> bytes:
    """One small packet, whole; nothing after it is taken."""
    head = exactly(connection, 2)
    return head + exactly(connection, head[1])


def exactly(connection: socket.socket, size: int) -> bytes:
    got = connection.recv(size, socket.MSG_WAITALL)
    if len(got) < size:
        raise ConnectionError(f"a connection ended after {len(got)} of {size} bytes")
    return got


def introduce(connection: socket.socket) -> None:
    """Wait until the client is let in."""
    if (got := receive(connection)) != ACCEPTED:
        raise ConnectionError(f"not accepted: {got.hex()}")
