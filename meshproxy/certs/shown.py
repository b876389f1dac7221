"""What a certificate says, as plain data."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256


def said(certificate: x509.Certificate) -> dict[str, object]:
    """Of any certificate, those of other makers too."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return {
        "subject": certificate.subject.rfc4514_string(),
        "names": _names(certificate),
        "issuer": certificate.issuer.rfc4514_string(),
        "state": _state(start, end),
        "from": _time(start),
        "until": _time(end),
        "ca": _is_ca(certificate),
        "key": _key(certificate),
        "serial": f"{certificate.serial_number:x}",
        "fingerprint": certificate.fingerprint(SHA256()).hex(),
    }


def _state(start: datetime, end: datetime) -> str:
    now = datetime.now(UTC)
    return "not yet" if now < start else "expired" if now > end else "valid"


def _time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in found]


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "unknown"
    match key:
        case ec.EllipticCurvePublicKey():
            return f"ec {key.curve.name}"
        case rsa.RSAPublicKey():
            return f"rsa {key.key_size}"
    return type(key).__name__.removesuffix("PublicKey").lower()
