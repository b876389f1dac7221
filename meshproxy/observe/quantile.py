"""From the counts of a histogram to the values that shares of all stay below."""

from __future__ import annotations

from collections.abc import Sequence


def quantiles(bounds: Sequence[float], counts: Sequence[int], shares: Sequence[float]) -> list[float] | None:
    """Within a bucket as if all were spread evenly; of what is beyond the last bound, that bound.  None: of nothing.

    The shares grow, and there is one count more than there are bounds.
    """
    total = sum(counts)
    if not total:
        return None
    found: list[float] = []
    wanted = [share * total for share in shares]
    below, passed = 0.0, 0
    for bound, count in zip(bounds, counts, strict=False):
        if count:
            while len(found) < len(wanted) and passed + count >= wanted[len(found)]:
                found.append(below + (bound - below) * (wanted[len(found)] - passed) / count)
            passed += count
            if len(found) == len(wanted):
                return found
        below = bound
    return found + [below] * (len(wanted) - len(found))
