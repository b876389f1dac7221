"""Names as a mesh gives them: of services, of those who ask, of resources."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from meshproxy.dialects.writing.said import Said

_address = re.compile(r"[0-9.]+(?::[0-9]+)?|\[.*").fullmatch
_label = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?").fullmatch
_account = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?").fullmatch
LONGEST = 253


class Service(NamedTuple):
    namespace: str
    name: str


class Account(NamedTuple):
    namespace: str
    name: str


def service_of_host(host: str, namespace: str) -> Service | None:
    """`books`, `books.shop`, `books.shop.svc`, `books.shop.svc.cluster.local`, each with a port or without."""
    name, *rest = host.partition(":")[0].split(".")
    if not _label(name) or (rest and not _label(rest[0])) or (len(rest) > 1 and rest[1] != "svc"):
        return None
    return Service(rest[0] if rest else namespace, name)


def service_of_hosts(hosts: Iterable[str], namespace: str) -> Service | None:
    """The one that all of them mean; addresses may be those of any."""
    found = {service_of_host(host, namespace) for host in hosts if not _address(host)}
    return found.pop() if len(found) == 1 else None


def service_of_cluster(cluster: str, namespace: str) -> Service | None:
    """`books`, `shop/books`, and with a port after `|` or `:`."""
    bare = re.split(r"[|:]", cluster, maxsplit=1)[0]
    before, _, name = bare.rpartition("/")
    if not _label(name) or (before and not _label(before)):
        return None
    return Service(before or namespace, name)


def account_of(identity: str, trust_domain: str) -> Account | None:
    """Who is meant by `shop/books`, `books.shop.cluster.local` or `spiffe://cluster.local/ns/shop/sa/books`."""
    if identity.startswith("spiffe://"):
        found = re.fullmatch(rf"spiffe://{re.escape(trust_domain)}/ns/([^/]+)/sa/([^/]+)", identity)
        namespace, name = found.groups() if found else ("", "")
    elif "/" in identity:
        namespace, _, name = identity.partition("/")
    else:
        name, _, namespace = identity.removesuffix(f".{trust_domain}").rpartition(".")
        if not identity.endswith(f".{trust_domain}"):
            return None
    return Account(namespace, name) if _label(namespace) and _account(name) else None


def accounts(identities: Said, trust_domain: str, speaker: str) -> list[Account]:
    """Who is meant by each; whom the speaker's words cannot name is told, and left out."""
    found = []
    for each in identities:
        account = account_of(each.value, trust_domain)
        if account is None:
            each.lose(f"{speaker} names service accounts of its own mesh, not {each.value}: it is not let in")
        else:
            each.take()
            found.append(account)
    return found


class Names:
    """Each is given once to a kind, and is what Kubernetes takes for a name."""

    def __init__(self) -> None:
        self._given: set[tuple[str, str]] = set()

    def new(self, kind: str, wanted: str) -> str:
        bare = re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-")[: LONGEST - 8] or "unnamed"
        name, number = bare, 1
        while (kind, name) in self._given:
            number += 1
            name = f"{bare}-{number}"
        self._given.add((kind, name))
        return name
