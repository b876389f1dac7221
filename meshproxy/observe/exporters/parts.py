"""Templates of spans, as one exporter writes them: what is the same for many requests stands in them already.

    template, path, id = parts.of(x, endpoint)      # of the span of a request, and of the only attempt, if it has one
    template % (*above, path, id, x.received, x.sent, *below)
    parts.tried(x, attempt) % below                 # of each attempt, where there are several

A template is looked up by all that is written in it.  If it is not there it is made, of parts that are kept as well:
what is new of a request is seldom more than who asks.  Keys are made of what peers have said, so they are bounded in
number and in length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshproxy.observe.access.pen import PLAIN
from meshproxy.observe.exporters.pairs import Pairs, quoted
from meshproxy.observe.record import Endpoint, Record
from meshproxy.observe.spans import (
    LONGEST,
    PATH,
    RECEIVED,
    REQUEST_ID,
    SENT,
    Part,
    of_attempt,
    of_client,
    of_head,
    of_request,
    text,
)
from meshproxy.observe.trace import Attempt

MOST_KEPT = 512
LONGEST_KEY = 512
"""Characters: what is made of more is made anew each time."""

Key = tuple[Any, ...]


class Kept(dict[Key, bytes]):
    """Emptied when it is full, which costs less than to know what was used last."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., bytes]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Key) -> bytes:
        made = self._make(*key)
        if sum(len(each) for each in key if isinstance(each, str | bytes)) <= LONGEST_KEY:
            if len(self) >= MOST_KEPT:
                self.clear()
            self[key] = made
        return made


class Parts:
    __slots__ = ("_attempts", "_whole")

    def __init__(
        self,
        pairs: Pairs,
        above: bytes,
        below: bytes,
        *,
        request: Callable[[Part], str],
        client: Callable[[Part], str],
        attempt: Callable[[Part], str],
    ) -> None:
        """`above` and `below` are how the templates of a request and of an attempt begin.  The others write what
        follows: of a request up to its attributes, and from those of its client on; of an attempt all the rest."""
        requests = Kept(lambda *key: literal(request(of_request(*key))))
        heads = Kept(lambda *key: literal(pairs(of_head(*key).attributes)))
        clients = Kept(lambda *key: literal(client(of_client(*key))))
        attempts = Kept(lambda *key: below + literal(attempt(of_attempt(*key))))
        numbers = pairs.of_number(RECEIVED) + pairs.of_number(SENT)
        named = pairs.of_text(PATH, "%b") + pairs.of_text(REQUEST_ID, "%b") + numbers
        nameless = pairs.of_text(PATH, "%b%b") + numbers

        def whole(
            listener: str, route: str, method: bytes, protocol: str, secure: bool, status: int, flags: str, reason: str,
            authority: bytes, agent: bytes | None, address: str | None, identity: str, unnamed: bool,
            endpoint: str, cluster: str, unanswered: bool,
        ) -> bytes:  # fmt: skip
            return b"".join(
                (
                    above,
                    requests[listener, route, method, protocol, secure, status, flags, reason],
                    nameless if unnamed else named,
                    heads[authority, agent],
                    clients[address, identity],
                    attempts[method, route, endpoint, cluster, 1, 0 if unanswered else status, reason]
                    if endpoint
                    else b"",
                )
            )

        self._whole = Kept(whole)
        self._attempts = attempts

    def of(self, x: Record, endpoint: Endpoint) -> tuple[bytes, bytes, bytes]:
        """The template, the path as it is written, and so the id of the request.

        `endpoint`: who was asked, once, and has answered or failed as the request has; if nobody, that is told apart.
        """
        asked, place, origin, failure, id = x.request, x.handling, x.origin, x.failure, x.id
        peer = origin.peer
        key = (
            place.listener, place.route, asked.method, x.protocol, peer is not None, x.status, x.flags,
            "" if failure is None else failure.reason, asked.authority.text, asked.peek(b"user-agent"),
            origin.client, "" if peer is None else peer.identity, not id,
            endpoint.name, endpoint.cluster, x.response is None,
        )  # fmt: skip
        path, _, _ = asked.target.partition(b"?")
        seen = path + id
        if len(seen) > LONGEST or seen.translate(None, PLAIN):
            path, id = _with_care(path), _with_care(id)
        return self._whole[key], path, id

    def tried(self, x: Record, attempt: Attempt) -> bytes:
        endpoint = attempt.endpoint
        return self._attempts[
            x.request.method, x.handling.route,
            endpoint.name, endpoint.cluster, attempt.number, attempt.status, attempt.error,
        ]  # fmt: skip


def literal(text: str) -> bytes:
    """In a template."""
    return text.replace("%", "%%").encode("ascii")


def _with_care(value: bytes) -> bytes:
    return quoted(text(value))[1:-1].encode("ascii")
