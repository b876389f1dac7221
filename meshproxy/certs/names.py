"""The names in a certificate: an identity (SPIFFE), host names, addresses, and a common name.

    spiffe("shop/books", "cluster.local")  ->  "spiffe://cluster.local/ns/shop/sa/books"

Each function gives the name as it stands in a certificate, or a ValueError that says why it cannot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from meshproxy.model.host import labels
from meshproxy.schema.kinds import shown

TRUST_DOMAIN = "cluster.local"
LONGEST_COMMON_NAME = 64
LONGEST_ID = 2048
MOST_NAMES = 100

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ACCOUNT = re.compile(rf"(?=.{{1,253}}\Z){_NAMESPACE.pattern}(?:\.{_NAMESPACE.pattern})*")


@dataclass(frozen=True, slots=True)
class Names:
    """What a certificate says its holder is called."""

    common: str = ""
    """The common name of the subject; where it is empty, so is the subject."""
    uris: tuple[str, ...] = ()
    """The identity, as a URI.  SPIFFE knows certificates with one; that there are not more is the caller's business."""
    dns: tuple[str, ...] = ()
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()

    def __iter__(self) -> Iterator[str]:
        """Each in the words of a message."""
        if self.common:
            yield f"CN={self.common}"
        yield from self.uris
        yield from self.dns
        yield from map(str, self.addresses)


def trust_domain(text: str) -> str:
    if not _TRUST_DOMAIN.fullmatch(text):
        raise ValueError(f"a trust domain is made of small letters, digits, dots, - and _, not {shown(text)}")
    return text


def identity(text: str) -> str:
    """Checks one that is not yet of a trust domain: `namespace/account`, or a SPIFFE ID in full."""
    spiffe(text, TRUST_DOMAIN)
    return text


def spiffe(text: str, domain: str) -> str:
    """The SPIFFE ID that `namespace/account` stands for in a trust domain; one in full stays as it is."""
    if text.startswith("spiffe://"):
        domain_of(text)
        return text
    namespace, slash, account = text.partition("/")
    if not (slash and _NAMESPACE.fullmatch(namespace) and _ACCOUNT.fullmatch(account)):
        raise ValueError(
            "an identity is namespace/account as Kubernetes names them, such as shop/books, or a SPIFFE ID in full, "
            f"not {shown(text)}"
        )
    return f"spiffe://{domain}/ns/{namespace}/sa/{account}"


def domain_of(spiffe_id: str) -> str:
    """The trust domain of a SPIFFE ID of a workload."""
    domain, _, path = spiffe_id.removeprefix("spiffe://").partition("/")
    if not spiffe_id.startswith("spiffe://") or len(spiffe_id) > LONGEST_ID:
        raise ValueError(f"a SPIFFE ID begins with spiffe:// and has at most {LONGEST_ID} characters")
    for segment in path.split("/"):
        if not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
            raise ValueError(
                f"the path of a SPIFFE ID has segments of letters, digits, dots, - and _: {shown(spiffe_id)}"
            )
    return trust_domain(domain)


def host(text: str) -> str:
    """A host name; its first label may be a star, if two more follow."""
    fixed = text.removeprefix("*.")
    try:
        found = labels(fixed)
    except ValueError as error:
        raise ValueError(f"a host name, not {shown(text)}: {error}") from None
    if b"_" in b"".join(found) or text.endswith(".") or (fixed != text and len(found) < 2):
        raise ValueError(
            "a host name has no _ and no final dot in a certificate, and after *. at least two labels; "
            f"this is {shown(text)}"
        )
    return text.lower()


def address(text: str) -> IPv4Address | IPv6Address:
    try:
        found = ip_address(text)
    except ValueError:
        raise ValueError(f"an IP address, not {shown(text)}") from None
    if isinstance(found, IPv6Address) and found.scope_id is not None:
        raise ValueError(f"an address without the interface after %, not {shown(text)}")
    return found


def common_name(text: str) -> str:
    if not text.isprintable() or not text.strip() or len(text) > LONGEST_COMMON_NAME:
        raise ValueError(f"a name of 1 to {LONGEST_COMMON_NAME} printable characters, not {shown(text)}")
    return text
