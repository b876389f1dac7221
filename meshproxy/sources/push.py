"""A WebSocket on which a repository says `reload` the moment it has changed.

    push = Push(asked, "/repo/books/0c5f...", poller.wake, clock, Pace(clock))
    await push.run()            # for ever
    push.connected

What is not heard here is found by asking: a server that speaks no WebSocket, or one that breaks it, does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_bytes

from meshproxy.net.clock import Clock
from meshproxy.sources.asking import READ_SIZE, Asked, Talk, Unanswered
from meshproxy.sources.pace import LONGEST_PAUSE, Pace
from meshproxy.wire import websocket
from meshproxy.wire.websocket import CLOSE, PING, PONG, TEXT, Messages, Violation

RELOAD = b"reload"


class Push:
    def __init__(self, asked: Asked, target: str, told: Callable[[], None], clock: Clock, pace: Pace) -> None:
        self.connected = False
        self._asked = asked
        self._target = target
        self._told = told
        self._clock = clock
        self._pace = pace

    async def run(self) -> None:
        while True:
            began = self._clock.now()
            try:
                await self._listen()
            except (Unanswered, Violation, OSError):
                """The next poll says whether it is gone."""
            self.connected = False
            if self._clock.now() - began > LONGEST_PAUSE:
                self._pace.went_well()
            await self._pace.rest(self._pace.failed())

    async def _listen(self) -> None:
        key = token_bytes(websocket.KEY_SIZE)
        async with self._asked.upgraded(self._target, websocket.offer(key), b"websocket") as talk:
            if not websocket.agreed(talk.head.get(b"sec-websocket-accept"), key):
                raise Violation("it has not read the offer")
            self.connected = True
            await self._hear(talk)

    async def _hear(self, talk: Talk) -> None:
        messages = Messages()
        data = talk.early
        while True:
            for kind, said in messages.feed(data):
                if kind == TEXT and said == RELOAD:
                    self._told()
                elif kind in (PING, CLOSE):
                    answer = PONG if kind == PING else CLOSE
                    talk.writer.write(websocket.sent(answer, said, token_bytes(websocket.MASK_SIZE)))
                    await talk.writer.drain()
                if kind == CLOSE:
                    return
            data = await talk.reader.read(READ_SIZE)
            if not data:
                return
