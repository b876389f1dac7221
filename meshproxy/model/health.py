"""What an operator can say about the health of endpoints: how they are checked, and when traffic itself rejects one.

    health = decode(Health, {"path": "/ready", "expect": {"statuses": ["200-299"]}})
    outlier = decode(Outlier, {"consecutive_5xx": 5, "success_rate": {}})
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from meshproxy.model.matching import Authority, GrpcService, Method, Value
from meshproxy.model.routes import Location, field_problems
from meshproxy.schema.kinds import (
    Bool,
    Port,
    PositiveDuration,
    Scalar,
    SecretText,
    Text,
    choice,
    refuse,
    whole,
)
from meshproxy.schema.shapes import AT_LEAST_ONE, Path

MOST_BYTES = 1024
"""To send, and to look for."""
MOST_RANGES = 64
_HEX = "hex:"
_status = re.compile(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?").fullmatch


@dataclass(frozen=True, slots=True)
class Statuses:
    """From one to the other, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def _read_statuses(value: object) -> Statuses:
    found = _status(str(value)) if isinstance(value, str | int) else None
    if found is None:
        raise refuse("a status such as 204, or a range such as 200-299", value)
    statuses = Statuses(int(found[1]), int(found[2] or found[1]))
    if statuses.first < 200 or statuses.last < statuses.first:
        raise refuse("statuses from 200 to 599, the lower one first", value)
    return statuses


def _read_octets(value: object) -> bytes:
    if not isinstance(value, str):
        raise refuse("text, or hex: and digits", value)
    try:
        octets = bytes.fromhex(value[len(_HEX) :]) if value.startswith(_HEX) else value.encode()
    except ValueError:
        raise refuse("text, or hex: and an even number of digits", value) from None
    if not 1 <= len(octets) <= MOST_BYTES:
        raise ValueError(f"must be 1 to {MOST_BYTES} bytes, not {len(octets)}")
    return octets


def _show_octets(octets: bytes) -> str:
    """As text where it can be read back as the same."""
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        text = _HEX
    return _HEX + octets.hex() if text.startswith(_HEX) else text


def _read_factor(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.1 <= value <= 10:
        raise refuse("a number from 0.1 to 10", value)
    return float(value)


StatusRange = Annotated[
    Statuses,
    Scalar(
        "status or range",
        _read_statuses,
        str,
        {"anyOf": [{"type": "integer", "minimum": 200, "maximum": 599}, {"type": "string", "maxLength": 7}]},
    ),
]
Octets = Annotated[
    bytes,
    Scalar("text \\| `hex:` digits", _read_octets, _show_octets, {"type": "string", "maxLength": 2 * MOST_BYTES + 4}),
]
Factor = Annotated[
    float, Scalar("number", _read_factor, lambda value: value, {"type": "number", "minimum": 0.1, "maximum": 10})
]
Checks = Annotated[int, whole(1, 100)]
Percent = Annotated[int, whole(1, 100, "percent")]
InARow = Annotated[int, whole(0, 10_000)]


@dataclass(frozen=True, slots=True)
class Expect:
    """What a good answer is; plain text is short for a body."""

    SHORTHAND: ClassVar[str] = "body"

    statuses: Annotated[tuple[StatusRange, ...], AT_LEAST_ONE, "with `path`: those of a good answer"] = (
        Statuses(200, 299),
    )
    body: Annotated[Octets | None, "what its body has in it, or without `path` all that comes back"] = None


@dataclass(frozen=True, slots=True)
class GrpcCheck:
    """A call of `grpc.health.v1.Health/Check` over HTTP/2, which has to find that it serves."""

    SHORTHAND: ClassVar[str] = "service"

    service: Annotated[GrpcService | None, "of which service; absent: of the server as a whole"] = None


@dataclass(frozen=True, slots=True)
class MqttCheck:
    """A session of MQTT that has to be taken, and a PINGREQ that has to be answered."""

    version: Annotated[Literal["3.1.1", "5"], choice("3.1.1", "5"), "in which version"] = "3.1.1"
    user: Annotated[Text | None, "the user name that is said; absent: none"] = None
    password: Annotated[SecretText | None, "with `user`: the password that is shown"] = None


@dataclass(frozen=True, slots=True)
class Health:
    """How endpoints are checked: by a request where there is a `path`, by a call where there is `grpc`, by a session
    where there is `mqtt`, else by a connection."""

    path: Annotated[Location | None, "what HTTP is asked for; absent: it is enough to be connected"] = None
    method: Annotated[Method | None, "with `path`: how; absent: GET"] = None
    grpc: Annotated[GrpcCheck | None, "a call by gRPC's protocol for checks, instead of a `path`"] = None
    mqtt: Annotated[MqttCheck | None, "a session of MQTT, instead of a `path`"] = None
    host: Annotated[
        Authority | None, "with `path` or `grpc`: of which host; absent: the address that is checked"
    ] = None
    headers: Annotated[tuple[tuple[str, Value], ...], "with `path`: more fields of the request"] = ()
    send: Annotated[Octets | None, "without `path`: what is said to the endpoint"] = None
    expect: Annotated[Expect, "what has to come back"] = Expect()
    port: Annotated[Port | None, "another port than that of the traffic"] = None
    tls: Annotated[Bool, "whether TLS is spoken where the cluster's `tls` says so"] = True
    interval: Annotated[PositiveDuration, "the pause between two checks of an endpoint that is well"] = 5.0
    interval_unhealthy: Annotated[
        PositiveDuration | None, "the pause where it is not, or may not be; absent: a fifth of `interval`"
    ] = None
    jitter: Annotated[int, whole(0, 100, "percent"), "a pause is longer by up to so many percent, at random"] = 10
    timeout: Annotated[PositiveDuration, "how long one check may take, from connecting to the last byte"] = 1.0
    unhealthy_after: Annotated[Checks, "so many failures in a row make an endpoint unfit"] = 3
    healthy_after: Annotated[Checks, "so many successes in a row make it fit again"] = 2


@dataclass(frozen=True, slots=True)
class SuccessRate:
    """An endpoint is ejected whose share of good answers is far below that of the others."""

    factor: Annotated[Factor, "how many standard deviations below the mean are far"] = 1.9
    endpoints: Annotated[Checks, "how many there must be to compare"] = 5
    requests: Annotated[int, whole(1, 1_000_000), "how many requests in an `interval` an endpoint must have had"] = 100


@dataclass(frozen=True, slots=True)
class Outlier:
    """Endpoints that fail under traffic get none for a while. A failure is a 5xx, or no answer at all."""

    consecutive_5xx: Annotated[InARow, "so many failures in a row eject; 0: not counted"] = 5
    consecutive_gateway: Annotated[InARow, "so many of 502, 503, 504 or no answer in a row eject; 0: not counted"] = 0
    consecutive_connect: Annotated[InARow, "so many failures to connect in a row eject; 0: not counted"] = 0
    success_rate: Annotated[SuccessRate | None, "compares endpoints with each other; absent: not done"] = None
    interval: Annotated[PositiveDuration, "over which time success rates are compared"] = 10.0
    ejection: Annotated[PositiveDuration, "how long the first of some in a row lasts; the second twice as long"] = 30.0
    max_ejection: Annotated[PositiveDuration, "how long one lasts at most"] = 300.0
    max_ejected: Annotated[Percent, "how many may be ejected at a time; where there are others, one always may"] = 10


Found = Iterator[tuple[Path, str]]


def problems(health: Health | None, outlier: Outlier | None) -> Found:
    """What does not fit together, each with its place in the cluster."""
    if health is not None:
        for path, message in _health_problems(health):
            yield ("health", *path), message
    if outlier is not None and outlier.max_ejection < outlier.ejection:
        yield ("outlier", "max_ejection"), "`max_ejection` must not be shorter than `ejection`"


def _health_problems(said: Health) -> Found:
    http = said.path is not None
    for way, good in (("grpc", "SERVING"), ("mqtt", "PINGRESP")):
        if getattr(said, way) is None:
            continue
        for name in ("path", "send") if way == "grpc" else ("path", "grpc", "send"):
            if getattr(said, name) is not None:
                yield (way,), f"`{way}` and `{name}` are two ways to ask: say one of them"
        if said.expect != Expect():
            yield ("expect",), f"`expect` and `{way}` do not go together: what has to come back is {good}"
    if said.mqtt is not None and said.mqtt.password is not None and said.mqtt.user is None:
        yield ("mqtt", "password"), "`password` needs a `user`"
    for name in ("method", "host", "headers"):
        if getattr(said, name) and not http and not (said.grpc is not None and name == "host"):
            yield (name,), f"`{name}` needs a `path`: without one nothing is asked for"
    if not http and said.expect.statuses != Expect().statuses:
        yield ("expect", "statuses"), "`statuses` need a `path`: without one there is no answer of HTTP"
    if len(said.expect.statuses) > MOST_RANGES:
        yield ("expect", "statuses"), f"`statuses` has {len(said.expect.statuses)} entries, more than {MOST_RANGES}"
    if said.send is not None and http:
        yield ("send",), "`send` and `path` are two ways to ask: say one of them"
    elif said.send is not None and said.expect.body is None and said.mqtt is None:
        yield ("send",), "`send` needs an `expect`: nothing would come of it"
    if said.method == "CONNECT":
        yield ("method",), "`method` CONNECT asks for a tunnel"
    if said.method == "HEAD" and said.expect.body is not None:
        yield ("method",), "`method` HEAD is answered without a body, and `expect.body` looks for something in it"
    yield from field_problems("headers", said.headers)
