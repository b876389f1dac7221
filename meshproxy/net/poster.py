"""A sink that is a server of HTTP: what waits is posted to it in batches, as a document that `join` makes.

    Poster(clock, box, join, Account("otlp", stats, log))       # box: where to, a `PostBox`

A status of 2xx says that a batch is taken.  After 408, 429, 5xx, or where there is no answer, it is sent again, so that
a server may see it twice; the pauses grow, and nothing is kept for longer than it is of use.  Any other status is an
answer that will not change: the batch is dropped.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate

from meshproxy.net.clock import Clock
from meshproxy.net.postbox import Answer, PostBox
from meshproxy.net.sinks.waiting import Account, Waiting

MOST_BODY = 256 * 1024
"""Bytes of lines in one document, unless one line has more: below what servers take by default."""
MOST_AGE = 60.0
"""Seconds for which a server that does not take what it is sent is tried."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
LONGEST_ASKED_PAUSE = 30.0
"""What `Retry-After` may ask for."""
AGAIN = frozenset((408, 429))

Join = Callable[[Sequence[bytes]], Sequence[bytes]]
"""What a document of several lines is made of."""


class Poster(Waiting):
    def __init__(
        self,
        clock: Clock,
        box: PostBox,
        join: Join,
        account: Account,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(clock, account)
        self._box = box
        self._join = join
        self._chance = chance
        self._posted = 0
        """Lines that are under way."""
        self._failures = 0
        """In a row."""
        self._seen: deque[tuple[int, float]] = deque()
        """While it fails: how many lines had been there for the first time at a failure, and when that was."""

    def _send(self) -> None:
        if not self._lines:
            self._over()
            return
        ends = [*accumulate(map(len, self._lines))]
        self._posted = max(bisect_right(ends, MOST_BODY), 1)
        self._box.post(self._join(self._lines[: self._posted]), self._answered)

    def _answered(self, answer: Answer | OSError) -> None:
        if isinstance(answer, OSError):
            self._again(str(answer.strerror), 0.0)
        elif 200 <= answer.status < 300:
            self._settled()
            self._wrote(self._posted)
            self._over()
        elif answer.status >= 500 or answer.status in AGAIN:
            self._again(f"it answers {answer.status}", answer.rest)
        else:
            self._settled()
            self._fault(f"it answers {answer.status}, and what it was sent is dropped")
            self._drop(self._posted)
            self._over()

    def _settled(self) -> None:
        self._failures = 0
        self._seen.clear()

    def _again(self, why: str, asked: float) -> None:
        pause = min(FIRST_PAUSE * 2 ** min(self._failures, 10), LONGEST_PAUSE) * (1 + self._chance()) / 2
        self._failures += 1
        self._drop_old()
        self._failed(why, max(pause, min(asked, LONGEST_ASKED_PAUSE)))

    def _drop_old(self) -> None:
        seen, now = self._seen, self._clock.now()
        seen.append((len(self._lines) - sum(count for count, _ in seen), now))
        while seen[0][1] + MOST_AGE <= now:
            self._drop(seen.popleft()[0])

    def _stop(self) -> None:
        self._box.close()
        self._drop(len(self._lines))
