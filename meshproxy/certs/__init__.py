"""X.509 for tests and small sites: a CA, certificates of workloads, requests for them, revocation.

    ca = Authority.root("shop CA", "cluster.local", Validity.of(timedelta(days=3650)), new_key())
    key = new_key()
    names = Names(uris=(spiffe("shop/books", ca.trust_domain),), dns=("books.shop",))
    chain = ca.issue(key.public_key(), names, Validity.of(timedelta(days=90)))

All of it but `names` imports the library cryptography (the extra `certs`).  Nothing that serves imports this room.
"""

from __future__ import annotations


class Refused(Exception):
    """What was asked for is not made, for this reason."""
