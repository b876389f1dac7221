"""Certificates: what others read in them, we read; what nobody should write is never half understood."""

from __future__ import annotations

import base64
import hashlib
import shutil
import ssl
import subprocess
import time
import warnings
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.x509 import (
    LARGEST,
    LARGEST_NAME,
    LONGEST_TYPE,
    LONGEST_URI,
    Certificate,
    Unreadable,
    blocks,
    read,
)
from tests.examples import examples

fuzz = examples(200, deadline=None)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")

# Writing


def der(tag: int, *parts: bytes) -> bytes:
    value = b"".join(parts)
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 + len(digits)]) + digits + value


def seq(*parts: bytes) -> bytes:
    return der(0x30, *parts)


CN, ORG, C, OU, MAIL = (bytes.fromhex(kind) for kind in ("550403", "55040a", "550406", "55040b", "2a864886f70d010901"))
SAN, CONSTRAINTS, USAGE = (bytes.fromhex(kind) for kind in ("551d11", "551d13", "551d0f"))
ALGORITHM = seq(der(6, bytes.fromhex("2a8648ce3d040302")))
KEY = seq(ALGORITHM, der(3, bytes(66)))
UTF8, PRINTABLE, TELETEX, IA5, UNIVERSAL, BMP = 0x0C, 0x13, 0x14, 0x16, 0x1C, 0x1E


def attribute(kind: bytes, value: bytes | str, tag: int = UTF8) -> bytes:
    return seq(der(6, kind), der(tag, value.encode() if isinstance(value, str) else value))


def rdn(*attributes: bytes) -> bytes:
    return der(0x31, *attributes)


def name(*groups: bytes) -> bytes:
    return seq(*groups)


def cn(value: bytes | str, tag: int = UTF8) -> bytes:
    return name(rdn(attribute(CN, value, tag)))


def validity(first: bytes = b"260101000000Z", last: bytes = b"99991231235959Z") -> bytes:
    return seq(*(der(0x18 if len(text) > 13 else 0x17, text) for text in (first, last)))


def extension(kind: bytes, value: bytes, critical: bytes = b"") -> bytes:
    return seq(der(6, kind), critical, der(4, value))


def names(*values: bytes) -> bytes:
    return extension(SAN, seq(*values))


def dns(value: bytes) -> bytes:
    return der(0x82, value)


def uri(value: bytes) -> bytes:
    return der(0x86, value)


def constraints(*parts: bytes) -> bytes:
    return extension(CONSTRAINTS, seq(*parts), der(1, b"\xff"))


V3 = der(0xA0, der(2, b"\2"))
SERIAL, ISSUER, SUBJECT = der(2, b"\7"), cn("ca"), cn("books")


def certificate(
    *extensions: bytes,
    version: bytes = V3,
    serial: bytes = SERIAL,
    issuer: bytes = ISSUER,
    valid: bytes | None = None,
    subject: bytes = SUBJECT,
    unique: bytes = b"",
    rest: bytes | None = None,
) -> bytes:
    """`rest` stands for the whole list of extensions, tags and all."""
    if rest is None:
        rest = der(0xA3, seq(*extensions)) if extensions else b""
    parts = (version, serial, ALGORITHM, issuer, validity() if valid is None else valid, subject, KEY, unique, rest)
    return seq(seq(*parts), ALGORITHM, der(3, bytes(71)))


def refusal(data: bytes) -> str:
    with pytest.raises(Unreadable) as refused:
        read(data)
    return str(refused.value)


# Reading what is right


def test_a_certificate_with_all_that_there_is() -> None:
    data = certificate(
        names(dns(b"Books.shop"), dns(b"*.shop"), uri(b"spiffe://cluster.local/ns/shop/sa/books"),
              der(0x87, b"\x0a\0\0\1"), der(0x87, bytes(15) + b"\1"), der(0x81, b"a@b"), der(0xA0, b"?")),
        constraints(der(1, b"\xff"), der(2, b"\0")),
        subject=name(rdn(attribute(C, "DE", PRINTABLE)), rdn(attribute(ORG, "Mesh, Inc.")), rdn(attribute(CN, "a"))),
    )  # fmt: skip
    assert read(data) == Certificate(
        serial=7,
        subject="CN=a,O=Mesh\\, Inc.,C=DE",
        issuer="CN=ca",
        common_name="a",
        not_before=1767225600,
        not_after=253402300799,
        dns=("books.shop", "*.shop"),
        uris=("spiffe://cluster.local/ns/shop/sa/books",),
        ips=("10.0.0.1", "::1"),
        is_ca=True,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def test_a_certificate_with_nothing() -> None:
    found = read(certificate(version=b"", issuer=name(), subject=name()))
    assert (found.subject, found.issuer, found.common_name, found.identity) == ("", "", "", "")
    assert (found.dns, found.uris, found.ips, found.is_ca) == ((), (), (), False)


@pytest.mark.parametrize(
    ("subject", "text", "common_name"),
    [
        (cn("a,b+c\"d\\e<f>g;h=i"), 'CN=a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h=i', "a,b+c\"d\\e<f>g;h=i"),
        (cn(" a b "), "CN=\\ a b\\ ", " a b "),
        (cn("#a#"), "CN=\\#a#", "#a#"),
        (cn(" "), "CN=\\ ", " "),
        (cn(""), "CN=", ""),
        (cn("Zoë"), "CN=Zoë", "Zoë"),
        (cn("Zo\xeb".encode("latin-1"), TELETEX), "CN=Zoë", "Zoë"),
        (cn("Zoë".encode("utf-16-be"), BMP), "CN=Zoë", "Zoë"),
        (cn("Zoë".encode("utf-32-be"), UNIVERSAL), "CN=Zoë", "Zoë"),
        (cn("*.shop", PRINTABLE), "CN=*.shop", "*.shop"),
        (name(rdn(attribute(CN, "Users")), rdn(attribute(CN, "zoe"))), "CN=zoe,CN=Users", "zoe"),
        (name(rdn(attribute(CN, "a"), attribute(OU, "b"))), "CN=a+OU=b", "a"),
        (name(rdn(attribute(MAIL, "a@b", IA5))), "emailAddress=a@b", ""),
        (name(rdn(attribute(b"\x55\x04\x61", "x"))), "2.5.4.97=#0c0178", ""),
        (name(rdn(attribute(b"\x88\x37\x83\x00", b"\0", 0x03))), "2.999.384=#030100", ""),
        (name(rdn(attribute(b"\x27\x50", b"\0", 0x05))), "0.39.80=#050100", ""),
        (name(rdn(attribute(b"\x55\x7f", b"", 0x05))), "2.5.127=#0500", ""),
        (name(rdn(attribute(b"\x28", b"", 0x05))), "1.0=#0500", ""),
    ],
)  # fmt: skip
def test_names_as_text(subject: bytes, text: str, common_name: str) -> None:
    found = read(certificate(subject=subject, issuer=subject))
    assert (found.subject, found.issuer, found.common_name) == (text, text, common_name)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        (b"700101000000Z", 0),
        (b"500101000000Z", -631152000),
        (b"491231235959Z", 2524607999),
        (b"240229120001Z", 1709208001),
        (b"20500101000000Z", 2524608000),
        (b"19700101000001Z", 1),
        (b"99991231235959Z", 253402300799),
    ],
)
def test_times(text: bytes, when: int) -> None:
    assert read(certificate(valid=validity(text, text))).not_before == when
    assert read(certificate(valid=validity(text, text))).not_after == when


@pytest.mark.parametrize(
    ("value", "serial"),
    [
        (b"\0", 0),
        (b"\xff", -1),
        (b"\0\x80", 128),
        (b"\xff\x7f", -129),
        (b"\x7f" + b"\xff" * 19, 2**159 - 1),
        (b"\0" + b"\xff" * 20, 2**160 - 1),
    ],
)
def test_serials(value: bytes, serial: int) -> None:
    assert read(certificate(serial=der(2, value))).serial == serial


@pytest.mark.parametrize(
    ("parts", "is_ca"),
    [
        ((), False),
        ((der(1, b"\0"),), False),  # not as it should be written, and often met
        ((der(1, b"\xff"),), True),
        ((der(2, b"\0"),), False),
        ((der(1, b"\xff"), der(2, b"\0")), True),
    ],
)
def test_constraints(parts: tuple[bytes, ...], is_ca: bool) -> None:
    assert read(certificate(constraints(*parts))).is_ca is is_ca


def test_numbers_of_issuer_and_subject_are_stepped_over() -> None:
    assert read(certificate(names(dns(b"a")), unique=der(0x81, b"\0\1") + der(0x82, b"\0\1"))).dns == ("a",)
    assert read(certificate(unique=der(0x82, b"\0\1"), version=der(0xA0, der(2, b"\1")))).common_name == "books"


# Who is it?

ID = b"spiffe://cluster.local/ns/shop/sa/books"


@pytest.mark.parametrize(
    ("found", "identity"),
    [
        ([uri(ID)], ID.decode()),
        ([dns(b"books.shop"), uri(ID), dns(b"b")], ID.decode()),
        ([uri(b"spiffe://cluster.local")], "spiffe://cluster.local"),
        ([uri(b"spiffe://a-b_c.1/.../A-b_c.1")], "spiffe://a-b_c.1/.../A-b_c.1"),
        # SPIFFE: there must not be another URI
        ([uri(ID), uri(ID)], ""),
        ([uri(ID), uri(b"https://shop/"), dns(b"books.shop")], ""),
        ([uri(b"https://shop/"), uri(ID), dns(b"books.shop")], ""),
        # an ID of a wrong form is not another kind of name
        ([uri(b"SPIFFE://cluster.local/a"), dns(b"books.shop")], ""),
        ([uri(b"spiffe:cluster.local"), dns(b"books.shop")], ""),
        ([uri(b"spiffe:///ns/shop"), dns(b"books.shop")], ""),
        ([uri(b"spiffe://Cluster.local/a")], ""),
        ([uri(b"spiffe://cluster.local:80/a")], ""),
        ([uri(b"spiffe://u@cluster.local/a")], ""),
        ([uri(b"spiffe://cluster.local/")], ""),
        ([uri(b"spiffe://cluster.local/a/")], ""),
        ([uri(b"spiffe://cluster.local/a//b")], ""),
        ([uri(b"spiffe://cluster.local/a/../b")], ""),
        ([uri(b"spiffe://cluster.local/.")], ""),
        ([uri(b"spiffe://cluster.local/a%2fb")], ""),
        ([uri(b"spiffe://cluster.local/a?b")], ""),
        ([uri(b"spiffe://cluster.local/a#b")], ""),
        ([uri(b"spiffe://" + b"a" * 256)], ""),
        # DNS
        ([dns(b"Books.shop"), dns(b"b")], "books.shop"),
        ([uri(b"https://shop/"), dns(b"b")], "b"),
        # the common name
        ([uri(b"https://shop/")], "books"),
        ([der(0x87, bytes(4))], "books"),
    ],
)
def test_identity(found: list[bytes], identity: str) -> None:
    assert read(certificate(names(*found))).identity == identity
    assert read(certificate(names(*found))).by_subject == "books"


@pytest.mark.parametrize("common_name", ["spiffe://cluster.local/a", "shop/books", "/"])
def test_a_common_name_is_not_taken_for_another_kind_of_name(common_name: str) -> None:
    found = read(certificate(subject=cn(common_name)))
    assert (found.common_name, found.identity, found.by_subject) == (common_name, "", "")


# Refusing what is wrong

FORM = "a length of a wrong form"
SHORT = "an element that is cut short"
OTHER = "other parts than belong there"


def padded(size: int) -> bytes:
    """With an extension that nobody knows, so that it has this size."""
    room = size - len(certificate(extension(USAGE, bytes(60000)))) + 60000
    return certificate(extension(USAGE, bytes(room)))


LONG = certificate(names(*[dns(b"a" * 200)] * 2))

BAD = {
    "nothing": (b"", OTHER),
    "one byte": (b"\x30", SHORT),
    "PEM": (b"-----BEGIN CERTIFICATE-----\n", SHORT),
    "an indefinite length": (b"\x30\x80" + certificate()[3:] + bytes(2), FORM),
    "a length in more bytes than need be": (b"\x30\x83\0" + LONG[2:4] + LONG[4:], FORM),
    "a length in one byte that needs none": (certificate(serial=b"\2\x81\1\7"), FORM),
    "a length of 127 in two": (certificate(serial=b"\2\x81\x7f" + bytes(127)), FORM),
    "a length without its bytes": (b"\x30\x82", FORM),
    "half a length": (b"\x30\x82\1", FORM),
    "the longest length": (b"\x30\xff" + b"\xff" * 127, SHORT),
    "a byte left over": (certificate() + b"\0", SHORT),
    "an element left over": (certificate() + seq(), OTHER),
    "too large": (padded(LARGEST + 1), f"more than {LARGEST} bytes"),
    "another tag": (b"\x31" + certificate()[1:], OTHER),
    "no signature": (seq(seq(), ALGORITHM), OTHER),
    "a signature that is no bits": (seq(seq(), ALGORITHM, der(4, bytes(8))), OTHER),
    "nothing signed": (seq(seq(), ALGORITHM, der(3, bytes(8))), "other parts than a certificate has"),
    "no serial": (certificate(serial=b""), "other parts than a certificate has"),
    "two serials": (certificate(serial=SERIAL * 2), "other parts than a certificate has"),
    "version 4": (certificate(version=der(0xA0, der(2, b"\3"))), "other parts than a certificate has"),
    "two versions": (certificate(version=der(0xA0, der(2, b"\2") * 2)), OTHER),
    "a version twice": (certificate(version=V3 * 2), "other parts than a certificate has"),
    "two lists of extensions": (
        certificate(names(dns(b"a")), unique=der(0xA3, seq(names(dns(b"b"))))), "other parts than a certificate has"
    ),
    "an unknown part": (certificate(unique=der(0xA4, b"")), "other parts than a certificate has"),
    "parts out of order": (certificate(unique=der(0x82, b"") + der(0x81, b"")), "other parts than a certificate has"),
    "extensions in version 1": (certificate(names(dns(b"a")), version=b""), "extensions before version 3"),
    "extensions in version 2": (
        certificate(names(dns(b"a")), version=der(0xA0, der(2, b"\1"))), "extensions before version 3"
    ),
    "extensions in no list": (certificate(rest=der(0xA3, b"")), OTHER),
    "extensions in two lists": (certificate(rest=der(0xA3, seq() * 2)), OTHER),
    "an extension of another tag": (certificate(der(0x31)), OTHER),
    "an extension without a value": (certificate(seq(der(6, SAN))), "other parts than an extension has"),
    "an extension with two values": (
        certificate(seq(der(6, USAGE), der(4), der(4))), "other parts than an extension has"
    ),
    "an extension twice": (certificate(names(dns(b"a")), names(dns(b"b"))), "an extension that is there twice"),
    "an empty one twice": (certificate(*[extension(USAGE, b"")] * 2), "an extension that is there twice"),
    "a boolean that is neither": (certificate(extension(USAGE, b"", der(1, b"\1"))), "a boolean that is neither"),
    "a boolean of two bytes": (certificate(extension(USAGE, b"", der(1, b"\xff\xff"))), "a boolean that is neither"),
    "CA in two ways": (certificate(constraints(der(1, b"\xff"), der(1, b"\0"))), "other parts than constraints have"),
    "CA by a number that is none": (certificate(constraints(der(1, b"\2"))), "a boolean that is neither"),
    "constraints and more": (certificate(extension(CONSTRAINTS, seq() + b"\0")), SHORT),
    "names and more": (certificate(extension(SAN, seq(dns(b"a")) * 2)), OTHER),
    "a serial of no bytes": (certificate(serial=der(2)), "a number of a wrong form"),
    "a serial with zeros": (certificate(serial=der(2, b"\0\x7f")), "a number of a wrong form"),
    "a serial with ones": (certificate(serial=der(2, b"\xff\x80")), "a number of a wrong form"),
    "a large serial": (certificate(serial=der(2, b"\1" + bytes(20))), "a serial of more than 20 bytes"),
    "a huge serial": (certificate(serial=der(2, b"\1" * 60000)), "a serial of more than 20 bytes"),
    "a small serial": (certificate(serial=der(2, b"\xfe" + bytes(20))), "a serial of more than 20 bytes"),
    "one time": (certificate(valid=seq(der(0x17, b"260101000000Z"))), "other parts than a validity has"),
    "three times": (certificate(valid=seq(*[der(0x17, b"260101000000Z")] * 3)), "other parts than a validity has"),
    "a time that is none": (certificate(valid=seq(*[der(0x16, b"260101000000Z")] * 2)), "a time of a wrong form"),
    "a short time of the long kind": (
        certificate(valid=seq(*[der(0x18, b"260101000000Z")] * 2)), "a time of a wrong form"
    ),
    "a long time of the short kind": (
        certificate(valid=seq(*[der(0x17, b"20260101000000Z")] * 2)), "a time of a wrong form"
    ),
    "no seconds": (certificate(valid=validity(b"2601010000Z")), "a time of a wrong form"),
    "no Z": (certificate(valid=validity(b"2601010000000")), "a time of a wrong form"),
    "another zone": (certificate(valid=validity(b"260101000000+0100")), "a time of a wrong form"),
    "parts of a second": (certificate(valid=validity(b"20260101000000.5Z")), "a time of a wrong form"),
    "a sign": (certificate(valid=validity(b"26010100000-Z")), "a time of a wrong form"),
    "digits that are none": (certificate(valid=validity(b"2601010000 0Z")), "a time of a wrong form"),
    "no such day": (certificate(valid=validity(b"250229000000Z")), "a time that there is none of"),
    "no such month": (certificate(valid=validity(b"251329000000Z")), "a time that there is none of"),
    "no such second": (certificate(valid=validity(b"250101000060Z")), "a time that there is none of"),
    "no such year": (certificate(valid=validity(b"00000101000000Z")), "a time that there is none of"),
    "a NUL in a name": (certificate(subject=cn("books\0.evil")), "a string with characters that cannot be seen"),
    "a line feed in a name": (certificate(issuer=cn("ca\n")), "a string with characters that cannot be seen"),
    "a control of T.61": (certificate(subject=cn(b"a\x85", TELETEX)), "a string with characters that cannot be seen"),
    "a mark of direction": (certificate(subject=cn("a\u202eb")), "a string with characters that cannot be seen"),
    "a space without width": (certificate(subject=cn("a\u200bb")), "a string with characters that cannot be seen"),
    "no UTF-8": (certificate(subject=cn(b"\xc0\x80")), "a string of other characters than its kind has"),
    "more than ASCII": (certificate(subject=cn("ë", IA5)), "a string of other characters than its kind has"),
    "half a character": (certificate(subject=cn(b"\0a\0", BMP)), "a string of other characters than its kind has"),
    "half a pair": (certificate(subject=cn(b"\xd8\0", BMP)), "a string of other characters than its kind has"),
    "a name that is no string": (certificate(subject=cn(b"\1", 0x02)), "a string of an unknown kind"),
    "a name that is too long": (certificate(subject=cn("a" * LARGEST_NAME)), "a name of more than 2048 bytes"),
    "an empty group": (certificate(subject=name(rdn())), "other parts than a name has"),
    "a group that is none": (certificate(subject=name(seq(attribute(CN, "a")))), OTHER),
    "an attribute that is none": (certificate(subject=name(rdn(der(0x31, b"")))), OTHER),
    "an attribute without a value": (
        certificate(subject=name(rdn(seq(der(6, CN))))), "other parts than an attribute has"
    ),
    "an attribute with two values": (
        certificate(subject=name(rdn(seq(der(6, CN), der(12), der(12))))), "other parts than an attribute has"
    ),
    "an attribute without a type": (
        certificate(subject=name(rdn(seq(der(12), der(12))))), "other parts than an attribute has"
    ),
    "two common names at once": (
        certificate(subject=name(rdn(attribute(CN, "a"), attribute(CN, "b")))), "an attribute that is there twice"
    ),
    "an empty type": (certificate(subject=name(rdn(attribute(b"", "a")))), "a type of a wrong form"),
    "a type cut short": (certificate(subject=name(rdn(attribute(b"\x55\x84", "a")))), "a type of a wrong form"),
    "a type with zeros": (certificate(subject=name(rdn(attribute(b"\x55\x80\4", "a")))), "a type of a wrong form"),
    "a type too long": (
        certificate(subject=name(rdn(attribute(b"\x55" * (LONGEST_TYPE + 1), "a")))), "a type of a wrong form"
    ),
    "an empty DNS name": (certificate(names(dns(b""))), "a DNS name that is none"),
    "a NUL in a DNS name": (certificate(names(dns(b"books.shop\0.evil"))), "a DNS name that is none"),
    "a space in a DNS name": (certificate(names(dns(b"books shop"))), "a DNS name that is none"),
    "a line feed behind a DNS name": (certificate(names(dns(b"books.shop\n"))), "a DNS name that is none"),
    "a URI as a DNS name": (certificate(names(dns(ID))), "a DNS name that is none"),
    "letters outside ASCII in a DNS name": (certificate(names(dns("bücher".encode()))), "a DNS name that is none"),
    "a DNS name too long": (certificate(names(dns(b"a" * 254))), "a DNS name that is none"),
    "an empty URI": (certificate(names(uri(b""))), "a URI that is none"),
    "a URI without a scheme": (certificate(names(uri(b"//shop/"))), "a URI that is none"),
    "a NUL in a URI": (certificate(names(uri(ID + b"\0x"))), "a URI that is none"),
    "a line feed behind a URI": (certificate(names(uri(ID + b"\n"))), "a URI that is none"),
    "a quote in a URI": (certificate(names(uri(ID + b'"'))), "a URI that is none"),
    "letters outside ASCII in a URI": (certificate(names(uri(ID + b"\xc3\xab"))), "a URI that is none"),
    "a URI too long": (certificate(names(uri(b"a:" + b"b" * (LONGEST_URI - 1)))), "a URI that is none"),
    "an address of 5 bytes": (certificate(names(der(0x87, bytes(5)))), "an IP address that is none"),
    "an address with its mask": (certificate(names(der(0x87, bytes(8)))), "an IP address that is none"),
    "a name of an unknown kind": (certificate(names(der(0x89, b""))), "a name of an unknown kind"),
    "a DNS name in parts": (certificate(names(der(0xA2, dns(b"a")))), "a name of an unknown kind"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "why"), BAD.values(), ids=BAD)
def test_what_is_refused(data: bytes, why: str) -> None:
    assert refusal(data) == why


def test_the_longest_of_all_are_read() -> None:
    longest = b"a:" + b"b" * (LONGEST_URI - 2)
    kind = b"\x55" * LONGEST_TYPE
    text = "x" * (LARGEST_NAME - len(rdn(attribute(CN, "x" * 1000))) + 1000)
    issuer = name(rdn(attribute(kind, "")))
    found = read(certificate(names(uri(longest), dns(b"a" * 253)), subject=cn(text), issuer=issuer))
    assert found.uris == (longest.decode(),)
    assert len(found.dns[0]) == 253
    assert found.common_name == text
    assert found.issuer.startswith("2.5.85.85.")
    assert len(padded(LARGEST)) == LARGEST
    assert read(padded(LARGEST)).common_name == "books"


def test_every_end_is_too_early() -> None:
    whole = certificate(names(dns(b"a"), uri(ID)), constraints())
    for end in range(len(whole)):
        refusal(whole[:end])


# PEM


def pem(data: bytes, label: str = "CERTIFICATE") -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(data).decode()}-----END {label}-----\n"


ONE, TWO = certificate(), certificate(names(dns(b"two")))


def test_blocks_of_one_label_in_order() -> None:
    text = "# two\n" + pem(TWO) + pem(b"secret", "PRIVATE KEY") + "\nsubject=one\n" + pem(ONE).replace("\n", "\r\n")
    assert blocks(text, "CERTIFICATE") == [TWO, ONE]
    assert blocks(text, "PRIVATE KEY") == [b"secret"]
    assert blocks(text, "X509 CRL") == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no PEM block"),
        ("certificate", "no PEM block"),
        (pem(ONE)[:-5], "a PEM block that does not end"),
        (pem(ONE, "PRIVATE KEY")[:-5], "a PEM block that does not end"),
        (pem(ONE)[5:], "a PEM block without its end or its beginning"),
        (pem(ONE).replace("-----END CERTIFICATE-----", "") + pem(ONE), "a PEM block without its end or its beginning"),
        (pem(ONE).replace("END CERTIFICATE", "END X509 CRL"), "a PEM block without its end or its beginning"),
        (pem(ONE).replace("BEGIN", "END"), "a PEM block without its end or its beginning"),
        (pem(ONE).replace("M", "?", 1), "a PEM block that is not base64"),
        (pem(ONE).replace("\n", "\nProc-Type: 4,ENCRYPTED\n", 1), "a PEM block that is not base64"),
        (pem(b"1234").replace("=", ""), "a PEM block that is not base64"),
        (pem(b"1").replace("=\n", "=\nMQ==\n"), "a PEM block that is not base64"),
        (pem(b"1").replace("M", "é"), "a PEM block that is not base64"),
    ],
)
def test_blocks_that_are_none(text: str, why: str) -> None:
    with pytest.raises(Unreadable) as refused:
        blocks(text, "CERTIFICATE")
    assert str(refused.value) == why


# What others make and read


def read_by_ssl(data: bytes, path: Path) -> dict[str, Any]:
    """Python's ssl, that is OpenSSL; it wants a file."""
    path.write_text(ssl.DER_cert_to_PEM_cert(data))
    found: dict[str, Any] = ssl._ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]
    return found


def agrees(ours: Certificate, theirs: dict[str, Any]) -> None:
    assert ours.not_before == ssl.cert_time_to_seconds(theirs["notBefore"])
    assert ours.not_after == ssl.cert_time_to_seconds(theirs["notAfter"])
    assert ours.serial == int(theirs["serialNumber"], 16)
    names = [pair for pair in theirs.get("subjectAltName", ()) if pair[0] in ("DNS", "URI")]
    assert [("DNS", value) for value in ours.dns] == [(kind, value.lower()) for kind, value in names if kind == "DNS"]
    assert [("URI", value) for value in ours.uris] == [pair for pair in names if pair[0] == "URI"]
    common = [value for group in theirs["subject"] for kind, value in group if kind == "commonName"]
    assert ours.common_name == (common or [""])[-1]


def test_whom_this_machine_trusts() -> None:
    context = ssl.create_default_context()
    trusted = list(zip(context.get_ca_certs(binary_form=True), context.get_ca_certs(), strict=True))
    if not trusted:
        pytest.skip("no certificates of authorities on this machine")
    for data, theirs in trusted:
        ours = read(data)
        agrees(ours, dict(theirs))
        assert ours.is_ca


def openssl(*words: str | Path, cwd: Path) -> str:
    return subprocess.run(["openssl", *words], cwd=cwd, check=True, capture_output=True, text=True, timeout=60).stdout


SUBJECTS = [
    "/C=DE/O=Mesh, Inc./OU=a+b/CN=books",
    "/CN= books /emailAddress=a@b",
    "/DC=local/DC=shop/UID=7/CN=Zoë",
    "/serialNumber=1/L=b/ST=c/CN=#1",
]
ALTERNATIVES = [
    "",
    "subjectAltName=DNS:Books.shop,DNS:*.shop,IP:10.0.0.1,IP:::1,email:a@b",
    f"subjectAltName=URI:{ID.decode()},DNS:a,RID:1.2.3,otherName:1.2.3;UTF8:x",
]


@needs_openssl
@pytest.mark.parametrize("alternatives", ALTERNATIVES)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_certificates_of_openssl(subject: str, alternatives: str, tmp_path: Path) -> None:
    conf = f"[req]\ndistinguished_name=v3\n[v3]\nbasicConstraints=CA:FALSE\n{alternatives}\n"
    (tmp_path / "conf").write_text(conf)
    openssl(
        "req", "-x509", "-config", "conf", "-extensions", "v3", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "36500", "-utf8", "-subj", subject, cwd=tmp_path,
    )  # fmt: skip
    (data,) = blocks((tmp_path / "cert.pem").read_text(), "CERTIFICATE")
    ours = read(data)
    agrees(ours, read_by_ssl(data, tmp_path / "again.pem"))
    shown = openssl(
        "x509", "-in", "cert.pem", "-noout", "-subject", "-issuer", "-fingerprint", "-sha256",
        "-nameopt", "RFC2253,utf8,-esc_msb", cwd=tmp_path,
    )  # fmt: skip
    lines = dict(line.split("=", 1) for line in shown.splitlines())
    assert ours.subject == lines["subject"]
    assert ours.issuer == lines["issuer"]
    assert ours.sha256 == lines["sha256 Fingerprint"].replace(":", "").lower()
    assert ours.ips == (("10.0.0.1", "::1") if "IP:" in alternatives else ())
    assert not ours.is_ca


@pytest.fixture(scope="module")
def x509() -> Any:
    return pytest.importorskip("cryptography.x509", reason="no cryptography on this machine")


@pytest.mark.parametrize("days", [1, 20000, 40000, 2932896])
@pytest.mark.parametrize("ca", [False, True])
@pytest.mark.parametrize("alternatives", [(), (b"Books.shop", ID)])
def test_certificates_of_cryptography(
    days: int, ca: bool, alternatives: tuple[bytes, ...], x509: Any, tmp_path: Path
) -> None:
    ec, hashes, serialization = (
        import_module(f"cryptography.hazmat.primitives.{module}")
        for module in ("asymmetric.ec", "hashes", "serialization")
    )
    oid, kinds = x509.oid.NameOID, x509.name._ASN1Type
    subject = [
        [x509.NameAttribute(oid.COUNTRY_NAME, "DE")],
        [x509.NameAttribute(oid.ORGANIZATION_NAME, ' "Mesh", <Inc.>; ')],
        [
            x509.NameAttribute(oid.COMMON_NAME, "#Zoë", _type=kinds.BMPString),
            x509.NameAttribute(oid.USER_ID, "1", _type=kinds.PrintableString),
        ],
    ]
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.RelativeDistinguishedName(group) for group in subject]))
        .issuer_name(x509.Name([x509.NameAttribute(oid.COMMON_NAME, "ca\\")]))
        .public_key(key.public_key())
        .serial_number((1 << 159) - days)
        .not_valid_before(datetime(1960, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime.fromtimestamp(days * 86400, UTC))
        .add_extension(x509.BasicConstraints(ca, 0 if ca else None), critical=True)
    )
    if alternatives:
        host, uri = (value.decode() for value in alternatives)
        both = x509.SubjectAlternativeName([x509.DNSName(host), x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(both, critical=False)
    theirs = builder.sign(key, hashes.SHA256())
    data = theirs.public_bytes(serialization.Encoding.DER)
    ours = read(data)
    assert ours == Certificate(
        serial=theirs.serial_number,
        subject=theirs.subject.rfc4514_string(),
        issuer=theirs.issuer.rfc4514_string(),
        common_name="#Zoë",
        not_before=int(theirs.not_valid_before_utc.timestamp()),
        not_after=days * 86400,
        dns=("books.shop",) if alternatives else (),
        uris=(ID.decode(),) if alternatives else (),
        ips=(),
        is_ca=ca,
        sha256=theirs.fingerprint(hashes.SHA256()).hex(),
    )
    agrees(ours, read_by_ssl(data, tmp_path / "cert.pem"))


# What nobody should make


def either(data: bytes) -> Certificate | None:
    try:
        found = read(data)
    except Unreadable:
        return None
    shown = [found.subject, found.issuer, found.common_name, found.identity]
    assert all(text.isprintable() for text in shown)
    assert all(text.isascii() and text.isprintable() and " " not in text for text in (*found.dns, *found.uris))
    assert -(2**160) < found.serial < 2**160
    return found


@fuzz
@given(st.binary(max_size=200))
def test_any_bytes_are_a_certificate_or_unreadable(data: bytes) -> None:
    either(data)


TREES = st.recursive(
    st.builds(der, st.sampled_from([1, 2, 3, 4, 5, 6, 0x0C, 0x17, 0x82, 0x86]), st.binary(max_size=20)),
    lambda parts: st.lists(parts, max_size=4).map(lambda some: seq(*some)),
    max_leaves=6,
)


@fuzz
@given(st.lists(TREES, max_size=3), st.sampled_from(["subject", "issuer", "valid", "serial", "rest"]))
def test_other_trees_in_the_place_of_a_part(trees: list[bytes], part: str) -> None:
    tree = b"".join(trees)
    replaced: dict[str, Any] = {part: der(0xA3, tree) if part == "rest" else tree}
    either(certificate(names(dns(b"a")), **replaced))
    either(certificate(extension(SAN, tree), extension(CONSTRAINTS, tree)))


WHOLE = certificate(
    names(dns(b"books.shop"), uri(ID), der(0x87, bytes(4))),
    constraints(der(1, b"\xff")),
    subject=name(rdn(attribute(C, "DE")), rdn(attribute(CN, "books"))),
)


@fuzz
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_what_is_read_in_damaged_certificates_others_read_there_too(x509: Any, damage: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for at, byte in damage:
        data[at] = byte
    ours = either(bytes(data))
    if ours is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # serials below zero
        try:
            theirs = x509.load_der_x509_certificate(bytes(data))
            serial = theirs.serial_number
            found = theirs.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, x509.ExtensionNotFound):
            return
    assert ours.serial == serial
    assert ours.dns == tuple(value.lower() for value in found.get_values_for_type(x509.DNSName))
    assert ours.uris == tuple(found.get_values_for_type(x509.UniformResourceIdentifier))


@pytest.mark.parametrize(
    "data",
    [
        certificate(names(*[der(0x81)] * 32000)),
        certificate(names(*[dns(b"a")] * 21000)),
        certificate(names(*[uri(b"spiffe://a" + b"/a" * 1000)] * 31)),
        certificate(*[extension(number.to_bytes(3, "big"), b"") for number in range(6500)]),
        certificate(serial=der(2, b"\x7f" * 65000)),
        certificate(subject=name(*[rdn(attribute(number.to_bytes(2, "big"), "")) for number in range(150)])),
        seq(*[b"\x30\0"] * 32000),
        b"\x30\x83\0\xff\xff" * 13000,
        seq(seq(b"\x02\x84\xff\xff\xff\xff" * 10000)),
    ],
)
def test_the_largest_take_no_longer_than_their_size_says(data: bytes) -> None:
    started = time.process_time()
    found = either(data)
    assert found is None or len(found.identity) < LARGEST
    assert time.process_time() - started < 1
