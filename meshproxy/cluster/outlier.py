"""Outliers: endpoints that fail under the traffic, and are given none for a while.

    outliers = Outliers(said, clock, ejected_by_reason, say)
    outliers.watch(endpoints)           # those of the generation in force
    outliers.heed                       # hears how each attempt has gone
    outliers.hear("10.0.0.9:80", ejection)      # what another worker has found out

Each worker judges by what it sees, and says whom it has ejected.  Each keeps to the share that may be ejected, also of
what it is told.  A return needs no word: an ejection says until when it lasts, by a clock that all workers have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from math import isclose
from statistics import fmean, pstdev
from typing import Literal, NamedTuple

from meshproxy.cluster.cluster import CONNECT_FAILED, CONNECT_TIMEOUT, Heed
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.errors import Failure
from meshproxy.model import Outlier, SuccessRate
from meshproxy.net.clock import Clock, Timer

WORD = "outlier"
"""By which an endpoint is doubted."""

Reason = Literal["connect", "gateway", "5xx", "success_rate"]


class Ejection(NamedTuple):
    until: float
    """By the clock of the loop, which is one for all processes of a machine."""
    times: int
    """How many there have been in a row, this one included."""
    reason: str


Say = Callable[[Endpoint, Ejection], None]


class _Record:
    __slots__ = ("back", "connect", "ejection", "endpoint", "failures", "gateway", "good", "timer", "times", "total")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.ejection: Ejection | None = None
        self.timer: Timer | None = None
        self.times = 0
        self.back = 0.0
        """When it returned the last time."""
        self.begin()

    def begin(self) -> None:
        """Nothing is known against it."""
        self.failures = self.gateway = self.connect = 0
        self.good = self.total = 0


class Outliers:
    def __init__(self, said: Outlier, clock: Clock, counted: MutableMapping[str, int], say: Say) -> None:
        """`counted` has a number for each reason."""
        self._said = said
        self._clock = clock
        self._counted = counted
        self._say = say
        self._records: dict[Endpoint, _Record] = {}
        self._due = clock.now() + said.interval

    @property
    def heed(self) -> Heed:
        return self._heed if self._said.success_rate is None else self._heed_and_compare

    def watch(self, endpoints: Iterable[Endpoint]) -> None:
        """These and no others."""
        before = self._records
        self._records = {endpoint: before.get(endpoint) or _Record(endpoint) for endpoint in endpoints}
        for endpoint in before.keys() - self._records.keys():
            self._forget(before[endpoint])

    def retire(self, grace: float) -> None:
        self.watch(())

    def hear(self, name: str, ejection: Ejection) -> None:
        """Of an endpoint, by its address."""
        lasts = ejection.until > self._clock.now()
        for endpoint, record in self._records.items():
            if lasts and endpoint.name == name and record.ejection is None and self._room():
                self._eject(record, ejection)

    # How attempts go

    def _heed(self, endpoint: Endpoint, failure: Failure | None, status: int, seconds: float) -> None:
        record = self._records.get(endpoint)
        if record is None:
            return
        if failure is None and status < 500:
            if record.failures:
                record.failures = record.gateway = record.connect = 0
            return
        if record.ejection is not None:
            return
        record.failures += 1
        record.gateway = record.gateway + 1 if failure is not None or status in (502, 503, 504) else 0
        record.connect = record.connect + 1 if failure in (CONNECT_FAILED, CONNECT_TIMEOUT) else 0
        reason = self._too_many(record)
        if reason is not None:
            self._judge(record, reason)

    def _too_many(self, record: _Record) -> Reason | None:
        said = self._said
        if 0 < said.consecutive_connect <= record.connect:
            return "connect"
        if 0 < said.consecutive_gateway <= record.gateway:
            return "gateway"
        return "5xx" if 0 < said.consecutive_5xx <= record.failures else None

    def _heed_and_compare(self, endpoint: Endpoint, failure: Failure | None, status: int, seconds: float) -> None:
        record = self._records.get(endpoint)
        if record is not None:
            record.total += 1
            if failure is None and status < 500:
                record.good += 1
        self._heed(endpoint, failure, status, seconds)
        said = self._said.success_rate
        if said is not None and self._clock.now() >= self._due:
            self._compare(said)

    def _compare(self, said: SuccessRate) -> None:
        """An interval is over, or more, if there was no traffic: then this is all that was seen."""
        self._due = self._clock.now() + self._said.interval
        rates = [
            (record.good / record.total, record)
            for record in self._records.values()
            if record.total >= said.requests and record.ejection is None
        ]
        for record in self._records.values():
            record.good = record.total = 0
        if len(rates) < said.endpoints:
            return
        shares = [rate for rate, _ in rates]
        least = fmean(shares) - said.factor * pstdev(shares)
        for rate, record in sorted(rates, key=lambda found: found[0]):
            # Where all are alike the mean may be a little beside them.
            if rate < least and not isclose(rate, least, abs_tol=1e-9):
                self._judge(record, "success_rate")

    # Ejections

    def _room(self) -> bool:
        """Whether one more may be ejected."""
        size = len(self._records)
        most = max(size * self._said.max_ejected // 100, 1 if size > 1 else 0)
        return sum(record.ejection is not None for record in self._records.values()) < most

    def _judge(self, record: _Record, reason: Reason) -> None:
        if not self._room():
            return
        said, now = self._said, self._clock.now()
        # Who has been back for a while has that much less to answer for.
        record.times = max(0, record.times - int((now - record.back) / said.interval)) + 1
        ejection = Ejection(now + min(said.ejection * record.times, said.max_ejection), record.times, reason)
        self._counted[reason] += 1
        self._eject(record, ejection)
        self._say(record.endpoint, ejection)

    def _eject(self, record: _Record, ejection: Ejection) -> None:
        record.ejection = ejection
        record.times = ejection.times
        record.timer = self._clock.after(ejection.until - self._clock.now(), lambda: self._return(record))
        record.endpoint.doubt(WORD)
        record.endpoint.close_idle()

    def _return(self, record: _Record) -> None:
        record.ejection = record.timer = None
        record.back = self._clock.now()
        record.begin()
        record.endpoint.trust(WORD)

    def _forget(self, record: _Record) -> None:
        if record.timer is not None:
            record.timer.cancel()
            record.ejection = record.timer = None
            record.endpoint.trust(WORD)
