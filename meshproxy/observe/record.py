"""What is known of a request, a connection or a session at its end: all that logs, spans and taps may look at.

An `Exchange` is one, and so is what a TCP connection or a session of MQTT leaves.  Names that are read with every line
are plain attributes, however deep, so that a reader can take all it wants at once (`operator.attrgetter`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol


class Authority(Protocol):
    @property
    def text(self) -> bytes: ...


class Asked(Protocol):
    """The head of a request."""

    @property
    def method(self) -> bytes:
        """Empty where there is none, as of a connection."""

    @property
    def target(self) -> bytes:
        """The path with its query."""

    @property
    def authority(self) -> Authority: ...

    @property
    def fields(self) -> list[tuple[bytes, bytes]]: ...

    @property
    def shape(self) -> Hashable:
        """The same for heads with fields of the same names."""

    told: Any
    """What a log has written of it, for the next time that it comes."""

    def get(self, name: bytes) -> bytes | None:
        """The value of a field, asked for in lower case."""

    def peek(self, name: bytes) -> bytes | None:
        """The same, for who asks for few."""


class Answered(Protocol):
    """The head of an endpoint's answer."""

    @property
    def fields(self) -> list[tuple[bytes, bytes]]: ...

    def get(self, name: bytes) -> bytes | None: ...


class Who(Protocol):
    """Who connected, and to what."""

    @property
    def client(self) -> str | None:
        """The address; None for a unix socket."""

    @property
    def who(self) -> str:
        """The identity that was proved, else the address, else `unix`."""

    @property
    def peer(self) -> Any:
        """A `core.peer.Peer`, with `identity` and the server `name`; None: no TLS."""

    @property
    def remote(self) -> str:
        """The address with its port."""

    @property
    def local(self) -> str:
        """The address that was connected to, with its port."""

    @property
    def told(self) -> dict[Any, Any]:
        """What logs have written of it, for the next requests."""


class Place(Protocol):
    """What was decided for it."""

    @property
    def listener(self) -> str: ...

    @property
    def route(self) -> str:
        """Empty: none was found, or there are none."""


class Endpoint(Protocol):
    @property
    def name(self) -> str:
        """The address with its port; empty: nobody was asked."""

    @property
    def cluster(self) -> str: ...


class Why(Protocol):
    """A `Failure`."""

    @property
    def reason(self) -> str: ...


class Traced(Protocol):
    """Where it stands in a trace that is recorded."""

    @property
    def trace_id(self) -> bytes:
        """32 hexadecimal digits."""

    @property
    def span_id(self) -> bytes:
        """16, of the span that is this."""


class Session(Protocol):
    """What is known of a session of MQTT alone."""

    @property
    def client_id(self) -> str:
        """As the client says it, or as it was given."""

    @property
    def user(self) -> str:
        """Whom it was let in as; empty: nobody in particular."""

    @property
    def messages_received(self) -> int: ...

    @property
    def messages_sent(self) -> int: ...


class Record(Protocol):
    @property
    def protocol(self) -> str:
        """`HTTP/1.1`, `HTTP/2`, `TCP`, `UDP`, `MQTT/5.0`."""

    @property
    def request(self) -> Asked: ...

    @property
    def response(self) -> Answered | None:
        """None: the proxy has answered, or nobody."""

    @property
    def origin(self) -> Who: ...

    @property
    def handling(self) -> Place: ...

    @property
    def endpoint(self) -> Endpoint:
        """Who was asked last."""

    @property
    def failure(self) -> Why | None: ...

    @property
    def trace(self) -> Traced | None: ...

    @property
    def session(self) -> Session | None:
        """None: it is none."""

    @property
    def flags(self) -> str:
        """The words of the access log, such as `UF,URX`; empty: all went well."""

    @property
    def status(self) -> int:
        """What the client was told; 0 where there is none."""

    @property
    def id(self) -> bytes:
        """Of the request; empty if it has none."""

    @property
    def drawn(self) -> bytes:
        """The id, 32 hexadecimal digits and whatever follows them, if it is one of ours."""

    @property
    def attempts(self) -> int:
        """How often it was sent again."""

    @property
    def tried(self) -> Sequence[Endpoint]:
        """Who has failed it."""

    @property
    def started(self) -> float:
        """By the clock of the loop, as the two below."""

    @property
    def asked(self) -> float:
        """When the endpoint was; 0.0: nobody was."""

    @property
    def answered(self) -> float:
        """When the head of its answer came; 0.0: never."""

    @property
    def seconds(self) -> float:
        """From its beginning to its end."""

    @property
    def received(self) -> int:
        """Bytes of the body that came from the client."""

    @property
    def sent(self) -> int:
        """Bytes of the body that went there."""
