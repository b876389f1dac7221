"""Questions to a listener, and what is said of them: a status, fields, a body."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, NamedTuple

from meshproxy.core.filter import Failure, Hooks, Scope
from tests.relay.conversation import WITHIN


@dataclass(frozen=True)
class Refuse:
    """A filter that does not let any answer through."""

    def build(self, scope: Scope) -> Hooks:
        return Hooks(response=lambda _: Failure("refused", 503, "NO"))


class Answer(NamedTuple):
    status: int
    fields: dict[str, str]
    """By their names in lower case; of repeated ones, a list with commas."""
    body: bytes


def get(path: str = "/a", *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: shop.local", *fields, "", "")).encode("latin-1")


async def ask(client: Any, request: bytes) -> Answer:
    await client.send(request)
    return await answer(client, with_body=not request.startswith(b"HEAD"))


async def answer(client: Any, *, with_body: bool = True) -> Answer:
    head = b""
    async with asyncio.timeout(WITHIN):
        while not head.endswith(b"\r\n\r\n"):
            more = await client.recv(1)
            assert more, f"ended after {head!r}"
            head += more
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        fields: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            before = fields.get(name.lower())
            fields[name.lower()] = value if before is None else f"{before}, {value}"
        body = await client.recv_exactly(int(fields.get("content-length", 0))) if with_body else b""
    return Answer(int(first.split(" ")[1]), fields, body)
