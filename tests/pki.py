"""A PKI in the hands of a test: CAs, certificates good and bad, lists of revoked ones, as files.

    pki = Pki(tmp_path)
    ca = pki.ca()
    books = ca.issue("shop/books", dns=["books.shop"])       # books.certificate, books.key: paths
    expired = ca.issue("shop/books", start=-2, days=1)       # in days from now; start=1 is not yet valid
    foreign = pki.ca().issue("shop/books")                   # another CA with the same name
    ca.root, ca.crl([books])                                 # what to trust, and what no longer

Where the library cryptography is missing, a test that makes a `Pki` is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from meshproxy.certs.authority import Authority, Role, Validity

TRUST_DOMAIN = "cluster.local"
MISSING = "cryptography is not installed: there are no certificates to test with"


@dataclass(frozen=True, slots=True)
class Pair:
    certificate: Path
    """That of the workload, and those of the CAs between it and the root."""
    key: Path


class Pki:
    def __init__(self, directory: Path) -> None:
        pytest.importorskip("cryptography", reason=MISSING)
        self._directory = directory
        self._numbers = count(1)

    def ca(
        self,
        name: str = "test CA",
        *,
        trust_domain: str = TRUST_DOMAIN,
        days: float = 3650,
        start: float | None = None,
        key: str = "ec",
    ) -> Ca:
        from meshproxy.certs.authority import Authority, new_key

        return Ca(self, Authority.root(name, trust_domain, _validity(days, start), new_key(key)))

    def write(self, name: str, data: bytes) -> Path:
        path = self._directory / f"{next(self._numbers):03d}-{name}"
        path.write_bytes(data)
        return path


class Ca:
    def __init__(self, pki: Pki, authority: Authority) -> None:
        from meshproxy.certs import pem

        self._pki, self._authority = pki, authority
        self.root = pki.write("ca.pem", pem.of([authority.root_certificate]))
        """What those trust who trust this CA."""

    def below(self, name: str = "test CA below", *, days: float = 365, start: float | None = None) -> Ca:
        """An intermediate CA; the chain that it issues has its certificate too."""
        from meshproxy.certs.authority import new_key

        return Ca(self._pki, self._authority.below(name, _validity(days, start), new_key()))

    def issue(
        self,
        identity: str = "",
        *,
        dns: Iterable[str] = (),
        ips: Iterable[str] = (),
        name: str = "",
        uris: Iterable[str] = (),
        days: float = 90,
        start: float | None = None,
        roles: Iterable[Role] = ("client", "server"),
        key: str = "ec",
    ) -> Pair:
        """`identity` is namespace/account or a SPIFFE ID, `name` the common name, `uris` more URIs as they are."""
        from meshproxy.certs import pem
        from meshproxy.certs.authority import new_key
        from meshproxy.certs.names import Names, spiffe

        identities = [spiffe(identity, self._authority.trust_domain)] if identity else []
        names = Names(name, (*identities, *uris), tuple(dns), tuple(map(ip_address, ips)))
        own = new_key(key)
        chain = self._authority.issue(own.public_key(), names, _validity(days, start), frozenset(roles))
        return Pair(self._pki.write("cert.pem", pem.of(chain)), self._pki.write("key.pem", pem.of_key(own)))

    def crl(self, revoked: Iterable[Pair] = (), *, days: float = 30, start: float | None = None) -> Path:
        from meshproxy.certs import pem

        certificates = [pem.certificates(pair.certificate.read_bytes())[0] for pair in revoked]
        return self._pki.write("crl.pem", pem.of([self._authority.revoke(certificates, _validity(days, start))]))


def _validity(days: float, start: float | None) -> Validity:
    from meshproxy.certs.authority import Validity

    begin = None if start is None else datetime.now(UTC) + timedelta(days=start)
    return Validity.of(timedelta(days=days), begin)
