"""Whether the certificate of a peer is to be believed: the same rules as where OpenSSL speaks TLS itself.

    trust = Trust(terms, dials=True)
    certificate = trust(shown)          # of what the peer has shown; raises Broken
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshproxy.net.tls.context import Terms, Unusable
from meshproxy.net.tls.faults import Broken, distrusted
from meshproxy.wire import x509

MOST_SHOWN = 8
"""Certificates of one peer."""
_UNSUITED = 26
"""OpenSSL's number for a certificate that is meant for something else."""


class Trust:
    __slots__ = ("_dials", "_names", "_store")

    def __init__(self, terms: Terms, *, dials: bool, names: frozenset[str] = frozenset()) -> None:
        """One of the `names` must be in a certificate; none: any will do.  Raises Unusable."""
        if terms.ca is None:
            raise Unusable("ca", "is missing: both ends of QUIC are verified")
        from cryptography import x509 as library
        from OpenSSL import crypto

        self._dials = dials
        self._names = names
        self._store: Any = crypto.X509Store()
        try:
            for certificate in library.load_pem_x509_certificates(terms.ca.encode()):
                self._store.add_cert(crypto.X509.from_cryptography(certificate))
        except ValueError:
            raise Unusable("ca", "has no certificate that can be read") from None
        flags = crypto.X509StoreFlags.PARTIAL_CHAIN
        if terms.crl is not None:
            flags |= crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL
            try:
                for der in _lists(terms.crl):
                    self._store.add_crl(library.load_der_x509_crl(der))
            except ValueError:
                raise Unusable("crl", "has no revocation list that can be read") from None
        self._store.set_flags(flags)

    def __call__(self, shown: Sequence[Any]) -> x509.Certificate:
        from cryptography.hazmat.primitives.serialization import Encoding
        from OpenSSL import crypto

        if not shown:
            raise Broken("no_certificate")
        if len(shown) > MOST_SHOWN:
            raise Broken("invalid", f"{len(shown)} certificates are shown, {MOST_SHOWN} at most are read")
        own, *others = (crypto.X509.from_cryptography(each) for each in shown)
        try:
            crypto.X509StoreContext(self._store, own, others).verify_certificate()
        except crypto.X509StoreContextError as error:
            raise distrusted(error.errors[0], str(error)) from None
        if not self._suits(shown[0]):
            raise distrusted(_UNSUITED, "it is not for the end that shows it")
        try:
            certificate = x509.read(shown[0].public_bytes(Encoding.DER))
        except x509.Unreadable as why:
            raise Broken("invalid", str(why)) from None
        if self._names and self._names.isdisjoint(certificate.names):
            raise Broken("wrong_name")
        return certificate

    def _suits(self, own: Any) -> bool:
        """A certificate that says what it is for has to say this: here OpenSSL does not ask by itself."""
        from cryptography.x509 import ExtendedKeyUsage, ExtensionNotFound
        from cryptography.x509.oid import ExtendedKeyUsageOID

        try:
            uses = own.extensions.get_extension_for_class(ExtendedKeyUsage).value
        except ExtensionNotFound:
            return True
        except ValueError:
            return False
        return (ExtendedKeyUsageOID.SERVER_AUTH if self._dials else ExtendedKeyUsageOID.CLIENT_AUTH) in uses


def _lists(pem: str) -> list[bytes]:
    """Raises ValueError, where there is none."""
    found = x509.blocks(pem, "X509 CRL")
    if not found:
        raise ValueError("no list")
    return found
