"""The process at the other end of a channel: it is told things, and asked things that it must answer in time.

    peer = Peer(channel, {"prepare": prepare, "level": set_level}, on_gone)
    peer.tell("level", level="debug")
    answer = await peer.ask("prepare", within=10, body=config)     # raises Gone, TimeoutError, Invalid

Who is asked has a handler that is a coroutine function; what it returns is the answer, and an `Invalid` that it raises
is raised at the asker's.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from meshproxy.errors import Invalid, Problem
from meshproxy.model.address import parse
from meshproxy.net.channel import MOST_SOCKETS, Channel, Message
from meshproxy.net.doors import Place
from meshproxy.server.tasks import Tasks

Handler = Callable[[Message], Awaitable[bytes | None] | None]


NO_ROOM = "the process has no descriptor left"


class Gone(Exception):
    """The other process is not there any more."""


def _encoded(problems: Sequence[Problem]) -> bytes:
    return json.dumps([problem.as_json() for problem in problems]).encode()


def placed(message: Message) -> list[tuple[Place, socket.socket]]:
    """The sockets of a message, and where each is bound."""
    places = [Place(parse(address), kind) for address, kind in message.fields["places"]]
    return list(zip(places, message.sockets, strict=True))


class Peer:
    def __init__(self, channel: Channel, handlers: Mapping[str, Handler], on_gone: Callable[[], None]) -> None:
        self._channel = channel
        self._handlers = handlers
        self._on_gone = on_gone
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._answering = Tasks()
        channel.open(self._received, self._closed)

    def tell(self, kind: str, /, *, body: bytes = b"", sockets: Sequence[socket.socket] = (), **fields: Any) -> bool:
        """False if nobody is there."""
        return self._channel.send(kind, body=body, sockets=sockets, **fields)

    def tell_sockets(self, sockets: Iterable[tuple[Place, socket.socket]]) -> None:
        """As many messages as it takes; `placed` reads them."""
        given = list(sockets)
        for start in range(0, len(given), MOST_SOCKETS):
            some = given[start : start + MOST_SOCKETS]
            places = [(str(place.address), place.kind) for place, _ in some]
            self.tell("sockets", places=places, sockets=[sock for _, sock in some])

    async def ask(self, kind: str, /, *, within: float, body: bytes = b"", **fields: Any) -> bytes:
        if self._channel.closed:
            raise Gone
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._channel.send(kind, body=body, id=number, **fields)
            async with asyncio.timeout(within):
                return await answer
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise Invalid([Problem("", str(error))]) from None
        finally:
            del self._asked[number]

    def close(self) -> None:
        """`on_gone` is not called."""
        self._channel.close()
        self._give_up()
        self._answering.cancel()

    def _received(self, message: Message) -> None:
        if message.cut and "id" not in message.fields:
            return  # whoever waits for what was in it will say so
        if message.kind == "answer":
            self._take_answer(message)
            return
        handler = self._handlers[message.kind]
        if "id" in message.fields:
            self._answering.begin(self._answer(handler, message))
        else:
            handler(message)

    async def _answer(self, handler: Handler, message: Message) -> None:
        number = message.fields["id"]
        try:
            if message.cut:
                raise Invalid([Problem("", NO_ROOM)])
            work = handler(message)
            answer = await work if work is not None else None
            self._channel.send("answer", body=answer or b"", id=number)
        except OSError as error:
            self._channel.send("answer", body=_encoded([Problem("", str(error))]), id=number, invalid=True)
        except Invalid as invalid:
            self._channel.send("answer", body=_encoded(invalid.problems), id=number, invalid=True)

    def _take_answer(self, message: Message) -> None:
        answer = self._asked.get(message.fields["id"])
        if answer is None or answer.done():
            return  # too late
        if message.cut:
            answer.set_exception(Invalid([Problem("", NO_ROOM)]))
        elif message.fields.get("invalid"):
            answer.set_exception(Invalid(Problem(**problem) for problem in json.loads(message.body)))
        else:
            answer.set_result(message.body)

    def _closed(self) -> None:
        self._give_up()
        self._on_gone()

    def _give_up(self) -> None:
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(Gone())
