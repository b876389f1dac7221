"""Bodies that are too large for a rule, refused by what their head says of them.

One that does not say how large it will be is measured as it comes: that is done where it is read, with the limit that
`smallest` finds.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Hooks
from meshproxy.errors import Failure
from meshproxy.relay.http.failures import BODY_TOO_LARGE


def build(most: int) -> Hooks:
    def request(x: Exchange) -> Failure | None:
        return BODY_TOO_LARGE if x.request.body > most else None

    return Hooks(request=request)


def smallest(sizes: Iterable[int | None]) -> int | None:
    """Of those that are said."""
    return min((size for size in sizes if size is not None), default=None)
