"""Requests for certificates: making one, and reading those of others with distrust.

The signature of a request proves that whoever made it has the key, and nothing about the names.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from meshproxy.certs import Refused
from meshproxy.certs.authority import RSA_BITS, Key, PublicKey
from meshproxy.certs.holder import alternatives, names_in, subject
from meshproxy.certs.names import Names

CURVES = ("secp256r1", "secp384r1")
MOST_RSA_BITS = 8192


def request(names: Names, key: Key) -> x509.CertificateSigningRequest:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject(names))
    others = alternatives(names)
    if others is not None:
        builder = builder.add_extension(others, critical=not names.common)
    return builder.sign(key, SHA256())


@dataclass(frozen=True, slots=True)
class Wanted:
    names: Names
    public_key: PublicKey
    ignored: tuple[str, ...]
    """What else it asks for, and will not get."""


def wanted(csr: x509.CertificateSigningRequest) -> Wanted:
    """Refused if the holder has no such key, or wants to be a CA."""
    try:
        proven, key = csr.is_signature_valid, csr.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise Refused("the key of the request is of a kind that is not known here") from None
    if not proven:
        raise Refused("the signature of the request is wrong: it does not prove that its maker has the key")
    for extension in csr.extensions:
        match extension.value:
            case x509.BasicConstraints(ca=True) | x509.KeyUsage(key_cert_sign=True):
                raise Refused("the request wants to be a CA; `meshproxy certs ca --ca` makes those")
    ignored = [
        *(f"{part.rfc4514_attribute_name}={part.value!s}" for part in csr.subject if part.oid != NameOID.COMMON_NAME),
        *(
            f"{type(part.value).__name__} ({part.oid.dotted_string})"
            for part in csr.extensions
            if not isinstance(part.value, x509.SubjectAlternativeName)
        ),
    ]
    return Wanted(names_in(csr), _strong(key), tuple(ignored))


def require_same(asked: Names, said: Names) -> None:
    """Who signs says the names; the request only repeats them."""
    if set(asked) != set(said):
        raise Refused(
            f"the request asks for {', '.join(asked) or 'no name'}, and not for {', '.join(said)}: "
            "the names it gets are those that are said here, and both have to be the same"
        )


def _strong(key: object) -> PublicKey:
    match key:
        case ec.EllipticCurvePublicKey() if key.curve.name in CURVES:
            return key
        case rsa.RSAPublicKey() if RSA_BITS <= key.key_size <= MOST_RSA_BITS:
            return key
    raise Refused(f"its key is neither EC ({' or '.join(CURVES)}) nor RSA of {RSA_BITS} to {MOST_RSA_BITS} bits")
