"""What is issued is what OpenSSL and Python's ssl accept, and what should not be accepted is refused by both."""

from __future__ import annotations

import ssl
import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.pki import Ca, Pair, Pki


def openssl(*arguments: str | Path) -> str:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    return done.stdout + done.stderr


def verified(ca: Ca, pair: Pair, *options: str | Path) -> str:
    chain = ("-untrusted", pair.certificate, pair.certificate)
    return openssl("verify", "-x509_strict", "-CAfile", ca.root, *options, *chain)


def text(path: Path) -> str:
    return " ".join(openssl("x509", "-noout", "-text", "-in", path).split())


def shaken(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends after a handshake, without a socket."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [server.wrap_bio(up, down, server_side=True), client.wrap_bio(down, up, server_hostname=name)]
    for _ in range(4):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    # TLS 1.3: the client is done before the server has looked at its certificate
    ends[0].write(b"hello")
    assert ends[1].read() == b"hello"
    return ends[0], ends[1]


def server_side(ca: Ca, pair: Pair) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca.root))
    context.load_cert_chain(pair.certificate, pair.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def client_side(ca: Ca, pair: Pair) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca.root))
    context.load_cert_chain(pair.certificate, pair.key)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def uris(end: ssl.SSLObject) -> list[str]:
    said: Any = end.getpeercert()
    return [value for kind, value in said["subjectAltName"] if kind == "URI"]


@pytest.mark.parametrize("key", ["ec", "rsa"])
@pytest.mark.parametrize("below", [False, True], ids=["root", "intermediate"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_two_workloads_prove_who_they_are(pki: Pki, key: str, below: bool, version: ssl.TLSVersion) -> None:
    root = pki.ca(key=key)
    ca = root.below() if below else root
    books = ca.issue("shop/books", dns=["books.shop"], ips=["127.0.0.1", "::1"], key=key)
    buyer = ca.issue("shop/buyer", key=key)
    assert verified(root, books) == f"{books.certificate}: OK\n"
    server, client = server_side(root, books), client_side(root, buyer)
    client.maximum_version = client.minimum_version = version
    for name in ("books.shop", "127.0.0.1", "::1"):
        served, asked = shaken(server, client, name)
        assert uris(served) == ["spiffe://cluster.local/ns/shop/sa/buyer"]
        assert uris(asked) == ["spiffe://cluster.local/ns/shop/sa/books"]
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shaken(server, client, "other.shop")


def test_one_who_may_only_serve_is_no_client_and_the_other_way_round(pki: Pki) -> None:
    ca = pki.ca()
    served, asked = (ca.issue("shop/books", dns=["books.shop"], roles=[role]) for role in ("server", "client"))
    shaken(server_side(ca, served), client_side(ca, asked), "books.shop")
    for server, client in ((asked, asked), (served, served)):
        with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
            shaken(server_side(ca, server), client_side(ca, client), "books.shop")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"start": -2, "days": 1}, "certificate has expired"),
        ({"start": 1}, "certificate is not yet valid"),
    ],
)
def test_time_is_said_as_it_was_asked_for(pki: Pki, made: dict[str, Any], words: str) -> None:
    ca = pki.ca()
    assert words in verified(ca, ca.issue("shop/books", **made))


def test_another_ca_of_the_same_name_is_another_one(pki: Pki) -> None:
    assert "unable to get local issuer certificate" in verified(pki.ca(), pki.ca().issue("shop/books"))


def test_a_list_names_the_revoked_and_no_other(pki: Pki) -> None:
    ca = pki.ca()
    bad, good = ca.issue("shop/books"), ca.issue("shop/books")
    revoked = ca.crl([bad])
    assert "certificate revoked" in verified(ca, bad, "-crl_check", "-CRLfile", revoked)
    assert verified(ca, good, "-crl_check", "-CRLfile", revoked).endswith("OK\n")
    assert "CRL has expired" in verified(ca, good, "-crl_check", "-CRLfile", ca.crl(start=-2, days=1))


def test_extensions_say_what_a_workload_and_a_ca_may_do(pki: Pki, tmp_path: Path) -> None:
    ca = pki.ca("shop CA")
    nameless, named = text(ca.issue("shop/books").certificate), text(ca.issue("shop/books", name="books").certificate)
    assert "Subject: Subject Public Key" in nameless
    assert "X509v3 Subject Alternative Name: critical URI:spiffe://cluster.local/ns/shop/sa/books" in nameless
    assert "Subject: CN = books" in named or "Subject: CN=books" in named
    assert "X509v3 Subject Alternative Name: URI:spiffe://cluster.local/ns/shop/sa/books" in named
    for leaf in (nameless, named):
        assert "X509v3 Basic Constraints: critical CA:FALSE" in leaf
        assert "X509v3 Key Usage: critical Digital Signature X509v3" in leaf
        assert "TLS Web Server Authentication, TLS Web Client Authentication" in leaf
    assert "Digital Signature, Key Encipherment" in text(ca.issue("shop/books", key="rsa").certificate)
    assert "Alternative Name" not in text(ca.issue(name="books").certificate)
    intermediate = tmp_path / "intermediate.pem"
    _, mark, last = ca.below().issue("shop/books").certificate.read_text().rpartition("-----BEGIN CERTIFICATE-----")
    intermediate.write_text(mark + last)
    for path, below in ((ca.root, 1), (intermediate, 0)):
        said = text(path)
        assert f"X509v3 Basic Constraints: critical CA:TRUE, pathlen:{below}" in said
        assert "X509v3 Key Usage: critical Certificate Sign, CRL Sign" in said
        assert "URI:spiffe://cluster.local" in said


def test_a_certificate_begins_a_little_earlier_and_ends_when_asked(pki: Pki) -> None:
    from meshproxy.certs import pem

    now = datetime.now(UTC)
    certificate = pem.certificates(pki.ca().issue("shop/books", days=90).certificate.read_bytes())[0]
    slack = timedelta(seconds=20)
    assert abs(certificate.not_valid_before_utc - (now - timedelta(minutes=5))) < slack
    assert abs(certificate.not_valid_after_utc - (now + timedelta(days=90))) < slack


def test_serial_numbers_are_never_the_same(pki: Pki) -> None:
    ca = pki.ca()
    serials = {openssl("x509", "-noout", "-serial", "-in", ca.issue("shop/books").certificate) for _ in range(20)}
    assert len(serials) == 20


def refused(message: str) -> Any:
    from meshproxy.certs import Refused

    return pytest.raises(Refused, match=message)


def test_nothing_outlives_its_ca(pki: Pki) -> None:
    ca = pki.ca(days=30)
    with refused("would last until .*, but its CA only until"):
        ca.issue("shop/books", days=31)
    with refused("would last until"):
        ca.below(days=31)
    with refused("would last until"):
        pki.ca(start=-2, days=1).issue("shop/books", days=1)
    # nor who is above that one
    with refused("would last until"):
        ca.below(days=20).issue("shop/books", days=25)


def test_a_ca_below_another_has_none_below_and_a_name_of_its_own(pki: Pki) -> None:
    ca = pki.ca("shop CA")
    with refused("no CA below"):
        ca.below().below("third")
    with refused("called shop CA already"):
        ca.below("shop CA")


def test_only_who_issued_a_certificate_revokes_it(pki: Pki) -> None:
    with refused("was not issued by this CA"):
        pki.ca().crl([pki.ca().issue("shop/books")])


def test_certificates_and_keys_that_do_not_belong_together_are_no_ca(pki: Pki) -> None:
    from meshproxy.certs import pem
    from meshproxy.certs.authority import Authority, Validity, new_key

    key, other = new_key(), new_key()
    made = Authority.root("one", "cluster.local", Validity.of(timedelta(days=1)), key)
    with refused("not that of the certificate"):
        Authority(made.chain, other)
    below = made.below("two", Validity.of(timedelta(hours=1)), other)
    with refused("CN=two has to be followed by the CA that issued it"):
        Authority(below.chain[:1], other)
    leaf = pki.ca().issue("shop/books")
    with refused("is not a CA"):
        Authority(pem.certificates(leaf.certificate.read_bytes()), pem.private_key(leaf.key.read_bytes()))
