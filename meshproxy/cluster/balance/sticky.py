"""A client stays where it is: a cookie names its endpoint, and is followed for as long as that may be picked.

What the cookie holds is a digest of cluster and address, so any worker of any proxy knows it, and nobody reads an
address in it.  When somebody else is picked, the answer has a new one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b

from meshproxy import model
from meshproxy.cluster.balance.base import Pick
from meshproxy.cluster.balance.key import cookie
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.core.exchange import Exchange


def token(cluster: str, endpoint: Endpoint) -> bytes:
    return blake2b(f"{cluster} {endpoint.name}".encode(), digest_size=12).hexdigest().encode("ascii")


def sticky(said: model.Sticky, cluster: str, fit: Sequence[Endpoint], pick: Pick) -> Pick:
    """What `pick` says for whoever has no cookie of somebody who is fit."""
    tokens = {endpoint: token(cluster, endpoint) for endpoint in fit}
    by_token = {text: endpoint for endpoint, text in tokens.items()}
    value = cookie(said.cookie)
    before = f"Set-Cookie: {said.cookie}=".encode("ascii")
    age = f"; Max-Age={max(1, round(said.ttl))}" if said.ttl is not None else ""
    after = f"; Path={said.path}{age}; HttpOnly; SameSite=Lax\r\n".encode("ascii")

    def stay(tried: Collection[Endpoint], x: Exchange) -> Endpoint | None:
        wanted = value(x)
        had = by_token.get(wanted) if wanted is not None else None
        if had is not None and had not in tried:
            x.notes.cookie = b""
            return had
        found = pick(tried, x)
        if found is not None:
            x.notes.cookie = before + tokens[found] + after
        return found

    return stay  # type: ignore[return-value]  # only HTTP leads to a cluster that is sticky
