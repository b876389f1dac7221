"""Addresses: IPv4, IPv6 and unix sockets, as values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Annotated, Literal

from meshproxy.schema.kinds import Scalar, shown

LONGEST = 256
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


def parse(text: str) -> Address:
    """The address that a text names, or `ValueError` in words that follow the name of a key."""
    if len(text) > LONGEST:
        raise _refuse(text, f"it is longer than {LONGEST} characters")
    if text.startswith("unix:"):
        return _unix(text)
    host, colon, port_text = text.rpartition(":")
    if not colon:
        raise _refuse(text, "a port is missing")
    if not host:
        raise _refuse(text, f"for every IPv4 address write {shown('0.0.0.0' + text)}")  # noqa: S104 - a hint
    if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5 and int(port_text) <= 65535):
        raise _refuse(text, "a port is a number from 0 to 65535")
    return _inet(text, host, int(port_text))


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
        raise _refuse(text, "host names are not resolved in this version; write an IP address") from None


def _unix(text: str) -> Address:
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


def _read_listen(value: object) -> Address:
    if not isinstance(value, str):
        raise ValueError(f"must be an address such as 127.0.0.1:80, not {shown(value)}")
    return parse(value)


def _read_endpoint(value: object) -> Address:
    address = _read_listen(value)
    if address.any_port or address.is_wildcard:
        raise _refuse(str(value), "nothing can connect to it")
    return address


_JSON = {"type": "string", "pattern": r"^(unix:[/@].+|\[[0-9a-fA-F:.%a-z]+\]:[0-9]{1,5}|[0-9.]+:[0-9]{1,5})$"}

ListenAddress = Annotated[Address, Scalar("address", _read_listen, str, _JSON)]
EndpointAddress = Annotated[Address, Scalar("address", _read_endpoint, str, _JSON)]
