"""Keys with which tokens are verified, as they stand in a file: PEM, a JSON Web Key Set (RFC 7517), or a secret itself.

    keys = read_keys(text, ("RS256", "ES256"), signatures)      # raises Unusable

What a file holds must be what the algorithms are for: a public key, which everybody may have, is never a secret.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from meshproxy.core.jwt import Check, Key, base64url, of_secret, strict_json
from meshproxy.core.papers import Unusable
from meshproxy.model.authenticate import is_of_secret
from meshproxy.wire.x509 import Unreadable, blocks

MOST_KEYS = 16
"""In one file."""
MOST_ALIKE = 4
"""Of one name, or of none: a token is compared with each of them."""
_BEGIN = "-----BEGIN "


class Public(Protocol):
    """Who verifies signatures by public keys: by algorithm, for a key of each kind.

    Raises ValueError, in words that follow the name of the file.
    """

    def of_der(self, der: bytes) -> Mapping[str, Check]: ...

    def of_rsa(self, n: int, e: int) -> Mapping[str, Check]: ...

    def of_curve(self, name: str, x: int, y: int) -> Mapping[str, Check]: ...

    def of_edwards(self, x: bytes) -> Mapping[str, Check]: ...


def read_keys(text: str, algorithms: Sequence[str], public: Public) -> list[Key]:
    """`algorithms` are all of secrets, or none is; what a file holds for others is passed over."""
    start = text.lstrip()[: len(_BEGIN)]
    of_form = _of_pem if start == _BEGIN else _of_set if start.startswith("{") else _of_file
    try:
        found = [*of_form(text, algorithms, public)]
    except Unusable:
        raise
    except ValueError as why:
        raise Unusable(str(why)) from None
    keys = [key for id, checks in found if (key := _for(algorithms, id, checks)).checks]
    if not keys:
        raise Unusable(f"holds no key for {' or '.join(algorithms)}")
    if len(keys) > MOST_KEYS:
        raise Unusable(f"holds {len(keys)} keys, more than {MOST_KEYS}")
    if (alike := max(Counter(key.id for key in keys).values())) > MOST_ALIKE:
        raise Unusable(f"holds {alike} keys with the same `kid`, or without one, more than {MOST_ALIKE}")
    return keys


Found = Iterator[tuple[str | None, Mapping[str, Check]]]


def _for(algorithms: Sequence[str], id: str | None, checks: Mapping[str, Check]) -> Key:
    return Key(id, {name: check for name, check in checks.items() if name in algorithms})


def _of_file(text: str, algorithms: Sequence[str], _public: Public) -> Found:
    """All of it is the secret, without the end of its line."""
    if not is_of_secret(algorithms[0]):
        raise Unusable("holds neither PEM nor a JSON Web Key Set")
    yield None, of_secret(_long_enough(bytes_of(text).removesuffix(b"\n").removesuffix(b"\r"), algorithms))


def bytes_of(text: str) -> bytes:
    """As they stand in the file."""
    return text.encode("utf-8", "surrogateescape")


def _long_enough(secret: bytes, algorithms: Sequence[str]) -> bytes:
    """RFC 7518, 3.2: as long as the hash, for who has one token can try secrets for as long as they like."""
    bits = max(int(name[2:]) for name in algorithms)
    if len(secret) * 8 < bits:
        raise Unusable(f"holds a secret of {len(secret)} bytes, which must have {bits // 8} or more for HS{bits}")
    return secret


def _of_pem(text: str, algorithms: Sequence[str], public: Public) -> Found:
    if is_of_secret(algorithms[0]):
        raise Unusable(f"is PEM, and {algorithms[0]} needs a secret: a key that others know would let anybody sign")
    if "PRIVATE KEY-----" in text:
        raise Unusable("holds a private key, which only the issuer needs: `openssl pkey -pubout` says the public one")
    try:
        found = blocks(text, "PUBLIC KEY")
    except Unreadable as why:
        raise Unusable(f"holds no public key: {why}") from None
    if not found:
        raise Unusable("holds no public key: there are only other PEM blocks in it")
    for der in found:
        yield None, public.of_der(der)


# JSON Web Keys ----------------------------------------------------------------------------------------


def _of_set(text: str, algorithms: Sequence[str], public: Public) -> Found:
    try:
        said = strict_json(text)
    except ValueError:
        raise Unusable("is not JSON, or says a key twice") from None
    several = said.get("keys", [said] if "kty" in said else None)
    if not isinstance(several, list):
        raise Unusable("is not a JSON Web Key Set: it has no list `keys`")
    for place, each in enumerate(several):
        if not isinstance(each, dict):
            raise Unusable(f"is not a JSON Web Key Set: `keys[{place}]` is not an object")
        try:
            yield from _of_key(each, algorithms, public)
        except ValueError as why:
            raise Unusable(f"`keys[{place}]` {why}") from None


def _of_key(said: Mapping[str, Any], algorithms: Sequence[str], public: Public) -> Found:
    """Nothing, if it is not for us."""
    id, only = said.get("kid"), said.get("alg")
    if not isinstance(id, str | None) or not isinstance(only, str | None):
        raise Unusable("has a `kid` or an `alg` that is no string")
    uses = said.get("key_ops", ["verify"])
    if said.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses:
        return
    checks: Mapping[str, Check]
    match said.get("kty"):
        case "oct" if is_of_secret(algorithms[0]):
            checks = of_secret(_long_enough(_bytes(said, "k"), algorithms))
        case "RSA" | "EC" | "OKP" if "d" in said:
            raise Unusable("is a private key, which only the issuer needs")
        case "RSA" if not is_of_secret(algorithms[0]):
            checks = public.of_rsa(_number(said, "n"), _number(said, "e"))
        case "EC" if said.get("crv") in ("P-256", "P-384", "P-521") and not is_of_secret(algorithms[0]):
            checks = public.of_curve(said["crv"], _number(said, "x"), _number(said, "y"))
        case "OKP" if said.get("crv") == "Ed25519" and not is_of_secret(algorithms[0]):
            checks = public.of_edwards(_bytes(said, "x"))
        case _:
            return
    yield id, {name: check for name, check in checks.items() if only in (None, name)}


def _bytes(said: Mapping[str, Any], part: str) -> bytes:
    value = said.get(part)
    try:
        return base64url(value.encode("ascii") if isinstance(value, str) else b"")
    except ValueError:
        raise Unusable(f"has no `{part}` in base64url") from None


def _number(said: Mapping[str, Any], part: str) -> int:
    return int.from_bytes(_bytes(said, part), "big")
