"""Limits that many proxies have together: a Redis counts, and is asked for portions, not for every request.

    tallies = Tallies(loop, clock, known, process, log)
    ledger = Ledger(clock, workers, tallies.draw)
    tallies.keep(config)                # at a commit: connections to these, and to no others

Nobody waits for a Redis that is slow or gone.  A draw is answered within its timeout: by Redis, or by "nobody could be
asked", and then at once until a new connection has been greeted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from math import inf
from random import random

from meshproxy.core.ledger import Drawn, SharedTerms
from meshproxy.model import Address, Config
from meshproxy.model.limits import Redis
from meshproxy.net.clock import Clock, Timer
from meshproxy.net.conn import Conn
from meshproxy.net.dial import Dial, Outcome
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.wire.resp import Malformed, Refused, Replies, Reply, command

GREETED_WITHIN = 1.0
"""Seconds, from the beginning of a connection, if nobody has a draw that waits for less."""
FIRST_REST, LONGEST_REST = 0.1, 5.0
LOG_EVERY = 10.0
PREFIX = b"meshproxy/limit/"

SCRIPT = b"""
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local interval, span = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or now)
full = math.max(now, math.min(full, now + span))
local amount = math.min(math.floor((now + span - full) / interval + 0.001), tonumber(ARGV[3]))
local wait = math.ceil(full + interval - span - now)
full = full + math.max(amount, 0) * interval
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil((full - now) / 1000) + 1000)
return {math.max(amount, 0), math.max(wait, 0)}
"""
"""A bucket is the microsecond at which it will be full again, by Redis' own clock: those of the proxies may differ.

Were that clock set back, the bucket would seem to lack more than it holds: it is empty then, and no more.
"""

Known = Mapping[str, tuple[str, ...]]
"""The addresses of names."""


class Tallies:
    """All that a configuration has."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, known: Known, process: ProcessStats, log: Log
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._known = known
        self._process = process
        self._log = log
        self._tallies: dict[object, Tally] = {}

    def keep(self, config: Config) -> None:
        wanted = {_whom(said): said for table in config.routes for said in table.redis}
        for key in self._tallies.keys() - wanted:
            self._tallies.pop(key).close()
        for key, said in wanted.items():
            if key not in self._tallies:
                self._tallies[key] = Tally(self._loop, self._clock, said, self._known, self._process, self._log)
        names = {tally.name for tally in self._tallies.values()}
        for counted in (self._process.redis_up, self._process.redis_failures_total):
            for name in counted.keys() - names:
                del counted[name]

    def draw(self, terms: SharedTerms, wanted: int, told: Drawn) -> None:
        tally = self._tallies.get(_whom(terms.redis))
        if tally is not None:
            tally.draw(terms, wanted, told)
        else:
            told(-1, 0.0)

    def close(self) -> None:
        for tally in self._tallies.values():
            tally.close()


def _whom(said: Redis) -> object:
    return said.address, said.username, said.password, said.database, said.timeout


class Tally:
    """A connection to one Redis, made again whenever it is lost."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        said: Redis,
        known: Known,
        process: ProcessStats,
        log: Log,
    ) -> None:
        self.name = f"{said.address}/{said.database}"
        self._loop = loop
        self._clock = clock
        self._said = said
        self._known = known
        self._process = process
        self._log = log
        self._dial: Dial | None = None
        self._conn: Conn | None = None
        self._replies = Replies()
        self._greetings = 0
        """Replies that are due before anything may be asked; less than none: it has not been greeted yet."""
        self._unsent: list[bytes] = []
        self._asked: deque[tuple[float, Drawn]] = deque()
        self._timer: Timer | None = None
        self._due = inf
        """When that rings."""
        self._rest: Timer | None = None
        self._failures = 0
        """In a row."""
        process.redis_up.setdefault(self.name, 0)
        process.redis_failures_total.setdefault(self.name, 0)
        self._begin()

    def draw(self, terms: SharedTerms, wanted: int, told: Drawn) -> None:
        if self._rest is not None:
            told(-1, 0.0)
            return
        flow = terms.flow
        interval = flow.per / flow.amount * 1e6
        asking = command(
            b"EVAL", SCRIPT, b"1", PREFIX + terms.redis.key.encode(),
            b"%.6f" % interval, b"%.3f" % (interval * flow.burst), b"%d" % wanted,
        )  # fmt: skip
        deadline = self._clock.now() + self._said.timeout
        self._asked.append((deadline, told))
        self._watch(deadline)
        if self._conn is not None and self._greetings == 0:
            self._conn.write(asking)
        else:
            self._unsent.append(asking)

    def close(self) -> None:
        self._end()
        if self._rest is not None:
            self._rest.cancel()
        self._give_up()

    # A connection

    def _begin(self) -> None:
        self._rest = None
        self._greetings = -1
        address = self._address()
        if address is None:
            self._fail("name not resolved")
            return
        self._watch(self._clock.now() + GREETED_WITHIN)
        dial = Dial(self._loop, self._clock, address, GREETED_WITHIN, self._dialled)
        outcome = dial.begin()
        if outcome is None:
            self._dial = dial
        else:
            self._dialled(outcome)

    def _address(self) -> Address | None:
        where = self._said.address
        if isinstance(where, Address):
            return where
        hosts = self._known.get(where.host, ())
        if not hosts:
            return None
        host = hosts[self._failures % len(hosts)]
        return Address("ipv6" if ":" in host else "ipv4", host, where.port)

    def _dialled(self, outcome: Outcome) -> None:
        self._dial = None
        if isinstance(outcome, OSError):
            self._fail(str(outcome.strerror or outcome))
            return
        self._replies = Replies()
        self._conn = conn = outcome
        conn.handler = self
        conn.read_to(self._take)
        conn.start()
        greeting = self._greeting()
        self._greetings = len(greeting)
        conn.write(b"".join(greeting))

    def _greeting(self) -> list[bytes]:
        said, found = self._said, []
        if said.password is not None:
            assert said.password.text is not None, "what is in force is in clear"
            user = (said.username.encode(),) if said.username is not None else ()
            found.append(command(b"AUTH", *user, said.password.text.encode()))
        if said.database:
            found.append(command(b"SELECT", b"%d" % said.database))
        return [*found, command(b"PING")]

    def _take(self, data: bytes) -> None:
        try:
            replies = self._replies.feed(data)
        except Malformed:
            self._fail("no RESP")
            return
        for reply in replies:
            why = self._greeted(reply) if self._greetings else self._answered(reply)
            if why:
                self._fail(why)
                return

    def _greeted(self, reply: Reply) -> str:
        if isinstance(reply, Refused):
            return reply.word
        self._greetings -= 1
        if self._greetings == 0:
            assert self._conn is not None
            self._process.redis_up[self.name] = 1
            self._log.limited(f"redis-up {self.name}", LOG_EVERY, "info", "redis-up", redis=self.name)
            unsent, self._unsent = self._unsent, []
            if unsent:
                self._conn.write(b"".join(unsent))
        return ""

    def _answered(self, reply: Reply) -> str:
        if isinstance(reply, Refused):
            return reply.word
        match reply:
            case [int(amount), int(microseconds)] if self._asked and amount >= 0:
                self._failures = 0
                self._asked.popleft()[1](amount, microseconds / 1e6)
                return ""
        return "unexpected reply"

    # Its end

    def on_end(self, conn: Conn) -> None:
        self._fail("ended")

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._fail("ended" if error is None else str(error.strerror or error))

    def _watch(self, deadline: float) -> None:
        """One timer: it looks at the oldest draw, or at a connection that is not greeted."""
        if deadline < self._due:
            if self._timer is not None:
                self._timer.cancel()
            self._due = deadline
            self._timer = self._clock.after(deadline - self._clock.now(), self._look)

    def _look(self) -> None:
        self._timer, self._due = None, inf
        now = self._clock.now()
        if self._greetings or (self._asked and self._asked[0][0] <= now):
            self._fail("too slow")
        elif self._asked:
            self._watch(self._asked[0][0])

    def _fail(self, why: str) -> None:
        self._end()
        self._process.redis_failures_total[self.name] += 1
        self._log.limited(f"redis-down {self.name}", LOG_EVERY, "warning", "redis-down", redis=self.name, error=why)
        rest = min(FIRST_REST * 2 ** min(self._failures, 10), LONGEST_REST)
        self._failures += 1
        self._rest = self._clock.after(rest * (1 + random()) / 2, self._begin)  # noqa: S311 - so that not all come at once
        self._give_up()

    def _end(self) -> None:
        self._process.redis_up[self.name] = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._due = None, inf
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self._conn is not None:
            self._conn.abort()
            self._conn = None

    def _give_up(self) -> None:
        """Whoever waits is told that nobody could be asked."""
        asked, self._asked = self._asked, deque()
        self._unsent = []
        for _, told in asked:
            told(-1, 0.0)
