"""What is said of limits between two processes: many words to a message, in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from meshproxy.core.limit import Said
from meshproxy.net.channel import Message
from meshproxy.server.peer import Peer

MOST_WORDS = 100
"""In one message: keys are names, and these have at most 253 characters."""


class Line:
    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._words: list[Said] = []

    def say(self, said: Said) -> None:
        """Soon: a change of configuration has a word to say of every limit."""
        if not self._words:
            asyncio.get_running_loop().call_soon(self.flush)
        self._words.append(said)

    def flush(self) -> None:
        words, self._words = self._words, []
        for start in range(0, len(words), MOST_WORDS):
            self._peer.tell("limits", said=words[start : start + MOST_WORDS])


def heard(message: Message) -> Iterator[Said]:
    for said in message.fields["said"]:
        yield Said(*said)
