"""Frames that are cheap to send and not to take: how many of each kind a connection has free.

    account = Account(now)
    account.spend(Reason.PING_FLOOD, useful)     False: too many

A kind may be had `burst` times at once, `per_second` as time passes, and `per_useful` for each useful frame: a head
that we have sent, DATA of ours that was not cut to a window of a few bytes, or half a window of DATA that we have
taken.  So what grows with honest traffic is allowed in its measure, and a flood ends within `2 * burst` frames,
whatever the peer has earned before.  The clock is read, and anything computed, only when a burst is used up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meshproxy.wire.h2.faults import Reason


@dataclass(frozen=True, slots=True)
class Allowance:
    burst: int
    per_second: float
    per_useful: float


ALLOWED = {
    # a stream that the peer resets within `RAPID` seconds and before any answer (CVE-2023-44487).  A browser that
    # leaves a page drops some fifty at once; a caller with short deadlines drops as many as are answered, or waits.
    Reason.RESET_FLOOD: Allowance(200, 100, 1),
    # a stream that we must reset because of what the peer sent (CVE-2025-8671, CVE-2019-9514).  No sound client does
    # it, but a proxy before us may bring one client in ten that is not.
    Reason.FAULT_FLOOD: Allowance(100, 10, 0.1),
    # a stream above MAX_CONCURRENT_STREAMS.  Some clients open hundreds before they have read our SETTINGS.
    Reason.REFUSED_FLOOD: Allowance(500, 50, 0),
    # PING (CVE-2019-9512).  Keep-alive is one in seconds; gRPC measures its path with one for each round trip in which
    # it has got data.
    Reason.PING_FLOOD: Allowance(200, 10, 1),
    # SETTINGS, and acknowledgements that nobody waits for (CVE-2019-9515).  gRPC adapts its window a few times a
    # second.
    Reason.SETTINGS_FLOOD: Allowance(100, 10, 0),
    # DATA that holds nothing and ends nothing (CVE-2019-9518).  Nobody has a use for it.
    Reason.EMPTY_FLOOD: Allowance(100, 10, 0.1),
    # DATA of fewer bytes than the smallest message of gRPC or WebSocket has (CVE-2019-9511).  Who writes byte by byte
    # does so at the speed of a hand, or gets answers; and who uses windows up has a rest at each end of one.
    Reason.DRIBBLE_FLOOD: Allowance(400, 100, 2),
    # PRIORITY and PRIORITY_UPDATE (CVE-2019-9513).  Old Firefox builds a tree of six at the start, and browsers say one
    # or two for each stream.
    Reason.PRIORITY_FLOOD: Allowance(300, 20, 5),
    # WINDOW_UPDATE, late ones too.  One for the stream and one for the connection is usual for each DATA, or for each
    # read of a small part of it.
    Reason.WINDOW_FLOOD: Allowance(400, 50, 10),
    # a kind of frame that nobody knows.  Who greases does so about once for each stream.
    Reason.UNKNOWN_FLOOD: Allowance(200, 10, 2),
    # RST_STREAM, HEADERS and DATA of fewer than `SMALL` bytes for what has ended.  They were under way when we ended a
    # stream: an answer in three frames for each that a client has given up, or what small messages a round trip holds.
    # Larger DATA is bounded by the window that the stream had.
    Reason.LATE_FLOOD: Allowance(450, 500, 4),
}

RAPID = 0.1
"""Seconds.  A stream that lasts longer is limited by the number of streams."""
TINY = 5
"""Bytes; see DRIBBLE_FLOOD."""
SMALL = 256
"""Bytes.  DATA of ours that a window has cut to less is not useful: the peer makes us send it."""
MOST_FRAGMENTS = 32
"""CONTINUATION frames of one head (CVE-2024-27316): eight times of what the largest head takes."""
MOST_UNREAD = 500
"""Frames of ours, while the peer does not read (CVE-2019-9517); of a head each KiB counts as another."""


class Account:
    """What one connection has spent of each kind."""

    __slots__ = ("_now", "_settled", "_since", "_spent")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._spent: dict[Reason, float] = {}
        self._since = now(), 0
        self._settled: dict[Reason, tuple[float, int]] = {}
        """When a kind was settled last, and how many useful frames there had been."""

    def spend(self, kind: Reason, useful: int) -> bool:
        spent = self._spent.get(kind, 0) + 1
        allowed = ALLOWED[kind]
        if spent > allowed.burst:
            now = self._now()
            then, useful_then = self._settled.get(kind, self._since)
            self._settled[kind] = now, useful
            spent -= (now - then) * allowed.per_second + (useful - useful_then) * allowed.per_useful
            spent = max(spent, 1)
        self._spent[kind] = spent
        return spent <= allowed.burst
