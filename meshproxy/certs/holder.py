"""Names as X.509 writes them: a subject and an extension of alternatives, both ways."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.x509.oid import NameOID

from meshproxy.certs import Refused
from meshproxy.certs.names import Names


def subject(names: Names) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names.common)] if names.common else [])


def alternatives(names: Names) -> x509.SubjectAlternativeName | None:
    """None where there are none: the extension may not be empty."""
    found: list[x509.GeneralName] = [
        *map(x509.UniformResourceIdentifier, names.uris),
        *map(x509.DNSName, names.dns),
        *map(x509.IPAddress, names.addresses),
    ]
    return x509.SubjectAlternativeName(found) if found else None


def names_in(holder: x509.Certificate | x509.CertificateSigningRequest) -> Names:
    """Refused if there is a name of another kind, such as an e-mail address."""
    uris, dns, addresses = [], [], []
    for name in _alternatives_in(holder):
        match name:
            case x509.UniformResourceIdentifier(value=str(uri)):
                uris.append(uri)
            case x509.DNSName(value=str(host)):
                dns.append(host.lower())
            case x509.IPAddress(value=IPv4Address() | IPv6Address() as address):
                addresses.append(address)
            case _:
                raise Refused(f"it has a name that is neither URI, host name nor address: {name.value}")
    common = [str(attribute.value) for attribute in holder.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(common) > 1:
        raise Refused(f"its subject has more than one common name: {', '.join(common)}")
    return Names("".join(common), tuple(uris), tuple(dns), tuple(addresses))


def _alternatives_in(holder: x509.Certificate | x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    try:
        return list(holder.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []
