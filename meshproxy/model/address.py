"""Addresses: IPv4, IPv6 and unix sockets, as values; and names of hosts, which are to become some."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from typing import Annotated, Literal

from meshproxy.model.host import labels
from meshproxy.schema.kinds import Scalar, refuse, same, shown

LONGEST = 260  # the longest name and a port
DNS_PORT = 53
LONGEST_UNIX_PATH = 107  # bytes: the kernel's 108, less the final NUL
_FAMILIES = {"ipv4": "AF_INET", "ipv6": "AF_INET6", "unix": "AF_UNIX"}
_WILDCARDS = {"ipv4": "0.0.0.0", "ipv6": "::"}  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or to connect. A unix path that begins with `@` is in the abstract namespace."""

    kind: Literal["ipv4", "ipv6", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if self.kind == "ipv6" else f"{self.host}:{self.port}"

    @property
    def family(self) -> str:
        """The name of the family in the `socket` module."""
        return _FAMILIES[self.kind]

    @property
    def is_wildcard(self) -> bool:
        return self.host == _WILDCARDS.get(self.kind)

    @property
    def any_port(self) -> bool:
        """Whether the kernel chooses the port."""
        return self.kind != "unix" and self.port == 0

    @property
    def wildcard(self) -> Address:
        """The same port on every address of the family; a unix socket has no other address."""
        return replace(self, host=_WILDCARDS.get(self.kind, self.host))

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.kind == "ipv4":
            return IPv4Address(self.host).is_loopback
        return self.kind == "unix" or IPv6Address(self.host).is_loopback


@dataclass(frozen=True, slots=True)
class Named:
    """A port of every address that a name has, whichever these are at a time."""

    host: str
    """In small letters: two that differ in their case are one."""
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse(text: str) -> Address:
    """The address that a text names, or `ValueError` in words that follow the name of a key."""
    if text.startswith("unix:"):
        return _unix(text)
    return _inet(text, *_split(text))


def _split(text: str) -> tuple[str, int]:
    """Host and port."""
    _bound(text)
    host, colon, port_text = text.rpartition(":")
    if not colon:
        raise _refuse(text, "a port is missing")
    if not host:
        raise _refuse(text, f"for every IPv4 address write {shown('0.0.0.0' + text)}")  # noqa: S104 - a hint
    if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5 and int(port_text) <= 65535):
        raise _refuse(text, "a port is a number from 0 to 65535")
    return host, int(port_text)


def _bound(text: str) -> None:
    if len(text) > LONGEST:
        raise _refuse(text, f"it is longer than {LONGEST} characters")


def _inet(text: str, host: str, port: int) -> Address:
    if host.startswith("[") and host.endswith("]"):
        try:
            return Address("ipv6", str(IPv6Address(host[1:-1])), port)
        except AddressValueError:
            raise _refuse(text, "this is no IPv6 address") from None
    if ":" in host:
        raise _refuse(text, "an IPv6 address stands in brackets, such as [::1]:80")
    try:
        return Address("ipv4", str(IPv4Address(host)), port)
    except AddressValueError:
        why = "only an endpoint may have a name; write an IP address" if _names(host) else "this is no IPv4 address"
        raise _refuse(text, why) from None


def _names(host: str) -> bool:
    """Whether it is meant to be a name: an IPv6 address has brackets, and an IPv4 address ends in a number."""
    return not (host.startswith("[") or ":" in host or host.removesuffix(".").rpartition(".")[2].isdigit())


def _unix(text: str) -> Address:
    _bound(text)
    path = text.removeprefix("unix:")
    if not path.startswith(("/", "@")) or path in ("/", "@"):
        raise _refuse(text, "a unix socket is unix:/path, or unix:@name for an abstract one")
    if not path.isprintable():
        raise _refuse(text, "the path must be printable")
    if len(path.encode()) > LONGEST_UNIX_PATH:
        raise _refuse(text, f"the path is longer than {LONGEST_UNIX_PATH} bytes")
    return Address("unix", path=path)


def _refuse(text: str, why: str) -> ValueError:
    return ValueError(f"must be an address such as 127.0.0.1:80, not {shown(text)}: {why}")


def _read_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be an address such as 127.0.0.1:80, not {shown(value)}")
    return value


def _read_listen(value: object) -> Address:
    return parse(_read_text(value))


def _read_endpoint(value: object) -> Address | Named:
    text = _read_text(value)
    if not text.startswith("unix:"):
        host, port = _split(text)
        if _names(host):
            return _named(text, host, port)
    address = parse(text)
    if address.any_port or address.is_wildcard:
        raise _refuse(text, "nothing can connect to it")
    return address


def _named(text: str, host: str, port: int) -> Named:
    try:
        labels(host)
    except ValueError as why:
        expected = "an address such as 127.0.0.1:80 or books.shop:80"
        raise ValueError(f"must be {expected}, not {shown(text)}: {why}") from None
    if not port:
        raise _refuse(text, "nothing can connect to it")
    return Named(host.lower(), port)


def _read_server(value: object) -> Address:
    """Of DNS: the port may be left out."""
    text = _read_text(value)
    try:
        ip = ip_address(text)
    except ValueError:
        address = parse(text)
    else:
        address = Address("ipv4" if ip.version == 4 else "ipv6", str(ip), DNS_PORT)
    if address.kind == "unix" or address.any_port or address.is_wildcard:
        raise _refuse(text, "a name server is asked at an IP address, at port 53 unless it says another")
    return address


CLIENT = "client"
"""As a source: the address of whoever has connected."""


def _read_source(value: object) -> str:
    """An address to connect from, of this host as far as that can be known; or that of the client."""
    return CLIENT if value == CLIENT else str(_one(value, f"an IP address such as 127.0.0.6, or `{CLIENT}`"))


def _read_host(value: object) -> str:
    """In the one way in which addresses are compared: an IPv4 address within IPv6 is that IPv4 address."""
    expected = "an IP address such as 127.0.0.6"
    ip = _one(value, expected)
    if "%" in str(ip):
        raise refuse(f"{expected}, without a zone", value)
    return str(ip if ip.version == 4 else ip.ipv4_mapped or ip)


def _one(value: object, expected: str) -> IPv4Address | IPv6Address:
    try:
        if not isinstance(value, str) or len(value) > LONGEST:
            raise ValueError
        ip = ip_address(value)
    except ValueError:
        raise refuse(expected, value) from None
    if ip.is_unspecified or ip.is_multicast:
        raise ValueError(f"must be one address of a host, not {shown(value)}")
    return ip


_LISTEN_JSON = r"unix:[/@].+|\[[0-9a-fA-F:.%a-z]+\]:[0-9]{1,5}|[0-9.]+:[0-9]{1,5}"
_ENDPOINT_JSON = _LISTEN_JSON + r"|[A-Za-z0-9_.-]+:[0-9]{1,5}"
_SERVER_JSON = r"[0-9a-fA-F:.%a-z]+|\[[0-9a-fA-F:.%a-z]+\]:[0-9]{1,5}"


def _json(pattern: str) -> dict[str, object]:
    return {"type": "string", "pattern": f"^({pattern})$"}


ListenAddress = Annotated[Address, Scalar("address", _read_listen, str, _json(_LISTEN_JSON))]
EndpointAddress = Annotated[Address | Named, Scalar("address or name", _read_endpoint, str, _json(_ENDPOINT_JSON))]
ServerAddress = Annotated[Address, Scalar("address", _read_server, str, _json(_SERVER_JSON))]
SourceAddress = Annotated[
    str, Scalar(f"IP address \\| `{CLIENT}`", _read_source, same, _json(rf"{CLIENT}|[0-9a-fA-F:.%a-z]+"))
]
HostAddress = Annotated[str, Scalar("IP address", _read_host, same, _json(r"[0-9a-fA-F:.]+"))]
