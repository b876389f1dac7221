"""What the system says about names: `resolv.conf`, the hosts file, and which full names a short one may stand for.

Both files belong to the system and are read as its own resolver reads them: what says nothing to us is passed over, and
of servers, search domains and numbers there are as many, or as large ones, as it would take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from meshproxy.model import Address
from meshproxy.sources.regular import open_regular
from meshproxy.wire.dns import Name, fits, name

RESOLV_CONF, HOSTS = Path("/etc/resolv.conf"), Path("/etc/hosts")
LARGEST_FILE = 1 << 20

PORT = 53
MOST_SERVERS = 3
MOST_SEARCH = 32

Hosts = Mapping[str, tuple[str, ...]]
"""From a name in small letters to its addresses."""

LOCALHOST: Hosts = {"localhost": ("127.0.0.1", "::1")}
"""RFC 6761: no server is asked for it, even if the file does not know it."""

_RANGES = {"ndots": (0, 15), "timeout": (1, 30), "attempts": (1, 5)}


@dataclass(frozen=True, slots=True)
class Settings:
    servers: tuple[Address, ...] = (Address("ipv4", "127.0.0.1", PORT),)
    search: tuple[Name, ...] = ()
    ndots: int = 1
    """A name with fewer dots is looked for in the search domains first."""
    timeout: float = 5
    """Seconds that a server has for one question."""
    attempts: int = 2
    """How often each server is asked, in all."""
    hosts: Hosts = field(default_factory=lambda: LOCALHOST)


def system() -> Settings:
    """As the two files say now.  A file that is not there says nothing; OSError or ValueError if one cannot be read."""
    return from_texts(_text(RESOLV_CONF), _text(HOSTS))


def system_servers() -> tuple[Address, ...]:
    """Who is asked, and nothing else: what a long hosts file says takes its time."""
    return from_texts(_text(RESOLV_CONF), "").servers


def _text(path: Path) -> str:
    try:
        with open_regular(path) as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        return ""
    if len(data) > LARGEST_FILE:
        raise ValueError(f"{path}: must have at most {LARGEST_FILE} bytes")
    return data.decode("utf-8", "replace")


def from_texts(resolv_conf: str, hosts: str) -> Settings:
    servers: list[Address] = []
    search: tuple[Name, ...] = ()
    numbers: dict[str, int] = {}
    for line in resolv_conf.splitlines():
        match line.split():
            case ["nameserver", host, *_] if len(servers) < MOST_SERVERS:
                servers += _servers(host)
            case ["search" | "domain", *domains]:
                search = tuple(_names(domains))[:MOST_SEARCH]
            case ["options", *options]:
                numbers |= _numbers(options)
    defaults = Settings()
    return Settings(
        tuple(servers) or defaults.servers,
        search,
        numbers.get("ndots", defaults.ndots),
        numbers.get("timeout", defaults.timeout),
        numbers.get("attempts", defaults.attempts),
        {**LOCALHOST, **read_hosts(hosts)},
    )


def _servers(host: str) -> Iterator[Address]:
    try:
        address = ip_address(host)
    except ValueError:
        return
    yield Address("ipv4" if address.version == 4 else "ipv6", str(address), PORT)


def _names(texts: list[str]) -> Iterator[Name]:
    for text in texts:
        try:
            yield name(text)
        except ValueError:
            continue  # among them ".", which adds nothing to a name


def _numbers(options: list[str]) -> Iterator[tuple[str, int]]:
    for option in options:
        key, _, value = option.partition(":")
        if key in _RANGES and value.isascii() and value.isdigit():
            least, most = _RANGES[key]
            yield key, min(max(int(value[:9]), least), most)


def read_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """A name that stands in several lines has the addresses of all of them."""
    hosts: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        try:
            address = str(ip_address(address))
        except ValueError:
            continue
        for each in names:
            hosts.setdefault(each.lower().removesuffix("."), []).append(address)
    return {each: tuple(addresses) for each, addresses in hosts.items()}


def candidates(text: str, settings: Settings) -> list[Name]:
    """The full names that are asked for, one after the other; ValueError if the text is no host name."""
    labels = name(text)
    if text.endswith("."):
        return [labels]
    longer = [labels + domain for domain in settings.search if fits(labels + domain)]
    return [labels, *longer] if len(labels) > settings.ndots else [*longer, labels]
