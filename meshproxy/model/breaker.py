"""What an operator can say about how much is asked of a cluster, and when it is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from meshproxy.model.limits import Count
from meshproxy.model.routes import Reply, reply_problems
from meshproxy.schema.kinds import PositiveDuration, Ratio, whole
from meshproxy.schema.shapes import Path


@dataclass(frozen=True, slots=True)
class Breaker:
    """How much may be asked of a cluster at a time, and after how many failures nothing is asked for a while."""

    max_connections: Annotated[Count, "connections at a time to all endpoints together; more are refused"] = 16384
    max_pending: Annotated[
        Count | None, "of http: requests that wait for a connection at a time; more are refused; absent: no limit"
    ] = None
    max_requests: Annotated[
        Count | None, "of http: requests under way at a time; more are refused; absent: no limit"
    ] = None
    max_retries: Annotated[
        int | None, whole(0, 10_000_000), "retries under way at a time in each worker; absent: no limit of its own"
    ] = None
    retry_share: Annotated[Ratio, "retries under way, as a share of the requests under way, in each worker"] = 0.2
    min_retries: Annotated[int, whole(0, 10_000_000), "retries that are allowed whatever their share is"] = 3
    window: Annotated[PositiveDuration, "how far back failures and slow answers are counted"] = 30.0
    min_requests: Annotated[Count, "in the window, before a ratio counts"] = 100
    error_ratio: Annotated[
        Ratio | None, "failures and answers of 500 and more, as a share of all, that open the breaker; absent: none"
    ] = None
    error_amount: Annotated[Count | None, "how many of them open it; absent: none"] = None
    slow: Annotated[PositiveDuration | None, "what takes longer is slow"] = None
    slow_ratio: Annotated[Ratio | None, "slow answers, as a share of all, that open it"] = None
    slow_amount: Annotated[Count | None, "how many of them open it"] = None
    open: Annotated[PositiveDuration, "how long nothing is asked"] = 30.0
    probes: Annotated[
        int, whole(0, 1000), "requests that are then tried, and close it if all go well; 0: it closes untried"
    ] = 1
    reply: Annotated[Reply | None, "of http: what is answered while it is open; absent: 503"] = None

    @property
    def opens(self) -> bool:
        """Whether anything opens it."""
        thresholds = (self.error_ratio, self.error_amount, self.slow_ratio, self.slow_amount)
        return any(each is not None for each in thresholds)


PLAIN_BREAKER = Breaker()


def problems(said: Breaker) -> Iterator[tuple[Path, str]]:
    if said.slow is None and (said.slow_ratio is not None or said.slow_amount is not None):
        key = "slow_ratio" if said.slow_ratio is not None else "slow_amount"
        yield (key,), f"`{key}` needs `slow`, the time after which an answer is slow"
    if said.slow is not None and said.slow_ratio is None and said.slow_amount is None:
        yield ("slow",), "`slow` does nothing without `slow_ratio` or `slow_amount`"
    for key in ("error_ratio", "slow_ratio"):
        if getattr(said, key) == 0:
            yield (key,), f"`{key}` must be above 0: nothing would ever be asked"
    if said.reply is not None and not said.opens:
        yield ("reply",), "`reply` is never given: nothing opens the breaker"
    if said.reply is not None:
        for path, message in reply_problems(said.reply):
            yield ("reply", *path), message
