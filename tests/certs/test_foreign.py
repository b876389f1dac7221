"""CAs of other makers: used if they can be, and refused with the reason if not."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from tests.pki import MISSING

pytest.importorskip("cryptography", reason=MISSING)

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from meshproxy.certs import Refused, files, pem
from meshproxy.certs.authority import Authority, Validity, new_key
from meshproxy.certs.names import Names

BOOKS = Names(dns=("books.shop",))
DAY = timedelta(days=1)


def days(number: int) -> Validity:
    return Validity.of(number * DAY)


def made(directory: Path, *extensions: str) -> Authority:
    """A root of openssl, with these extensions beside or instead of its own."""
    line = "req -x509 -newkey rsa:2048 -nodes -subj /CN=theirs -days 100 -keyout ca.key -out ca.pem".split()
    more = [part for extension in extensions for part in ("-addext", extension)]
    subprocess.run(["openssl", *line, *more], cwd=directory, check=True, capture_output=True)
    return files.authority(directory)


def test_one_that_does_not_identify_its_key(tmp_path: Path) -> None:
    ca = made(tmp_path, "subjectKeyIdentifier=none", "authorityKeyIdentifier=none")
    assert not any(isinstance(part.value, x509.SubjectKeyIdentifier) for part in ca.root_certificate.extensions)
    leaf = ca.issue(new_key().public_key(), BOOKS, days(1))[0]
    known = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    own = ca.root_certificate.public_key()
    assert known.key_identifier == x509.SubjectKeyIdentifier.from_public_key(own).digest
    (tmp_path / "cert.pem").write_bytes(pem.of([leaf]))
    done = subprocess.run(["openssl", "verify", "-CAfile", "ca.pem", "cert.pem"], cwd=tmp_path, capture_output=True)
    assert done.stdout == b"cert.pem: OK\n"


@pytest.mark.parametrize("extension", ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature"])
def test_one_that_may_not_sign_certificates(tmp_path: Path, extension: str) -> None:
    with pytest.raises(Refused, match="CN=theirs is not a CA"):
        made(tmp_path, extension)


def test_one_that_lasts_longer_than_its_root() -> None:
    key, below = new_key(), new_key()
    chain = Authority.root("one", "cluster.local", days(9), key).below("two", days(8), below).chain
    shorter = Authority.root("one", "cluster.local", days(5), key).root_certificate
    with pytest.raises(Refused, match="but its CA only until"):
        Authority((chain[0], shorter), below).issue(key.public_key(), BOOKS, days(6))


def test_a_list_of_revoked_certificates_without_a_number() -> None:
    key, now = new_key(), days(1)
    ca = Authority.root("one", "cluster.local", now, key)
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.root_certificate.subject)
    theirs = builder.last_update(now.start).next_update(now.end).sign(key, SHA256())
    assert ca.revoke([], now, theirs).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 1
