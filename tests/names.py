"""DNS in the hands of a test: a name has the addresses that it is told to have, and each of them for one second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from meshproxy.discovery.dns import Answer, ResolveError
from meshproxy.server.addresses import Addresses

TTL = 1


class Names:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.addresses: dict[str, tuple[str, ...] | str] = {}
        """By name: what it has, or the words of a failure; who is not in it gets no answer at all."""

    async def resolve(self, name: str) -> Answer:
        self.asked.append(name)
        outcome = self.addresses.get(name)
        if outcome is None:
            await asyncio.Event().wait()
        if not isinstance(outcome, tuple):
            raise ResolveError(f"{name}: {outcome}")
        return Answer(outcome, TTL)

    def have(self, name: str, *addresses: str) -> None:
        self.addresses[name] = addresses

    def fail(self, name: str, why: str) -> None:
        self.addresses[name] = why

    async def again(self, clock: Any, name: str) -> None:
        """Until it has been asked for once more, and what came of that was told."""
        before = self.asked.count(name)
        while self.asked.count(name) == before:
            clock.advance(0.5)
            await asyncio.sleep(0)
        await asyncio.sleep(0)


def resolved_by(names: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever addresses are wanted; what `dns` says decides whose they are."""
    monkeypatch.setattr(Addresses, "resolver", lambda _self, said: names(said))
