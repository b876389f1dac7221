"""Requests for certificates: nothing is signed but the names that the signer said, and no more is granted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.pki import MISSING

pytest.importorskip("cryptography", reason=MISSING)

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meshproxy.certs import Refused
from meshproxy.certs.authority import Authority, Validity, new_key
from meshproxy.certs.names import Names, address
from meshproxy.certs.request import request, require_same, wanted

NAMES = Names("books", ("spiffe://cluster.local/ns/shop/sa/books",), ("books.shop",), (address("::1"),))
NO_USE = dict.fromkeys(
    "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
    "encipher_only decipher_only".split(),
    False,
)


def asked(*extensions: x509.ExtensionType, subject: x509.Name | None = None) -> x509.CertificateSigningRequest:
    """What another tool might send."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject or x509.Name([]))
    for each in extensions:
        builder = builder.add_extension(each, critical=True)
    return builder.sign(new_key(), SHA256())


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_request_says_its_names_and_its_key(kind: str) -> None:
    key = new_key(kind)
    found = wanted(request(NAMES, key))
    assert found.names == NAMES
    assert found.public_key == key.public_key()
    assert found.ignored == ()


def test_a_wrong_signature_is_refused() -> None:
    data = bytearray(request(NAMES, new_key()).public_bytes(Encoding.DER))
    # the host name, so that only the signature is wrong
    place = data.index(b"books.shop")
    data[place] ^= 1
    with pytest.raises(Refused, match="signature of the request is wrong"):
        wanted(x509.load_der_x509_csr(bytes(data)))


@pytest.mark.parametrize(
    "extension",
    [
        x509.BasicConstraints(ca=True, path_length=None),
        x509.KeyUsage(**NO_USE, key_cert_sign=True, crl_sign=False),
    ],
    ids=["CA", "signs certificates"],
)
def test_who_wants_to_be_a_ca_is_refused(extension: x509.ExtensionType) -> None:
    with pytest.raises(Refused, match="wants to be a CA"):
        wanted(asked(extension))


def test_nothing_of_a_request_is_granted_but_its_key() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    csr = asked(
        x509.SubjectAlternativeName([x509.DNSName("books.shop")]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]),
        unknown,
        subject=x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "root")]),
    )
    found = wanted(csr)
    assert found.ignored == ("O=root", "ExtendedKeyUsage (2.5.29.37)", "UnrecognizedExtension (1.2.3.4)")
    ca = Authority.root("one", "cluster.local", Validity.of(timedelta(days=2)), new_key())
    made = ca.issue(found.public_key, Names(dns=("books.shop",)), Validity.of(timedelta(days=1)))[0]
    assert made.subject == x509.Name([])
    assert "1.2.3.4" not in {part.oid.dotted_string for part in made.extensions}
    uses = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.CODE_SIGNING not in uses


def test_names_of_other_kinds_are_refused() -> None:
    with pytest.raises(Refused, match="neither URI, host name nor address: root@shop"):
        wanted(asked(x509.SubjectAlternativeName([x509.RFC822Name("root@shop")])))
    two = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in ("a", "b")])
    with pytest.raises(Refused, match="more than one common name: a, b"):
        wanted(asked(subject=two))


def test_host_names_are_the_same_in_capitals() -> None:
    assert wanted(asked(x509.SubjectAlternativeName([x509.DNSName("Books.Shop")]))).names == Names(dns=("books.shop",))


def test_weak_and_unusual_keys_are_refused() -> None:
    short, curve = rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP521R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    for csr in (
        builder.sign(short, SHA256()),
        builder.sign(curve, SHA256()),
        builder.sign(ed25519.Ed25519PrivateKey.generate(), None),
    ):
        with pytest.raises(Refused, match="neither EC"):
            wanted(csr)


@pytest.mark.parametrize(
    "said",
    [
        Names("books", NAMES.uris, ("books.shop",)),
        Names("", NAMES.uris, ("books.shop",), NAMES.addresses),
        Names("books", (), ("books.shop",), NAMES.addresses),
        Names("books", NAMES.uris, ("books.shop", "more.shop"), NAMES.addresses),
    ],
)
def test_names_have_to_be_those_that_are_said(said: Names) -> None:
    require_same(NAMES, NAMES)
    for one, other in ((said, NAMES), (NAMES, said)):
        with pytest.raises(Refused, match=r"asks for .*, and not for "):
            require_same(one, other)
