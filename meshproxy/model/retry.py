"""What an operator can say about asking again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from meshproxy.schema.kinds import Bool, Duration, PositiveDuration, Scalar, Size, refuse, same, whole
from meshproxy.schema.shapes import Path

GRPC = ("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable")
"""Statuses of gRPC."""
WORDS = ("connect", "refused", "reset", "timeout", "gateway", "5xx", *GRPC)
LARGEST_KEPT = 1 << 20


_status = re.compile("[45][0-9]{2}").fullmatch


def _read_cause(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and (value in WORDS or _status(value)):
        return value
    raise refuse(f"{', '.join(WORDS)}, or a status from 400 to 599", value)


Cause = Annotated[
    str,
    Scalar(
        "cause",
        _read_cause,
        same,
        {
            "anyOf": [
                {"enum": [*WORDS]},
                {"type": "integer", "minimum": 400, "maximum": 599},
                {"type": "string", "pattern": "^[45][0-9]{2}$"},
            ]
        },
    ),
]


@dataclass(frozen=True, slots=True)
class Retry:
    """When a request is asked again, of another endpoint if there is one."""

    on: Annotated[
        tuple[Cause, ...],
        "`connect`, `refused`, `reset`, `timeout` (of a try), `gateway` (502, 503, 504 and failures that would be "
        "one), `5xx`, or statuses; `cancelled`, `deadline-exceeded`, `internal`, `resource-exhausted`, `unavailable`: "
        "calls of gRPC that end so before they have said anything, `unsafe` or not",
    ] = ("connect", "refused", "reset")
    attempts: Annotated[int, whole(1, 20), "tries in all"] = 2
    per_try_timeout: Annotated[Duration, "until the head of an answer, for each try; 0: no limit"] = 0.0
    backoff: Annotated[Duration, "the longest pause before the second try; each later one is twice as long"] = 0.025
    max_backoff: Annotated[Duration, "the longest pause of all; of each a random part is waited"] = 0.25
    max_retry_after: Annotated[
        Duration,
        "how long a `Retry-After` or `grpc-retry-pushback-ms` is waited for; an answer that asks for more goes on as "
        "it is",
    ] = 1.0
    unsafe: Annotated[
        Bool, "whether also what may not be asked twice is, such as POST: for upstreams that can tell"
    ] = False
    max_body: Annotated[Size, "the longest body that is kept to be sent again"] = 65_536
    hedge: Annotated[
        PositiveDuration | None, "another endpoint is asked as well after so long, and the first answer counts"
    ] = None


def problems(said: Retry) -> Iterator[tuple[Path, str]]:
    if said.max_body > LARGEST_KEPT:
        yield ("max_body",), f"`max_body` must be at most {LARGEST_KEPT} bytes: they are kept in memory"
    if said.hedge is not None and said.attempts < 2:
        yield ("hedge",), "`hedge` is a second try: it needs `attempts` of 2 at least"
