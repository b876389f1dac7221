"""Filters as an operator may write them, good and bad."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from meshproxy.core.filter import Exchange, Failure, Hooks, Reply, Scope

seen: list[str] = []


@dataclass(frozen=True)
class Teapot:
    path: str = "/tea"

    def build(self, scope: Scope) -> Hooks:
        def request(x: Exchange) -> Reply | None:
            return Reply(418, body=b"short and stout\n") if x.path == self.path.encode() else None

        return Hooks(request=request)


@dataclass(frozen=True)
class Stamp:
    """Changes fields, counts over reloads, and notes how it ends."""

    name: str = "x-stamp"

    def build(self, scope: Scope) -> Hooks:
        counts: dict[str, int] = scope.keep("counts", dict)

        def request(x: Exchange) -> None:
            counts["all"] = counts.get("all", 0) + 1
            x.facts["number"] = counts["all"]
            x.request_changes.set(self.name.encode(), b"%d" % counts["all"])

        def response(x: Exchange) -> None:
            x.response_changes.remove(b"Server")
            x.response_changes.set(self.name.encode(), b"%d" % x.facts["number"])

        def done(x: Exchange) -> None:
            seen.append(f"{scope.route} {x.client} {x.status} {x.failure.reason if x.failure else '-'}")

        return Hooks(request=request, response=response, done=done)


@dataclass(frozen=True)
class Shout:
    """Bodies in capitals, both ways, with something at their end."""

    def build(self, scope: Scope) -> Hooks:
        def louder(x: Exchange, data: bytes, last: bool) -> bytes:
            return data.upper() + (b"!" if last else b"")

        return Hooks(request_data=louder, response_data=louder)


@dataclass(frozen=True)
class Ask:
    """Awaits something before it decides."""

    when: str = "request"
    seconds: float = 0.0
    status: int = 0

    def build(self, scope: Scope) -> Hooks:
        async def decide(x: Exchange) -> Reply | Failure | None:
            await asyncio.sleep(self.seconds)
            return Reply(self.status) if self.status else None

        hook: Callable[[Exchange], Awaitable[Reply | Failure | None]] = decide
        return Hooks(**{self.when: hook})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Broken:
    when: str = "request"
    slow: float = 0.0
    notes: list[str] = field(default_factory=list)

    def build(self, scope: Scope) -> Hooks:
        def hook(x: Exchange, *_: object) -> None:
            if not self.slow:
                raise RuntimeError("secret\nof the\x00filter")
            time.sleep(self.slow)

        return Hooks(**{self.when: hook})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Kindly:
    def build(self, scope: Scope) -> Hooks:
        def failure(x: Exchange, failure: Failure) -> Reply:
            return Reply(failure.status, [(b"Retry-After", b"1")], b"come again\n")

        return Hooks(failure=failure)


class NoFilter:
    def build(self, scope: Scope) -> str:
        return "nothing"


@dataclass(frozen=True)
class Block:
    """Holds up the loop where nobody counts it: in what is awaited."""

    seconds: float

    def build(self, scope: Scope) -> Hooks:
        async def held_up() -> None:
            time.sleep(self.seconds)  # noqa: ASYNC251 - that is what it is for

        return Hooks(request=lambda x: held_up())
