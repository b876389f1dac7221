"""Who a client says it is must be who it has proved to be: one that calls itself by another name is refused.

    claimed("spiffe://cluster.local/ns/shop/sa/web", "cluster.local")    # b"web.shop": all that it may call itself

Meshes that know clients by a header, as OSM does, let whoever can write a header be anybody.  Behind this filter the
header can be believed: it says nothing, or the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Hooks
from meshproxy.errors import Failure
from meshproxy.model.filters import Claim

FALSE_CLAIM = Failure("false_claim", 403, "FC")
MOST_REMEMBERED = 1024


def build(said: Claim, trust_domain: str, tell: Callable[[Any], None]) -> Hooks:
    """`tell` hears from where those came that are refused."""
    name = said.header.lower().encode("ascii")
    own = lru_cache(MOST_REMEMBERED)(partial(claimed, trust_domain=trust_domain))

    def request(x: Exchange) -> Failure | None:
        said = x.request.get(name)
        if said is None:
            return None
        truth = own(x.identity)
        # Of a repeated field everybody reads another one: all must be true.
        if truth is not None and all(each.strip().lower() == truth for each in said.split(b",")):
            return None
        tell(x.origin)
        return FALSE_CLAIM

    return Hooks(request=request)


def claimed(identity: str, trust_domain: str) -> bytes | None:
    """`ACCOUNT.NAMESPACE`, in small letters as names of Kubernetes are; None: nothing that can be claimed."""
    if identity.startswith("spiffe://"):
        before, _, account = identity.partition("/sa/")
        namespace = before.removeprefix(f"spiffe://{trust_domain}/ns/")
        if namespace == before or not account or not namespace or "." in namespace or "/" in namespace + account:
            return None
        name = f"{account}.{namespace}"
        return name.encode("ascii") if name == name.lower() else None
    name = identity.lower().removesuffix(f".{trust_domain.lower()}")
    account, _, namespace = name.rpartition(".")
    if len(name) == len(identity) or not account or not namespace or not name.isascii():
        return None
    return name.encode("ascii")
