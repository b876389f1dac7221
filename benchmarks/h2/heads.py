"""Requests of which no two have the same head, for h2load.

    with several(10) as lists: tools.h2load(url, seconds, core, *lists)

h2load gives each of its connections the same requests in the same order, so each connection has an h2load and URIs of
its own.  The fields beside the path stay the same on a connection, as HPACK is meant for; what differs from client to
client differs from connection to connection.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

HOST = "bookstore.shop.svc.cluster.local:14001"
URIS = 5000
"""For each connection; then they begin again, after as many on each of the others."""


@contextmanager
def several(connections: int, *options: str) -> Iterator[Sequence[Sequence[str]]]:
    """The options of so many h2loads, with one connection each."""
    rolled = random.Random()
    with TemporaryDirectory(prefix="benchmark-heads-") as name:
        yield [
            ("-c1", *options, "-i", str(written(Path(name, str(number)), rolled)), *fields(rolled))
            for number in range(connections)
        ]


def written(path: Path, rolled: random.Random) -> Path:
    path.write_text("".join(f"http://{HOST}{uri(rolled)}\n" for _ in range(URIS)))
    return path


def uri(rolled: random.Random) -> str:
    """As those of `differing.lua`, and with the identity that stands in a field of its own there."""
    book, page = rolled.randrange(1_000_000), rolled.randrange(40)
    return f"/api/v1/books/{book}/reviews?page={page}&sort=date&shelf={digits(rolled, 6)}&trace={digits(rolled, 32)}"


def fields(rolled: random.Random) -> Iterator[str]:
    for field in (
        f":authority: {HOST}",
        "user-agent: Mozilla/5.0 (X11; Linux x86_64) bookbuyer/1.4.2",
        "accept: application/json, text/plain, */*",
        "accept-encoding: gzip, deflate, br",
        f"cookie: theme=dark; session={digits(rolled, 32)}",
        "x-forwarded-proto: http",
        f"x-forwarded-for: 10.{rolled.randrange(256)}.{rolled.randrange(256)}.{rolled.randrange(1, 255)}",
        f"x-request-id: {digits(rolled, 32)}",
        f"traceparent: 00-{digits(rolled, 32)}-{digits(rolled, 16)}-01",
    ):
        yield from ("-H", field)


def digits(rolled: random.Random, number: int) -> str:
    return f"{rolled.getrandbits(4 * number):0{number}x}"
