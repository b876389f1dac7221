"""JSON Web Tokens (RFC 7519) in their compact form, signed (RFC 7515): who somebody is, in the words of an issuer.

    tokens = Tokens(keys, issuer="https://id.local", audience="mqtt", user="sub", leeway=30.0)
    tokens.user_of(token, clock.wall())         # "alice"; raises Refused

What a token says of its own keys (`jwk`, `jku`, `x5u` ...) is never looked at, and of the way in which it is signed it
may only choose what the key is for: a public key is not taken for a secret.
"""

from __future__ import annotations

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any, NoReturn

LONGEST = 8192
"""Bytes of a token."""
LONGEST_USER = 1024
DEEPEST = 64
"""Levels of what stands in a token or a key set; how many Python reads differs from one version to the next."""

Check = Callable[[bytes, bytes], bool]
"""Whether, of what is signed, this is the signature."""

_HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
_base64url = re.compile(rb"[A-Za-z0-9_-]+").fullmatch


class Refused(Exception):
    """Why a token is not taken, in words that tell nothing of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    id: str | None
    """By which a token may name it."""
    checks: Mapping[str, Check]
    """By each algorithm for which it may be used."""


def of_secret(secret: bytes) -> dict[str, Check]:
    return {algorithm: _check_of(secret, name) for algorithm, name in _HASHES.items()}


def _check_of(secret: bytes, name: str) -> Check:
    return lambda signed, signature: hmac.compare_digest(hmac.digest(secret, signed, name), signature)


# Tokens -----------------------------------------------------------------------------------------------


def looks_like_token(said: bytes) -> bool:
    """A password hardly ever does: three parts, and the first could be that of a JSON object."""
    return said.startswith(b"e") and said.count(b".") == 2


def issuer_of(token: bytes) -> str | None:
    """Who has made it, in its own words, which nobody has checked."""
    try:
        said = _object(_parts(token)[1]).get("iss")
    except Refused:
        return None
    return said if isinstance(said, str) else None


class Tokens:
    """Those of one issuer."""

    def __init__(
        self, keys: Sequence[Key], *, issuer: str | None, audience: str | None, user: str, leeway: float
    ) -> None:
        self.issuer = issuer
        self._keys = keys
        self._unnamed = keys if len(keys) == 1 else [key for key in keys if key.id is None]
        """Those with which a token may be signed that names none: for many it has to, so says OpenID Connect."""
        self._audience = audience
        self._user = user
        self._leeway = leeway

    def user_of(self, token: bytes, now: float) -> str:
        """`now`: seconds since 1970."""
        header, body, signature = _parts(token)
        self._verify(_object(header), token.rpartition(b".")[0], signature)
        claims = _object(body)
        self._in_time(claims, now)
        if self.issuer is not None and claims.get("iss") != self.issuer:
            raise Refused("another issuer")
        self._for_us(claims)
        user = claims.get(self._user)
        # A lone surrogate is no character that can be printed either.
        if not isinstance(user, str) or not 0 < len(user) <= LONGEST_USER or not user.isprintable():
            raise Refused("no user name")
        return user

    def _verify(self, header: Mapping[str, Any], signed: bytes, signature: bytes) -> None:
        algorithm, name = header.get("alg"), header.get("kid")
        if "crit" in header:
            raise Refused("an extension that must be understood")
        if not isinstance(algorithm, str) or not isinstance(name, str | None):
            raise Refused("a header of a wrong form")
        for key in self._unnamed if name is None else self._keys:
            if name is None or key.id is None or key.id == name:
                check = key.checks.get(algorithm)
                if check is not None and check(signed, signature):
                    return
        raise Refused("no key of ours has signed it")

    def _in_time(self, claims: Mapping[str, Any], now: float) -> None:
        ends, begins, made = _date(claims, "exp"), _date(claims, "nbf"), _date(claims, "iat")
        if ends is not None and now >= ends + self._leeway:
            raise Refused("expired")
        for date in (begins, made):
            if date is not None and now < date - self._leeway:
                raise Refused("not valid yet")

    def _for_us(self, claims: Mapping[str, Any]) -> None:
        """A token that says for whom it is is for nobody else, also where we have no name: so says RFC 7519."""
        if "aud" not in claims and self._audience is None:
            return
        said = claims.get("aud")
        if self._audience is None or self._audience not in (said if isinstance(said, list) else (said,)):
            raise Refused("for somebody else")


def _parts(token: bytes) -> Sequence[bytes]:
    if len(token) > LONGEST:
        raise Refused("too long")
    parts = token.split(b".", 3)
    if len(parts) != 3:
        raise Refused("not three parts")
    try:
        return [base64url(part) for part in parts]
    except ValueError:
        raise Refused("not base64url") from None


def base64url(said: bytes) -> bytes:
    """What it stands for, of which there is one way to write it; else ValueError."""
    if _base64url(said) is None:
        raise ValueError("not base64url")
    found = urlsafe_b64decode(said + b"=" * (-len(said) % 4))
    if urlsafe_b64encode(found).rstrip(b"=") != said:
        raise ValueError("not base64url")
    return found


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = strict_json(data.decode())
    except ValueError:
        raise Refused("not JSON") from None
    if not isinstance(found, dict):
        raise Refused("not an object")
    return found


def strict_json(text: str) -> Any:
    """A short text as JSON: no key twice, no NaN, no depth without an end; else ValueError."""
    try:
        found = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [found]
    for _ in range(DEEPEST):
        level = [item for each in level for item in _inside(each)]
        if not level:
            return found
    raise ValueError("nested too deeply")


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _each_once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError("a key twice")
        found[key] = value
    return found


def _no_number(_word: str) -> NoReturn:
    raise ValueError("not a number")


def _date(claims: Mapping[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    said = claims[name]
    try:
        seconds = float(said) if isinstance(said, int | float) and not isinstance(said, bool) else nan
    except OverflowError:
        seconds = nan
    if not isfinite(seconds):
        raise Refused("a time of a wrong form")
    return seconds
