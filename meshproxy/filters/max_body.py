"""Bodies that are too large for a rule, refused by what their head says of them.

One that does not say how large it will be is measured as it comes: that is done where it is read, with the limit that
`smallest` finds.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Hooks
from meshproxy.errors import Failure
from meshproxy.model.routes import RouteFilter

TOO_LARGE = Failure("body_too_large", 413, "DPE")


def build(most: int) -> Hooks:
    def request(x: Exchange) -> Failure | None:
        return TOO_LARGE if x.request.body > most else None

    return Hooks(request=request)


def smallest(filters: Iterable[RouteFilter]) -> int | None:
    return min((each.max_body for each in filters if each.max_body is not None), default=None)
