"""What OpenSSL is told: certificates, whom to believe, and what to speak.

    context = server_context(Terms(certificate=Pair(pem, key), ca=pem, required=True))
    context = client_context(Terms(ca=pem), named=True)

Everything is text that has been read before.  What cannot be used is `Unusable`, in words that tell nothing of a key.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
TICKETS = 1
"""Given to each client of TLS 1.3: it needs one to come back."""


class Unusable(ValueError):
    """`part` says what of the terms is meant."""

    def __init__(self, part: str, why: str) -> None:
        super().__init__(why)
        self.part = part


@dataclass(frozen=True, slots=True)
class Pair:
    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class Terms:
    """All texts are PEM."""

    pair: Pair | None = None
    ca: str | None = None
    crl: str | None = None
    min_version: str = "1.2"
    ciphers: str | None = None
    alpn: tuple[str, ...] = ()


def server_context(terms: Terms, *, required: bool) -> ssl.SSLContext:
    """`required`: whether a client must show a certificate, where there is a CA to believe."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = TICKETS
    _agree(context, terms)
    if terms.ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        _believe(context, terms.ca, terms.crl)
    return context


def client_context(terms: Terms, *, chain: bool = True, named: bool = True) -> ssl.SSLContext:
    """`chain`: whether a CA must have signed the server's certificate; `named`: whether it must have its name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = chain and named
    context.hostname_checks_common_name = False
    context.verify_mode = ssl.CERT_REQUIRED if chain else ssl.CERT_NONE
    _agree(context, terms)
    if chain and terms.ca is not None:
        _believe(context, terms.ca, terms.crl)
    elif chain:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def _agree(context: ssl.SSLContext, terms: Terms) -> None:
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.minimum_version = VERSIONS[terms.min_version]
    if terms.ciphers is not None:
        try:
            context.set_ciphers(terms.ciphers)
        except ssl.SSLError:
            raise Unusable("ciphers", "names no cipher that OpenSSL has here") from None
    if terms.alpn:
        context.set_alpn_protocols(terms.alpn)
    if terms.pair is not None:
        load_pair(context, terms.pair)


def load_pair(context: ssl.SSLContext, pair: Pair) -> None:
    with _file(pair.certificate) as certificate, _file(pair.key) as key:
        try:
            # A password would be asked for at the terminal.
            context.load_cert_chain(certificate, key, password=str)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise Unusable("key", "is not the key of its certificate") from None
            raise Unusable(*_what_is_wrong(pair)) from None


def _what_is_wrong(pair: Pair) -> tuple[str, str]:
    """Of a pair that cannot be loaded."""
    scratch = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        scratch.load_verify_locations(cadata=pair.certificate)
    except ssl.SSLError:
        return "certificate", "has no certificate that can be read"
    if "ENCRYPTED" in pair.key:
        return "key", "has a password, and there is nobody to ask for it"
    return "key", "has no key that can be read and that suits its certificate"


def _believe(context: ssl.SSLContext, ca: str, crl: str | None) -> None:
    # What an operator names is what is believed, be it a root or not.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=ca)
    except ssl.SSLError:
        raise Unusable("ca", "has no certificate that can be read") from None
    if crl is None:
        return
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN
    with _file(crl) as path:
        try:
            context.load_verify_locations(cafile=path)
        except ssl.SSLError:
            raise Unusable("crl", "has no revocation list that can be read") from None
    if not context.cert_store_stats()["crl"]:
        raise Unusable("crl", "has no revocation list")


@contextmanager
def _file(text: str) -> Iterator[str]:
    """OpenSSL reads files only: here is one that stands nowhere."""
    descriptor = os.memfd_create("meshproxy", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
