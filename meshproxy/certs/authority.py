"""A certificate authority as a value: what it issues and revokes; it reads and writes no file.

What a certificate may do is decided here alone: nothing is ever copied from a request for one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID

from meshproxy.certs import Refused
from meshproxy.certs.holder import alternatives, subject
from meshproxy.certs.names import Names

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
Chain = tuple[x509.Certificate, ...]
Role = Literal["client", "server"]

BACKDATED = timedelta(minutes=5)
"""The clocks of others may be behind ours."""
RSA_BITS = 2048
BELOW_ROOT = 1
"""How many CAs may stand between a root of ours and a workload."""

_ROLES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
BOTH: frozenset[Role] = frozenset(("client", "server"))


@dataclass(frozen=True, slots=True)
class Validity:
    start: datetime
    end: datetime

    @classmethod
    def of(cls, lifetime: timedelta, start: datetime | None = None) -> Validity:
        """From that time on; else from now on."""
        begin = start or datetime.now(UTC)
        try:
            end = begin + lifetime
        except OverflowError:
            raise Refused("no certificate lasts beyond the year 9999") from None
        # X.509 knows no parts of a second
        return cls((start or begin - BACKDATED).replace(microsecond=0), end.replace(microsecond=0))


def new_key(kind: str = "ec") -> Key:
    return rsa.generate_private_key(65537, RSA_BITS) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


class Authority:
    """`chain` begins with its own certificate and ends with the root that others trust."""

    def __init__(self, chain: Chain, key: Key) -> None:
        self.chain = chain
        self.root_certificate = chain[-1]
        self._certificate, self._key = chain[0], key
        if not _belongs(key, self._certificate):
            raise Refused("the key is not that of the certificate")
        for certificate, issuer in zip(chain, (*chain[1:], chain[-1]), strict=True):
            name = certificate.subject.rfc4514_string()
            if not (_limits(certificate).ca and _may_sign(certificate)):
                raise Refused(f"{name} is not a CA")
            if not issued(certificate, issuer):
                raise Refused(f"{name} has to be followed by the CA that issued it, and the last one is a root")

    @classmethod
    def root(cls, name: str, trust_domain: str, validity: Validity, key: Key) -> Authority:
        holder = Names(name, (f"spiffe://{trust_domain}",))
        return cls((_sign(_ca(holder, key, validity, subject(holder), BELOW_ROOT), key, None),), key)

    def below(self, name: str, validity: Validity, key: Key) -> Authority:
        """A CA that this one answers for, of the same trust domain.  It may have none below itself."""
        holder = Names(name, (f"spiffe://{self.trust_domain}",) if self.trust_domain else ())
        if _limits(self._certificate).path_length == 0:
            raise Refused("this CA may have no CA below it")
        if any(subject(holder) == above.subject for above in self.chain):
            raise Refused(f"the CA above is called {name} already, and they would be taken for each other")
        self._require_cover(validity)
        made = _ca(holder, key, validity, self._certificate.subject, 0)
        return Authority((_sign(made, self._key, self._certificate), *self.chain), key)

    @property
    def trust_domain(self) -> str:
        """Empty if its certificate says none, as those of other makers may not."""
        try:
            found = self._certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return ""
        uris = found.get_values_for_type(x509.UniformResourceIdentifier)
        domains = [uri.removeprefix("spiffe://") for uri in uris if uri.startswith("spiffe://")]
        return domains[0] if len(domains) == 1 else ""

    def issue(self, public_key: PublicKey, names: Names, validity: Validity, roles: frozenset[Role] = BOTH) -> Chain:
        """The certificate of a workload, and those of the CAs between it and the root."""
        self._require_cover(validity)
        encipherment = isinstance(public_key, rsa.RSAPublicKey)
        made = (
            _builder(names, public_key, validity, self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True, key_encipherment=encipherment), critical=True)
            .add_extension(x509.ExtendedKeyUsage([_ROLES[role] for role in _ROLES if role in roles]), critical=False)
        )
        return (_sign(made, self._key, self._certificate), *self.chain[:-1])

    def revoke(
        self,
        certificates: Iterable[x509.Certificate],
        validity: Validity,
        before: x509.CertificateRevocationList | None = None,
    ) -> x509.CertificateRevocationList:
        """A list of these, and of those that stood in the list before."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(validity.start)
            .next_update(validity.end)
            .add_extension(_key_of(self._certificate, self._key), critical=False)
            .add_extension(x509.CRLNumber(self._number_of(before) + 1), critical=False)
        )
        listed = {entry.serial_number for entry in before or ()}
        for entry in before or ():
            builder = builder.add_revoked_certificate(entry)
        for certificate in certificates:
            if not issued(certificate, self._certificate):
                raise Refused(f"{certificate.subject.rfc4514_string() or 'a certificate'} was not issued by this CA")
            if certificate.serial_number not in listed:
                listed.add(certificate.serial_number)
                revoked = x509.RevokedCertificateBuilder(certificate.serial_number, validity.start)
                builder = builder.add_revoked_certificate(revoked.build())
        return builder.sign(self._key, SHA256())

    def _number_of(self, before: x509.CertificateRevocationList | None) -> int:
        if before is None:
            return 0
        if not before.is_signature_valid(self._key.public_key()):
            raise Refused("the list of revoked certificates is not one of this CA")
        try:
            return before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        except x509.ExtensionNotFound:
            return 0

    def _require_cover(self, validity: Validity) -> None:
        """Nobody would accept a certificate longer than those above it, so it should not say so."""
        end = min(certificate.not_valid_after_utc for certificate in self.chain)
        if validity.end > end:
            raise Refused(f"the certificate would last until {_day(validity.end)}, but its CA only until {_day(end)}")


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return False
    return True


def _belongs(key: Key, certificate: x509.Certificate) -> bool:
    try:
        return certificate.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False


def _builder(names: Names, public_key: PublicKey, validity: Validity, issuer: x509.Name) -> x509.CertificateBuilder:
    try:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject(names))
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(validity.start)
            .not_valid_after(validity.end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )
    except ValueError as error:
        raise Refused(str(error)) from None
    others = alternatives(names)
    # Who has no subject is known by these alone
    return builder if others is None else builder.add_extension(others, critical=not names.common)


def _ca(names: Names, key: Key, validity: Validity, issuer: x509.Name, below: int) -> x509.CertificateBuilder:
    return (
        _builder(names, key.public_key(), validity, issuer)
        .add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    )


def _sign(builder: x509.CertificateBuilder, key: Key, issuer: x509.Certificate | None) -> x509.Certificate:
    """A root has no issuer but itself, and no need to say which of its keys it was."""
    if issuer is not None:
        builder = builder.add_extension(_key_of(issuer, key), critical=False)
    return builder.sign(key, SHA256())


def _key_of(issuer: x509.Certificate, key: Key) -> x509.AuthorityKeyIdentifier:
    try:
        known = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


def _limits(certificate: x509.Certificate) -> x509.BasicConstraints:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return x509.BasicConstraints(ca=False, path_length=None)


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_encipherment=key_encipherment,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _day(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
