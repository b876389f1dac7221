"""What does not fit together in `dns`, on listeners of dns, and where chains are for names.

    listeners: [{name: dns, listen: 127.0.0.153:5300, protocol: dns}]
    dns: {servers: [10.0.0.10], names: {db.example.com: virtual}}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from meshproxy.model.address import Address
from meshproxy.model.dns import MOST_NAMES, MOST_RECORDS, MOST_SERVERS, VIRTUAL, Dns, room, spelled
from meshproxy.model.http import PLAIN_HTTP
from meshproxy.schema.shapes import Names, Path

if TYPE_CHECKING:
    from meshproxy.model.config import Listener

_OF_NO_USE = {
    "cluster": None, "routes": None, "mqtt": None, "tls": (), "permissive": False, "chains": (), "codec": "own",
    "proxy_protocol": None, "http": PLAIN_HTTP, "authorize": None, "transparent": False,
}  # fmt: skip
"""Keys of a listener that leads somewhere, each with what says nothing."""


def problems(said: Dns, listeners: Iterable[Listener]) -> Iterator[tuple[Path, str]]:
    """Each with its place in the section."""
    if len(said.names) > MOST_NAMES:
        yield ("names",), f"`names` has more than {MOST_NAMES} names"
    if len(said.servers) > MOST_SERVERS:
        yield ("servers",), f"`servers` has more than {MOST_SERVERS} servers"
    again = {name for name, count in Counter(spelled(name) for name, _ in said.names).items() if count > 1}
    for name, records in said.names:
        if spelled(name) in again:
            yield ("names", name), f"`{spelled(name)}` stands in `names` twice: case and a final dot make no other name"
        if len(records) > MOST_RECORDS:
            yield ("names", name), f"`{name}` has more than {MOST_RECORDS} records"
        if any(each.address == VIRTUAL for each in records):
            if name.startswith("*"):
                why = "which of them there are is not known beforehand: write the names"
                yield ("names", name), f"`{name}` cannot be `virtual`, since {why}"
            elif len(records) > 1:
                yield ("names", name), f"`{name}` is `virtual` and has no other addresses: {len(records) - 1} too many"
    yield from _virtual_problems(said)
    listening = [address for each in listeners if each.protocol == "dns" for address in each.listen]
    for index in own_servers(said.servers, listening):
        message = f"server {said.servers[index]} is a listener of dns of this proxy, which would ask itself"
        yield ("servers", index), message
    if said.cache.least > said.cache.most:
        yield ("cache", "least"), f"`least` {said.cache.least}s is more than `most` {said.cache.most}s"


def _virtual_problems(said: Dns) -> Iterator[tuple[Path, str]]:
    families = Counter(network.version for network in said.virtual)
    names = len(set(said.virtual_names))
    for index, network in enumerate(said.virtual):
        if families[network.version] > 1:
            yield ("virtual", index), f"`virtual` has more than one network of IPv{network.version}"
        elif room(network) < max(2 * names, 1):
            yield ("virtual", index), f"`virtual` {network} is too small for {names} names: take one of twice as many"


def own_servers(servers: Iterable[Address], listening: Iterable[Address]) -> Iterator[int]:
    """Which of the servers are listeners of dns: they would ask themselves."""
    at = set(listening)
    for index, server in enumerate(servers):
        if server in at or (server.is_local and server.wildcard in at):
            yield index


def listener_problems(said: Listener, virtual: frozenset[str], hints: Names) -> Iterator[tuple[Path, str]]:
    """A listener of dns leads nowhere; what it answers stands under `dns`."""
    if said.protocol == "dns":
        for key, nothing in _OF_NO_USE.items():
            if getattr(said, key) != nothing:
                yield (key,), f"`{key}` is of no use with `protocol: dns`, which answers what `dns` says"
        for address in said.listen:
            if address.kind == "unix":
                yield ("listen",), f"`listen` {address} cannot be asked for names: that is done over UDP too"
    for place, chain in enumerate(said.chains):
        path: Path = ("chains", place, "match", "names")
        if chain.match.names and not (said.transparent or said.proxy_protocol):
            yield path, "`names` need `transparent: true` or `proxy_protocol` on the listener"
        for index, name in enumerate(chain.match.names):
            if name not in virtual:
                yield (*path, index), f"`{name}` is not `virtual` under `dns.names`{hints.nearest(name)}"
