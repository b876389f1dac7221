"""The names that are answered here, with all that is told of them as it stands in a message.

    table = Table(dns)
    table.find((b"books", b"shop"))       # {A: Records(1, ...)}, or None: it is not in the table
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from ipaddress import ip_address

from meshproxy.model.dns import VIRTUAL, Dns, Record, spelled, virtual_addresses
from meshproxy.model.host import Name, labels
from meshproxy.wire.dns import AAAA, SRV, A, Records, records, service

Entry = Mapping[int, Records]
"""By kind."""


class Table:
    def __init__(self, said: Dns) -> None:
        self._named: dict[Name, Entry] = {}
        self._below: dict[Name, Entry] = {}
        """By the suffix of names that are longer."""
        self._search = tuple(labels(domain) for domain in said.search)
        virtual = virtual_addresses(said)
        for text, written in said.names:
            if any(record.address == VIRTUAL for record in written):
                addresses = map(str, virtual[spelled(text)])
                written = tuple(Record(address) for address in addresses)
            entry = _entry(written, said.ttl)
            if text.startswith("*"):
                suffix = text.removeprefix("*").removeprefix(".")
                self._below[labels(suffix) if suffix else ()] = entry
            else:
                self._named[labels(text)] = entry

    def find(self, name: Name) -> Entry | None:
        """What is written of the name itself, of the short name in a search domain, of the longest suffix."""
        found = self._named.get(name)
        if found is not None:
            return found
        if len(name) == 1:
            for domain in self._search:
                found = self._named.get(name + domain)
                if found is not None:
                    return found
        below = self._below
        if below:
            for start in range(1, len(name) + 1):
                found = below.get(name[start:])
                if found is not None:
                    return found
        return None


def _entry(written: tuple[Record, ...], ttl: int) -> Entry:
    data: dict[int, list[bytes]] = defaultdict(list)
    for record in written:
        if record.srv is not None:
            srv = record.srv
            data[SRV].append(service(srv.priority, srv.weight, srv.port, labels(srv.target)))
        elif record.address is not None:
            address = ip_address(record.address)
            data[A if address.version == 4 else AAAA].append(address.packed)
    return {kind: records(kind, each, ttl) for kind, each in data.items()}
