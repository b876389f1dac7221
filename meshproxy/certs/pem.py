"""PEM, both ways.  What cannot be read is Refused, in words that never quote it: it might be a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from meshproxy.certs import Refused
from meshproxy.certs.authority import Chain, Key

DAMAGED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def of(parts: Iterable[x509.Certificate | x509.CertificateSigningRequest | x509.CertificateRevocationList]) -> bytes:
    return b"".join(part.public_bytes(Encoding.PEM) for part in parts)


def of_key(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificates(data: bytes) -> Chain:
    with _whole("certificate"):
        found = tuple(x509.load_pem_x509_certificates(data))
        for each in found:
            # The library looks at these only when they are asked for
            _ = each.subject, each.issuer, each.extensions
        return found


def private_key(data: bytes) -> Key:
    with _whole("private key"):
        try:
            key = load_pem_private_key(data, None)
        except TypeError:
            raise Refused("is encrypted; a key without a passphrase is needed") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise Refused("holds a key that is neither EC nor RSA")
    return key


def request(data: bytes) -> x509.CertificateSigningRequest:
    with _whole("certificate request"):
        found = x509.load_pem_x509_csr(data)
        _ = found.subject, found.extensions
        return found


def revoked(data: bytes) -> x509.CertificateRevocationList:
    with _whole("list of revoked certificates"):
        found = x509.load_pem_x509_crl(data)
        _ = list(found), found.extensions
        return found


@contextmanager
def _whole(what: str) -> Iterator[None]:
    try:
        yield
    except DAMAGED:
        raise Refused(f"holds no {what} in PEM, or a damaged one") from None
