"""What is read is understood as a whole or refused, whatever is in it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pki import MISSING

pytest.importorskip("cryptography", reason=MISSING)

from cryptography.hazmat.primitives.serialization import Encoding

from meshproxy.certs import Refused, pem
from meshproxy.certs.authority import Authority, Validity, new_key
from meshproxy.certs.names import Names
from meshproxy.certs.request import request, wanted
from meshproxy.certs.shown import said

HOUR = timedelta(hours=1)
NAMES = Names("books", ("spiffe://cluster.local/ns/shop/sa/books",), ("books.shop",))
KEY = new_key()
CA = Authority.root("one", "cluster.local", Validity.of(2 * HOUR), KEY)


@cache
def encoded() -> dict[str, bytes]:
    leaf = CA.issue(KEY.public_key(), NAMES, Validity.of(HOUR))[0]
    return {
        "CERTIFICATE": leaf.public_bytes(Encoding.DER),
        "CERTIFICATE REQUEST": request(NAMES, KEY).public_bytes(Encoding.DER),
        "X509 CRL": CA.revoke([leaf], Validity.of(HOUR)).public_bytes(Encoding.DER),
    }


def in_pem(kind: str, data: bytes) -> bytes:
    name = kind.encode()
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (name, base64.encodebytes(data), name)


def use(kind: str, data: bytes) -> None:
    if kind == "CERTIFICATE REQUEST":
        wanted(pem.request(data))
    elif kind == "X509 CRL":
        CA.revoke([], Validity.of(HOUR), pem.revoked(data))
    else:
        read = pem.certificates(data)
        said(read[0])
        for step in (lambda: CA.revoke(read, Validity.of(HOUR)), lambda: Authority(read, KEY)):
            with suppress(Refused):
                step()


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(
    kind=st.sampled_from(["CERTIFICATE", "CERTIFICATE REQUEST", "X509 CRL"]),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3),
    cut=st.integers(0, 10),
)
def test_what_is_damaged_is_refused_if_it_cannot_be_used(kind: str, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(encoded()[kind])
    for place, value in changes:
        data[place % len(data)] = value
    with suppress(Refused):
        use(kind, in_pem(kind, bytes(data[: len(data) - cut])))


@pytest.mark.parametrize("kind", ["CERTIFICATE", "CERTIFICATE REQUEST", "X509 CRL"])
def test_what_is_whole_is_used(kind: str) -> None:
    use(kind, in_pem(kind, encoded()[kind]))


@pytest.mark.parametrize(("kind", "read"), [("CERTIFICATE", pem.certificates), ("CERTIFICATE REQUEST", pem.request)])
def test_an_extension_is_looked_at_when_it_is_read(kind: str, read: Callable[[bytes], object]) -> None:
    host = b"\x82\x0abooks.shop"
    damaged = encoded()[kind].replace(host, b"\x9f" + host[1:])
    with pytest.raises(Refused, match="or a damaged one"):
        read(in_pem(kind, damaged))
