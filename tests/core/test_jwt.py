"""Tokens: the examples of the RFCs are taken, and what has fooled others is not."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import pytest

from meshproxy.core.jwk import read_keys
from meshproxy.core.jwt import LONGEST, Key, Refused, Tokens, issuer_of, looks_like_token, of_secret
from meshproxy.core.papers import Unusable
from meshproxy.net import signatures

NOW = 1_700_000_000.0
SECRET = b"a secret of thirty-two bytes, ok"
MISSING = "cryptography is not installed: there are no public keys"


def b64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def signed(header: bytes, body: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    both = b64(header) + b"." + b64(body)
    return both + b"." + b64(sign(both))


def by_secret(signed: bytes, secret: bytes = SECRET, name: str = "sha256") -> bytes:
    return hmac.digest(secret, signed, name)


def token(claims: Any, header: Any = None) -> bytes:
    return signed(
        json.dumps({"alg": "HS256", "typ": "JWT"} | (header or {})).encode(), json.dumps(claims).encode(), by_secret
    )


def tokens(keys: Sequence[Key] | None = None, **said: Any) -> Tokens:
    plain: dict[str, Any] = {"issuer": None, "audience": None, "user": "sub", "leeway": 30.0}
    return Tokens(keys or read_keys(SECRET.decode(), ("HS256",), signatures), **plain | said)


def refused(token: bytes, now: float = NOW, **said: Any) -> str:
    with pytest.raises(Refused) as caught:
        tokens(**said).user_of(token, now)
    return str(caught.value)


def key_set(*keys: dict[str, Any]) -> str:
    return json.dumps({"keys": keys})


# The examples of the RFCs -----------------------------------------------------------------------------

HMAC_KEY = {"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}
RSA_KEY = {
    "kty": "RSA",
    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ"
    "S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665"
    "xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    "e": "AQAB",
}
EC_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
CLAIMS = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
HS256 = f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
RS256 = (
    f"eyJhbGciOiJSUzI1NiJ9.{CLAIMS}."
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcA"
    "cQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHW"
    "EsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)
ES256 = (
    f"eyJhbGciOiJFUzI1NiJ9.{CLAIMS}."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)


@pytest.mark.parametrize(
    ("key", "algorithm", "said"),
    [(HMAC_KEY, "HS256", HS256), (RSA_KEY, "RS256", RS256), (EC_KEY, "ES256", ES256)],
    ids=["hs256", "rs256", "es256"],
)
def test_examples_of_rfc_7515(key: dict[str, Any], algorithm: str, said: str) -> None:
    if algorithm != "HS256":
        pytest.importorskip("cryptography", reason=MISSING)
    known = tokens(read_keys(key_set(key), (algorithm,), signatures), user="iss", issuer="joe")
    assert known.user_of(said.encode(), 1300819379) == "joe"
    for changed in (said[:-2] + "AA", said.replace(".ey", ".fy"), said[:-4], said[1:]):
        with pytest.raises(Refused):
            known.user_of(changed.encode(), 1300819379)
    with pytest.raises(Refused, match="expired"):
        known.user_of(said.encode(), 1300819380 + 30)


def test_example_of_rfc_8037() -> None:
    pytest.importorskip("cryptography", reason=MISSING)
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    check = signatures.of_edwards(public)["EdDSA"]
    said = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    signature = unb64("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
    assert check(said, signature)
    assert not check(said + b"x", signature)
    assert not check(said, signature[:-1])
    assert not check(said, b"")


# Every algorithm, with keys of our own ----------------------------------------------------------------


class Signer:
    """A private key, and how the algorithm signs with it."""

    def __init__(self, algorithm: str) -> None:
        pytest.importorskip("cryptography", reason=MISSING)
        self.algorithm = algorithm
        self.key = _private(_kind(algorithm))

    @property
    def pem(self) -> str:
        serialization = _serialization()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        found: bytes = self.key.public_key().public_bytes(serialization.Encoding.PEM, form)
        return found.decode()

    def sign(self, data: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

        found: bytes
        if self.algorithm == "EdDSA":
            found = self.key.sign(data)
            return found
        kind, bits = self.algorithm[:2], self.algorithm[2:]
        hashed = getattr(hashes, f"SHA{bits}")()
        if kind == "ES":
            r, s = utils.decode_dss_signature(self.key.sign(data, ec.ECDSA(hashed)))
            size = {"256": 32, "384": 48, "512": 66}[bits]
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        padded: Any = padding.PKCS1v15()
        if kind == "PS":
            padded = padding.PSS(mgf=padding.MGF1(hashed), salt_length=hashed.digest_size)
        found = self.key.sign(data, padded, hashed)
        return found

    def token(self, claims: Any, **header: Any) -> bytes:
        said = {"alg": self.algorithm} | header
        return signed(json.dumps(said).encode(), json.dumps(claims).encode(), self.sign)


def _kind(algorithm: str) -> str:
    return "RSA" if algorithm[:2] in ("RS", "PS") else algorithm


def _serialization() -> ModuleType:
    from cryptography.hazmat.primitives import serialization

    return serialization


@cache
def _private(kind: str, number: int = 0) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if kind == "RSA":
        return rsa.generate_private_key(65537, 2048)
    if kind == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    return ec.generate_private_key(curves[kind])


PUBLIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


@pytest.mark.parametrize("algorithm", PUBLIC)
def test_each_algorithm_takes_its_own_signatures_and_no_others(algorithm: str) -> None:
    signer = Signer(algorithm)
    known = tokens(read_keys(signer.pem, (algorithm,), signatures))
    good = signer.token({"sub": "alice"})
    assert known.user_of(good, NOW) == "alice"
    head, body, signature = good.split(b".")
    raw = unb64(signature.decode())
    for wrong in (raw[:-1], raw + b"\0", raw[::-1], bytes(len(raw)), b"\0", raw * 2):
        with pytest.raises(Refused, match="no key"):
            known.user_of(head + b"." + body + b"." + b64(wrong), NOW)
    for other in PUBLIC:
        if other != algorithm and _kind(other) == _kind(algorithm):
            with pytest.raises(Refused, match="no key"):
                known.user_of(Signer(other).token({"sub": "alice"}), NOW)


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
def test_there_is_one_way_to_write_a_signature(algorithm: str) -> None:
    """Neither with a zero before a number, nor as DER."""
    signer = Signer(algorithm)
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    (key,) = read_keys(signer.pem, (algorithm,), signatures)
    good = signer.sign(b"x")
    r, s = good[: len(good) // 2], good[len(good) // 2 :]
    assert key.checks[algorithm](b"x", r + s)
    der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    for other in (r + b"\0" + s, b"\0" + r + s, b"\0" + r + b"\0" + s, der):
        assert not key.checks[algorithm](b"x", other)


def test_salt_of_pss_is_as_long_as_the_hash() -> None:
    signer = Signer("PS256")
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    (key,) = read_keys(signer.pem, ("PS256",), signatures)
    for length in (32, 0, 20):
        padded = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=length)
        assert key.checks["PS256"](b"x", signer.key.sign(b"x", padded, hashes.SHA256())) == (length == 32)


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
def test_signatures_of_zeroes_are_none(algorithm: str) -> None:
    signer = Signer(algorithm)
    (key,) = read_keys(signer.pem, (algorithm,), signatures)
    size = len(signer.sign(b"x")) // 2
    one = (1).to_bytes(size, "big")
    for wrong in (bytes(2 * size), bytes(size) + one, one + bytes(size), b"\xff" * 2 * size):
        assert not key.checks[algorithm](b"x", wrong)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_algorithms_of_secrets(algorithm: str) -> None:
    secret = bytes(range(64))
    text = secret.decode("utf-8", "surrogateescape")
    known = tokens(read_keys(text, (algorithm,), signatures))
    name = f"sha{algorithm[2:]}"
    head = json.dumps({"alg": algorithm}).encode()
    good = signed(head, b'{"sub": "alice"}', lambda data: by_secret(data, secret, name))
    assert known.user_of(good, NOW) == "alice"
    for wrong in (b"", secret[:-1], secret + b"\n"):
        bad = signed(head, b'{"sub": "alice"}', lambda data, wrong=wrong: by_secret(data, wrong, name))  # type: ignore[misc]
        with pytest.raises(Refused):
            known.user_of(bad, NOW)


# Attacks ----------------------------------------------------------------------------------------------


def test_public_key_is_never_a_secret() -> None:
    """Who has it signs by HMAC with it as the secret, and says so in the header."""
    signer = Signer("RS256")
    forged = signed(b'{"alg":"HS256"}', b'{"sub":"admin"}', lambda data: by_secret(data, signer.pem.encode()))
    with pytest.raises(Refused, match="no key"):
        tokens(read_keys(signer.pem, ("RS256",), signatures)).user_of(forged, NOW)
    with pytest.raises(Unusable, match="is PEM, and HS256 needs a secret"):
        read_keys("\n " + signer.pem, ("HS256",), signatures)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "HS384", "hs256", "RS256", None, 1, ["HS256"], {}])
def test_algorithms_that_are_not_meant(alg: object) -> None:
    body = b'{"sub":"admin"}'
    both = b64(json.dumps({"alg": alg}).encode()) + b"." + b64(body)
    for signature in (b"", b64(by_secret(both)), b64(b"\0")):
        assert refused(both + b"." + signature)


GOOD = {"sub": "alice"}
DEEP = b"[" * 3000 + b"]" * 3000


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b".",
        b"..",
        b"....",
        token(GOOD) + b".",
        token(GOOD) + b".AA",
        b"." + token(GOOD),
        token(GOOD) + b"=",
        token(GOOD) + b"\n",
        b" " + token(GOOD),
        token(GOOD).replace(b".", b"=.", 1),
        token(GOOD)[:-1],
        token(GOOD)[:-2],
        token(GOOD).rpartition(b".")[0] + b".",
        token(GOOD).rpartition(b".")[0],
        token(GOOD).replace(b"e", "\uff45".encode(), 1),
        token(GOOD).replace(b".", "\u0663.".encode(), 1),
        # the last character has bits that stand for nothing
        token(GOOD)[:-1] + bytes([token(GOOD)[-1] + 1]),
        token(GOOD, {"crit": ["exp"], "exp": 1}),
        token(GOOD, {"crit": []}),
        token(GOOD, {"kid": 7}),
        token(GOOD, {"kid": None, "alg": None}),
        signed(b'{"alg":"HS256","alg":"HS256"}', b'{"sub":"a"}', by_secret),
        signed(b'{"alg":"HS256"}', b'{"sub":"a","sub":"b"}', by_secret),
        signed(b'{"alg":"HS256"}', b'{"sub":"a","x":{"y":1,"y":2}}', by_secret),
        signed(b'["alg","HS256"]', b'{"sub":"a"}', by_secret),
        signed(b'{"alg":"HS256"}x', b'{"sub":"a"}', by_secret),
        signed(b'\xef\xbb\xbf{"alg":"HS256"}', b'{"sub":"a"}', by_secret),
        signed(b'{"alg":"HS256"}', b'{"sub":"a","exp":NaN}', by_secret),
        signed(b'{"alg":"HS256"}', b'{"sub":"a","x":[-Infinity]}', by_secret),
        signed(b'{"alg":"HS256"}', b'{"sub":"a","exp":1e999}', by_secret),
        signed(b'{"alg":"HS256"}', b'{"sub":"a","exp":1' + b"0" * 400 + b"}", by_secret),
        signed(b'{"alg":"HS256"}', b'{"sub":"a","exp":1' + b"0" * 5000 + b"}", by_secret),
        signed(b'{"alg":"HS256"}', b'{"sub":"a","x":' + DEEP + b"}", by_secret),
        signed(b'{"alg":"HS256","x":' + b"[" * 2500, b"{}", by_secret),
        signed(b'{"alg":"HS256"}', b'{"sub":"\xff"}', by_secret),
        signed(b'{"alg":"HS256"}', b'{"sub":"\\ud800"}', by_secret),
        signed(b'{"alg":"HS256"}', b'{"sub":"a\\u0000"}', by_secret),
        # a token in a token
        signed(b'{"alg":"HS256","cty":"JWT"}', token(GOOD), by_secret),
        token({"sub": ""}),
        token({"sub": "x" * 1025}),
        token({"sub": ["alice"]}),
        token({"sub": 1}),
        token({}),
        token([]),
        token("alice"),
        token(None),
        token({"sub": "alice", "pad": "x" * LONGEST}),
    ],
)
def test_what_is_no_token_or_no_good_one(said: bytes) -> None:
    assert refused(said)


def test_the_one_beside_all_these() -> None:
    assert tokens().user_of(token(GOOD), NOW) == "alice"
    whole = signed(b'{"alg":"HS256"}', b'{"sub":"a","x":"' + b"x" * 6000 + b'"}', by_secret)
    assert tokens().user_of(whole, NOW) == "a"


def test_keys_that_a_token_brings_are_not_looked_at() -> None:
    own = b"a secret of the attacker's choice"
    header = {"alg": "HS256", "jwk": {"kty": "oct", "k": b64(own).decode()}, "jku": "http://evil.invalid/", "x5u": "x"}
    said = signed(json.dumps(header).encode(), b'{"sub":"admin"}', lambda data: by_secret(data, own))
    assert refused(said) == "no key of ours has signed it"


# What it says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({}, ""),
        ({"exp": NOW + 1}, ""),
        ({"exp": NOW - 29.5}, ""),
        ({"exp": NOW - 30}, "expired"),
        ({"exp": 0}, "expired"),
        ({"exp": -1e300}, "expired"),
        ({"nbf": NOW + 30, "iat": NOW + 30}, ""),
        ({"nbf": NOW + 31}, "not valid yet"),
        ({"iat": NOW + 31}, "not valid yet"),
        ({"exp": str(int(NOW) + 100)}, "a time of a wrong form"),
        ({"exp": None}, "a time of a wrong form"),
        ({"nbf": True}, "a time of a wrong form"),
        ({"iat": [NOW]}, "a time of a wrong form"),
        ({"aud": "mqtt"}, "for somebody else"),
        ({"aud": []}, "for somebody else"),
        ({"aud": None}, "for somebody else"),
    ],
)
def test_times_and_whom_it_is_for(claims: dict[str, Any], why: str) -> None:
    said = token(GOOD | claims)
    if why:
        assert refused(said) == why
    else:
        assert tokens().user_of(said, NOW) == "alice"


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "us", "aud": "mqtt"}, ""),
        ({"iss": "us", "aud": ["web", "mqtt"]}, ""),
        ({"iss": "us", "aud": ["web", {"mqtt": 1}]}, "for somebody else"),
        ({"iss": "us", "aud": "mqtt2"}, "for somebody else"),
        ({"iss": "us", "aud": {"mqtt": 1}}, "for somebody else"),
        ({"iss": "us"}, "for somebody else"),
        ({"iss": "they", "aud": "mqtt"}, "another issuer"),
        ({"iss": ["us"], "aud": "mqtt"}, "another issuer"),
        ({"aud": "mqtt"}, "another issuer"),
    ],
)
def test_issuer_and_audience(claims: dict[str, Any], why: str) -> None:
    said = token({"name": "bob"} | claims)
    if why:
        assert refused(said, issuer="us", audience="mqtt", user="name") == why
    else:
        assert tokens(issuer="us", audience="mqtt", user="name").user_of(said, NOW) == "bob"


def test_what_looks_like_one() -> None:
    assert looks_like_token(token(GOOD))
    assert looks_like_token(b"eyJhbGciOiJub25lIn0.e30.")
    assert not looks_like_token(b"secret")
    assert not looks_like_token(b"www.example.com")
    assert not looks_like_token(b"e.mail")
    assert issuer_of(token({"iss": "us"})) == "us"
    assert issuer_of(token({"iss": 1})) is None
    assert issuer_of(b"e.~.x") is None


# Keys ------------------------------------------------------------------------------------------------


def oct_key(secret: bytes, **more: Any) -> dict[str, Any]:
    return {"kty": "oct", "k": b64(secret).decode()} | more


def test_a_key_is_found_by_its_name() -> None:
    one, two = b"1" * 32, b"2" * 32
    text = key_set(oct_key(one, kid="one"), oct_key(two, kid="two"), {"kty": "new", "kid": "three"})
    known = tokens(read_keys(text, ("HS256",), signatures))

    def said(secret: bytes, **header: Any) -> bytes:
        head = json.dumps({"alg": "HS256"} | header).encode()
        return signed(head, b'{"sub":"a"}', lambda data: by_secret(data, secret))

    for good in (said(one, kid="one"), said(two, kid="two")):
        assert known.user_of(good, NOW) == "a"
    for bad in (said(one), said(one, kid="two"), said(one, kid="three"), said(one, kid=""), said(b"3" * 32)):
        with pytest.raises(Refused, match="no key"):
            known.user_of(bad, NOW)
    only = tokens(read_keys(key_set(oct_key(one, kid="one")), ("HS256",), signatures))
    assert only.user_of(said(one), NOW) == "a"
    unnamed = tokens(read_keys(key_set(oct_key(one), oct_key(two)), ("HS256",), signatures))
    for good in (said(one), said(two), said(two, kid="whatever")):
        assert unnamed.user_of(good, NOW) == "a"


def test_secret_without_the_end_of_its_line() -> None:
    for end in ("", "\n", "\r\n"):
        known = tokens(read_keys(SECRET.decode() + end, ("HS256",), signatures))
        assert known.user_of(token(GOOD), NOW) == "alice"


def test_what_a_key_is_not_for() -> None:
    text = key_set(oct_key(SECRET, use="enc"), oct_key(SECRET, key_ops=["sign"]), oct_key(SECRET, alg="HS512"))
    with pytest.raises(Unusable, match="holds no key for HS256"):
        read_keys(text, ("HS256",), signatures)
    with pytest.raises(Unusable, match="holds no key for RS256 or ES256"):
        read_keys(key_set(oct_key(SECRET)), ("RS256", "ES256"), signatures)
    with pytest.raises(Unusable, match="holds no key for EdDSA"):
        read_keys(key_set(oct_key(b"short")), ("EdDSA",), signatures)
    (key,) = read_keys(key_set(oct_key(SECRET, alg="HS256", use="sig")), ("HS256",), signatures)
    assert list(key.checks) == ["HS256"]


@pytest.mark.parametrize(
    ("text", "algorithm", "why"),
    [
        ("", "RS256", "neither PEM nor"),
        ("", "HS256", "a secret of 0 bytes"),
        ("x" * 31 + "\n", "HS256", "a secret of 31 bytes, which must have 32"),
        ("x" * 63, "HS512", "which must have 64"),
        (key_set(oct_key(b"x" * 31)), "HS256", r"`keys\[0\]` holds a secret of 31 bytes"),
        ("{", "RS256", "is not JSON"),
        ('{"keys": [], "keys": []}', "RS256", "says a key twice"),
        ("{" * 100_000, "RS256", "is not JSON"),
        ('{"keys": {}}', "RS256", "has no list `keys`"),
        ("{}", "RS256", "has no list `keys`"),
        ('{"keys": []}', "RS256", "no key for RS256"),
        ('{"keys": [1]}', "RS256", r"`keys\[0\]` is not an object"),
        ('{"keys": [{"kid": 1}]}', "RS256", "`kid`"),
        ('{"keys": [{"kty": "oct"}]}', "HS256", "has no `k` in base64url"),
        ('{"kty": "oct", "k": "ü"}', "HS256", "has no `k` in base64url"),
        ('{"kty": "RSA", "n": "AQAB"}', "RS256", "has no `e` in base64url"),
        ('{"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AA"}', "RS256", "is a private key"),
        (key_set(*(oct_key(SECRET, kid=str(number)) for number in range(17))), "HS256", "holds 17 keys, more than 16"),
        (key_set(*[oct_key(SECRET)] * 5), "HS256", "holds 5 keys with the same `kid`, or without one, more than 4"),
        (key_set(*[oct_key(SECRET, kid="a")] * 5), "HS256", "holds 5 keys with the same"),
        ("-----BEGIN PUBLIC KEY-----\n", "RS256", "does not end"),
        ("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n", "RS256", "a private key"),
        ("-----BEGIN X-----\nAA==\n-----END X-----\n", "RS256", "only other PEM blocks"),
    ],
)
def test_files_that_hold_no_key(text: str, algorithm: str, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        read_keys(text, (algorithm,), signatures)


def test_public_keys_that_are_not_taken() -> None:
    pytest.importorskip("cryptography", reason=MISSING)
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

    serialization = _serialization()

    def pem(key: Any) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return str(key.public_key().public_bytes(serialization.Encoding.PEM, form).decode())

    for key, why in (
        (rsa.generate_private_key(65537, 1024), "an RSA key of 1024 bits"),
        (ec.generate_private_key(ec.SECP256K1()), "another curve"),
        (ed448.Ed448PrivateKey.generate(), "another kind"),
    ):
        with pytest.raises(Unusable, match=why):
            read_keys(pem(key), ("RS256", "ES256", "EdDSA"), signatures)
    with pytest.raises(Unusable, match="no key for ES256"):
        read_keys(pem(_private("RSA")), ("ES256",), signatures)
    ed = {"kty": "OKP", "crv": "Ed25519", "x": "AA"}
    for bad in (EC_KEY | {"x": "AA"}, ed, {"kty": "RSA", "n": "AA", "e": "AA"}):
        with pytest.raises(Unusable, match="cannot be read"):
            read_keys(key_set(bad), ("RS256", "ES256", "EdDSA"), signatures)
    keys = read_keys(pem(_private("RSA")) + pem(_private("ES256")), ("RS256", "ES256"), signatures)
    assert [sorted(key.checks) for key in keys] == [["RS256"], ["ES256"]]


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.rsa", None)
    with pytest.raises(Unusable, match=r"pip install 'meshproxy\[jwt\]'"):
        read_keys(key_set(RSA_KEY), ("RS256",), signatures)
    assert tokens([Key(None, of_secret(SECRET))]).user_of(token(GOOD), NOW) == "alice"
