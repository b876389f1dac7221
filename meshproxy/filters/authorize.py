"""Who may ask, by the identity that the peer of the connection has proved: what no entry admits is refused.

It is the first of all filters, and an entry is matched to the letter, as what `access` allows is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from meshproxy.core.by_identity import ByIdentity
from meshproxy.core.client import Who
from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Hooks
from meshproxy.errors import Failure
from meshproxy.filters.access import Test, test_of
from meshproxy.model.authorize import Admission
from meshproxy.model.filters import AccessMatch

NOT_AUTHORIZED = Failure("not_authorized", 403, "AZ")


def build(said: Sequence[Admission], trust_domain: str, who: Who, tell: Callable[[Any], None]) -> Hooks:
    """`tell` hears from where those came that are refused."""
    admitting = ByIdentity(
        ((entry.identities, test) for entry in said for test in _tests(entry, who)), trust_domain
    )

    def request(x: Exchange) -> Failure | None:
        peer = x.origin.peer
        if peer is not None:
            for admits in admitting[peer.identity]:
                if admits is None or admits(x):
                    return None
        tell(x.origin)
        return NOT_AUTHORIZED

    return Hooks(request=request)


def _tests(entry: Admission, who: Who) -> Iterator[Test | None]:
    """One for each path; None: nothing more is asked."""
    for path in entry.paths or (None,):
        match = AccessMatch(entry.sources, path, entry.methods, entry.headers)
        yield None if match == AccessMatch() else test_of(match, who, loosely=False)
