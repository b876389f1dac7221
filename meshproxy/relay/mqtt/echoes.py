"""What a client has published itself and is not to get back ("No Local"), where others' messages come the same way.

    echoes.expect(message)
    if not echoes.came(message): ...deliver it

A message that comes back does not say who has sent it, so it is known by its topic and payload: if somebody else
publishes the very same while it is awaited, that one is left out, and the echo is what the client gets in its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from meshproxy.core.mqtt.message import Message

AWAITED = 30.0
"""Seconds for which a message may come back."""
MOST = 256
"""Messages that are awaited at once; of more than that, the oldest come back."""


class Echoes:
    __slots__ = ("_awaited", "_now")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._awaited: deque[tuple[int, float]] = deque(maxlen=MOST)

    def expect(self, message: Message) -> None:
        self._awaited.append((hash((message.topic, message.payload)), self._now() + AWAITED))

    def came(self, message: Message) -> bool:
        """Whether this is one; it is not awaited any more."""
        awaited = self._awaited
        if not awaited:
            return False
        now = self._now()
        while awaited and awaited[0][1] < now:
            awaited.popleft()
        wanted = hash((message.topic, message.payload))
        for one in awaited:
            if one[0] == wanted:
                awaited.remove(one)
                return True
        return False
