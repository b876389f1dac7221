"""`meshproxy certs` as it is typed: what it writes, what it says, and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from meshproxy.cli import FAILED, OK, USAGE, main
from tests.pki import MISSING

pytest.importorskip("cryptography", reason=MISSING)

Certs = Callable[..., tuple[int, str, str]]


@pytest.fixture
def certs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Certs:
    """Exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(line: str, *more: str) -> tuple[int, str, str]:
        try:
            code = main(["certs", *line.split(), *more])
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    return run


def openssl(line: str) -> str:
    done = subprocess.run(["openssl", *line.split()], capture_output=True, text=True)
    return done.stdout + done.stderr


def rows(certs: Certs, path: str) -> list[dict[str, object]]:
    code, out, _ = certs(f"show -o json {path}")
    assert code == OK
    found: list[dict[str, object]] = json.loads(out)
    return found


def test_a_ca_and_a_workload(certs: Certs) -> None:
    assert certs("ca --out ca") == (OK, "ca/ca.key\nca/ca.pem\n", "")
    said = certs("issue --ca ca --out books --identity shop/books --dns books.shop --dns books.shop --ip ::1")
    assert said == (OK, "books/key.pem\nbooks/cert.pem\nbooks/ca.pem\n", "")
    assert openssl("verify -x509_strict -CAfile books/ca.pem books/cert.pem") == "books/cert.pem: OK\n"
    [row] = rows(certs, "books/cert.pem")
    assert row["subject"] == ""
    assert row["names"] == ["spiffe://cluster.local/ns/shop/sa/books", "books.shop", "::1"]
    assert (row["issuer"], row["state"], row["ca"], row["key"]) == ("CN=meshproxy CA", "valid", False, "ec secp256r1")
    printed = openssl("x509 -noout -fingerprint -sha256 -in books/cert.pem").strip().rpartition("=")[2]
    assert row["fingerprint"] == printed.replace(":", "").lower()
    assert Path("ca/ca.key").stat().st_mode & 0o777 == Path("books/key.pem").stat().st_mode & 0o777 == 0o600


def test_a_ca_below_another_with_rsa(certs: Certs) -> None:
    certs("ca --out root --key rsa --trust-domain shop.example --lifetime 3650d")
    assert certs("ca --ca root --out site --name", "site CA")[0] == OK
    assert certs("issue --ca site --out books --identity shop/books --key rsa --only server --name books")[0] == OK
    leaf, site = rows(certs, "books/cert.pem")
    assert (leaf["subject"], leaf["key"]) == ("CN=books", "rsa 2048")
    assert leaf["names"] == ["spiffe://shop.example/ns/shop/sa/books"]
    assert (site["subject"], site["ca"]) == ("CN=site CA", True)
    verified = openssl("verify -CAfile books/ca.pem -untrusted books/cert.pem -purpose sslserver books/cert.pem")
    assert verified == "books/cert.pem: OK\n"
    refused = openssl("verify -CAfile books/ca.pem -untrusted books/cert.pem -purpose sslclient books/cert.pem")
    assert "unsuitable certificate purpose" in refused or "unsupported certificate purpose" in refused


def test_a_request_is_signed_for_the_names_that_the_signer_says(certs: Certs) -> None:
    certs("ca --out ca")
    assert certs("csr --out books --identity shop/books --dns books.shop")[1] == "books/key.pem\nbooks/csr.pem\n"
    assert "verify OK" in openssl("req -noout -verify -in books/csr.pem")
    sign = "sign books/csr.pem --ca ca --out books"
    code, out, error = certs(f"{sign} --identity shop/admin --dns books.shop")
    assert (code, out) == (FAILED, "")
    assert "asks for spiffe://cluster.local/ns/shop/sa/books, books.shop, and not for" in error
    assert certs(sign)[0] == USAGE
    said = certs(f"{sign} --identity shop/books --dns books.shop")
    assert said == (OK, "books/cert.pem\nbooks/ca.pem\n", "")
    assert openssl("verify -CAfile ca/ca.pem books/cert.pem") == "books/cert.pem: OK\n"
    assert openssl("x509 -noout -pubkey -in books/cert.pem") == openssl("pkey -pubout -in books/key.pem")


def test_a_request_of_openssl(certs: Certs) -> None:
    certs("ca --out ca")
    new = "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out csr.pem"
    openssl(f"{new} -subj /O=shop/CN=books -addext subjectAltName=DNS:books.shop -addext keyUsage=digitalSignature")
    code, _, error = certs("sign csr.pem --ca ca --out books --name books --dns books.shop")
    assert (code, error) == (OK, "meshproxy: not taken from the request: O=shop, KeyUsage (2.5.29.15)\n")
    assert rows(certs, "books/cert.pem")[0]["subject"] == "CN=books"
    openssl(f"{new} -subj / -addext subjectAltName=DNS:books.shop -addext basicConstraints=CA:TRUE")
    code, _, error = certs("sign csr.pem --ca ca --out evil --dns books.shop")
    assert (code, Path("evil").exists()) == (FAILED, False)
    assert "wants to be a CA" in error


def test_a_list_of_revoked_certificates_is_continued(certs: Certs) -> None:
    certs("ca --out ca")
    for name in ("one", "two", "three"):
        certs(f"issue --ca ca --out {name} --dns {name}.shop")
    assert certs("crl --ca ca --revoke one/cert.pem") == (OK, "ca/crl.pem\n", "")
    assert certs("crl --ca ca --revoke two/cert.pem --revoke one/cert.pem")[0] == OK
    assert certs("crl --ca ca")[0] == OK
    printed = openssl("crl -noout -text -in ca/crl.pem")
    assert len(re.findall("Serial Number:", printed)) == 2
    assert re.search(r"CRL Number:\s+3\n", printed)
    for name, words in (("one", "revoked"), ("two", "revoked"), ("three", "three/cert.pem: OK")):
        assert words in openssl(f"verify -crl_check -CAfile ca/ca.pem -CRLfile ca/crl.pem {name}/cert.pem")
    # a CA that is made anew did not revoke these
    certs("ca --out ca --force")
    assert "not one of this CA" in certs("crl --ca ca")[2]
    Path("ca/crl.pem").unlink()
    assert "was not issued by this CA" in certs("crl --ca ca --revoke one/cert.pem")[2]


def test_any_time_can_be_asked_for(certs: Certs) -> None:
    certs("ca --out ca --start 2020-01-01 --lifetime 36500d")
    certs("issue --ca ca --out old --dns a.b --start 2021-01-31T12:00+02:00 --lifetime 1h")
    certs("issue --ca ca --out new --dns a.b --start 2099-01-01 --lifetime 1d")
    [old], [new] = rows(certs, "old/cert.pem"), rows(certs, "new/cert.pem")
    assert (old["from"], old["until"], old["state"]) == ("2021-01-31T10:00:00Z", "2021-01-31T11:00:00Z", "expired")
    assert (new["from"], new["state"]) == ("2099-01-01T00:00:00Z", "not yet")


def test_a_time_without_a_zone_is_that_of_greenwich(certs: Certs, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "JST-9")
        time.tzset()
        certs("ca --out ca --start 2020-01-01T06:00")
    time.tzset()
    assert rows(certs, "ca/ca.pem")[0]["from"] == "2020-01-01T06:00:00Z"


def test_what_exists_is_replaced_only_by_force(certs: Certs) -> None:
    certs("ca --out ca")
    before = Path("ca/ca.key").read_bytes()
    code, out, error = certs("ca --out ca")
    assert (code, out) == (FAILED, "")
    assert error == "meshproxy: ca/ca.key, ca/ca.pem would be replaced, which only --force does\n"
    assert Path("ca/ca.key").read_bytes() == before
    assert certs("ca --out ca --force")[0] == OK
    assert Path("ca/ca.key").read_bytes() != before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ca", "required: --out"),
        ("ca --out new --trust-domain Shop", "a trust domain is made of"),
        ("ca --out new --ca ca --trust-domain shop", "--trust-domain is that of the CA above"),
        ("ca --out new --lifetime 0s", "at least 1s"),
        ("ca --out new --lifetime 5", "a duration such as"),
        ("ca --out new --lifetime 36501d", "--lifetime"),
        ("ca --out new --start tomorrow", "--start"),
        ("ca --out new --start 0001-01-01T00:00+14:00", "--start"),
        ("ca --out new --key dsa", "invalid choice"),
        ("issue --ca ca --out new", "say whose certificate it is"),
        ("issue --ca ca --out new --identity books", "namespace/account"),
        ("issue --ca ca --out new --dns a_b", "no _"),
        ("issue --ca ca --out new --ip 300.1.1.1", "an IP address"),
        ("issue --ca ca --out ca --force --dns a.b", "--out is where the CA is"),
        ("ca --ca ca --out ca --force --name other", "--out is where the CA is"),
        ("issue --ca ca --out new" + 101 * " --dns a.b", "at most 100 names"),
        ("show", "required: FILE"),
        ("", "required: COMMAND"),
    ],
)
def test_wrong_usage(certs: Certs, line: str, words: str) -> None:
    certs("ca --out ca")
    code, out, error = certs(line)
    assert (code, out, Path("new").exists()) == (USAGE, "", False)
    assert words in error


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("issue --ca none --out new --dns a.b", "none/ca.pem: No such file or directory"),
        ("issue --ca books --out new --dns a.b", "books/ca.key: No such file or directory"),
        ("issue --ca mixed --out new --dns a.b", "mixed: the key is not that of the certificate"),
        ("issue --ca locked --out new --dns a.b", "locked/ca.key: is encrypted"),
        ("issue --ca leaf --out new --dns a.b", "is not a CA"),
        ("issue --ca ca --out new --identity spiffe://other/x", "spiffe://other/x is not of the trust domain"),
        ("issue --ca ca --out new --dns a.b --lifetime 3651d", "but its CA only until"),
        ("issue --ca ca --out new --dns a.b --start 1900-01-01", "1950"),
        ("ca --out new --start 9999-01-01", "the year 9999"),
        ("ca --ca ca --out new --name x --lifetime 3651d", "but its CA only until"),
        ("ca --ca ca --out new", "called meshproxy CA already"),
        ("sign ca/ca.pem --ca ca --out new --dns a.b", "ca/ca.pem: holds no certificate request"),
        ("crl --ca ca --revoke books/key.pem", "books/key.pem: holds no certificate"),
        ("show books/key.pem", "books/key.pem: holds no certificate"),
        ("show none.pem", "none.pem: No such file or directory"),
        ("show .", ".: Is a directory"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_secret(certs: Certs, line: str, words: str) -> None:
    certs("ca --out ca")
    certs("ca --out mixed")
    certs("issue --ca ca --out books --dns books.shop")
    Path("mixed/ca.key").write_bytes(Path("ca/ca.key").read_bytes())
    for name in ("locked", "leaf"):
        Path(name).mkdir()
    Path("leaf/ca.pem").write_bytes(Path("books/cert.pem").read_bytes())
    Path("leaf/ca.key").write_bytes(Path("books/key.pem").read_bytes())
    Path("locked/ca.pem").write_bytes(Path("ca/ca.pem").read_bytes())
    openssl("pkcs8 -topk8 -in ca/ca.key -out locked/ca.key -passout pass:secret")
    code, out, error = certs(line)
    assert (code, out, Path("new").exists()) == (FAILED, "", False)
    assert words in error
    assert not any(line in error for line in Path("books/key.pem").read_text().splitlines())


def test_a_ca_of_openssl_that_names_no_trust_domain(certs: Certs) -> None:
    Path("ca").mkdir()
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca/ca.key -out ca/ca.pem -subj /CN=theirs -days 100")
    assert "say shop/books in full" in certs("issue --ca ca --out books --identity shop/books")[2]
    assert certs("issue --ca ca --out books --identity spiffe://a.b/books")[0] == OK
    assert openssl("verify -CAfile ca/ca.pem books/cert.pem") == "books/cert.pem: OK\n"


def test_names_of_others_do_not_move_the_cursor(certs: Certs) -> None:
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=a\x1b[2Jb")
    code, out, _ = certs("show cert.pem")
    assert code == OK
    assert "\x1b" not in out
    assert "a\\x1b[2Jb" in out
