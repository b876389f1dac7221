"""What is in packets: one class for each kind, and for both versions.

What only 5.0 has is empty in 3.1.1.  Topics, filters and the strings of properties are bytes of valid UTF-8; nobody may
change the properties of a packet that was read, since many share one empty dict.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from meshproxy.wire.mqtt.codes import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
)

Properties = dict[int, Any]
"""By `Property`: int or bytes; USER_PROPERTY: pairs of bytes; SUBSCRIPTION_IDENTIFIER: ints.  Only what is there."""


@dataclass(slots=True)
class Will:
    topic: bytes
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Connect:
    level: int
    client_id: str
    clean: bool = True
    """Clean Start in 5.0."""
    keep_alive: int = 0
    user: str | None = None
    password: bytes | None = field(default=None, repr=False)
    will: Will | None = None
    properties: Properties = field(default_factory=dict)
    kind: ClassVar[int] = CONNECT


@dataclass(slots=True)
class Connack:
    present: bool
    code: int
    """A return code where it was read or is written in 3.1.1."""
    properties: Properties = field(default_factory=dict)
    kind: ClassVar[int] = CONNACK


@dataclass(slots=True)
class Publish:
    topic: bytes
    """Empty: that of the alias among the properties."""
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    id: int = 0
    """0 with QoS 0."""
    properties: Properties = field(default_factory=dict)
    kind: ClassVar[int] = PUBLISH


@dataclass(slots=True)
class Ack:
    """PUBACK, PUBREC, PUBREL or PUBCOMP."""

    kind: int
    id: int
    code: int = 0
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Subscription:
    filter: bytes
    qos: int = 0
    no_local: bool = False
    as_published: bool = False
    retain_handling: int = 0


@dataclass(slots=True)
class Subscribe:
    id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties = field(default_factory=dict)
    kind: ClassVar[int] = SUBSCRIBE


@dataclass(slots=True)
class Suback:
    id: int
    codes: tuple[int, ...]
    properties: Properties = field(default_factory=dict)
    kind: ClassVar[int] = SUBACK


@dataclass(slots=True)
class Unsubscribe:
    id: int
    filters: tuple[bytes, ...]
    properties: Properties = field(default_factory=dict)
    kind: ClassVar[int] = UNSUBSCRIBE


@dataclass(slots=True)
class Unsuback:
    id: int
    codes: tuple[int, ...] = ()
    """Of 5.0."""
    properties: Properties = field(default_factory=dict)
    kind: ClassVar[int] = UNSUBACK


@dataclass(slots=True)
class Ping:
    kind: ClassVar[int] = PINGREQ


@dataclass(slots=True)
class Pong:
    kind: ClassVar[int] = PINGRESP


@dataclass(slots=True)
class Disconnect:
    code: int = 0
    properties: Properties = field(default_factory=dict)
    kind: ClassVar[int] = DISCONNECT


@dataclass(slots=True)
class Auth:
    code: int = 0
    properties: Properties = field(default_factory=dict)
    kind: ClassVar[int] = AUTH


Packet = (
    Connect
    | Connack
    | Publish
    | Ack
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Ping
    | Pong
    | Disconnect
    | Auth
)
