"""Signatures by public keys, verified by the library cryptography, which is loaded when the first key is.

    checks = of_der(der)                    # {"RS256": ..., "RS384": ..., "PS256": ...}; raises ValueError, in words
    checks["RS256"](signed, signature)      # True

Each kind of key has its algorithms of RFC 7518 and RFC 8037, and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

Check = Callable[[bytes, bytes], bool]
"""Whether, of what is signed, this is the signature."""

SHORTEST_RSA = 2048
LONGEST_RSA = 8192
"""Bits: a longer one takes long to verify with."""


def of_der(der: bytes) -> dict[str, Check]:
    """Of what stands in a PEM block `PUBLIC KEY`."""
    with _library():
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_der_public_key

        key = load_der_public_key(der)
    match key:
        case rsa.RSAPublicKey():
            return _of_rsa(key)
        case ec.EllipticCurvePublicKey():
            return _of_curve(key)
        case ed25519.Ed25519PublicKey():
            return _of_edwards(key)
    raise ValueError("holds a key of another kind than RSA, P-256, P-384, P-521 or Ed25519")


def of_rsa(n: int, e: int) -> dict[str, Check]:
    with _library():
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

        key = RSAPublicNumbers(e, n).public_key()
    return _of_rsa(key)


def of_curve(name: str, x: int, y: int) -> dict[str, Check]:
    with _library():
        from cryptography.hazmat.primitives.asymmetric import ec

        curves = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
        key = ec.EllipticCurvePublicNumbers(x, y, curves[name]).public_key()
    return _of_curve(key)


def of_edwards(x: bytes) -> dict[str, Check]:
    """Of Ed25519."""
    with _library():
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        key = Ed25519PublicKey.from_public_bytes(x)
    return _of_edwards(key)


@contextmanager
def _library() -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise ValueError("needs the library cryptography: pip install 'meshproxy[jwt]'") from None
    except Exception:  # its own kinds of exceptions are many, and it says much in them
        raise ValueError("holds a public key that cannot be read") from None


# What each kind of key is good for --------------------------------------------------------------------


def _of_rsa(key: RSAPublicKey) -> dict[str, Check]:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    if not SHORTEST_RSA <= key.key_size <= LONGEST_RSA:
        raise ValueError(f"holds an RSA key of {key.key_size} bits, which must have {SHORTEST_RSA} to {LONGEST_RSA}")
    found = {}
    for bits, hashed in (("256", hashes.SHA256()), ("384", hashes.SHA384()), ("512", hashes.SHA512())):
        probabilistic = padding.PSS(mgf=padding.MGF1(hashed), salt_length=hashed.digest_size)
        found[f"RS{bits}"] = _check(key.verify, padding.PKCS1v15(), hashed)
        found[f"PS{bits}"] = _check(key.verify, probabilistic, hashed)
    return found


def _of_curve(key: EllipticCurvePublicKey) -> dict[str, Check]:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    known = {
        "secp256r1": ("ES256", 32, hashes.SHA256()),
        "secp384r1": ("ES384", 48, hashes.SHA384()),
        "secp521r1": ("ES512", 66, hashes.SHA512()),
    }
    if key.curve.name not in known:
        raise ValueError("holds a key of another curve than P-256, P-384 and P-521")
    algorithm, size, hashed = known[key.curve.name]
    verify = _check(key.verify, ECDSA(hashed))

    def check(signed: bytes, signature: bytes) -> bool:
        if len(signature) != 2 * size:
            return False
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        return verify(signed, encode_dss_signature(r, s))

    return {algorithm: check}


def _of_edwards(key: Ed25519PublicKey) -> dict[str, Check]:
    return {"EdDSA": _check(key.verify)}


def _check(verify: Callable[..., None], *terms: Any) -> Check:
    from cryptography.exceptions import InvalidSignature

    def check(signed: bytes, signature: bytes) -> bool:
        try:
            verify(signature, signed, *terms)
        except InvalidSignature:
            return False
        return True

    return check
