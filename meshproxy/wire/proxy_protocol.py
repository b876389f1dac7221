"""The PROXY protocol, versions 1 and 2: who is really at the other end.

    parse(b"PROXY TCP4 10.0.0.1 10.0.0.2 4711 80\\r\\nGET ...")  ->  Header(10.0.0.1:4711 -> 10.0.0.2:80, length 38)

`parse` is fed what has arrived so far and answers a `Header`, `None` for "need more", or raises `Malformed`.  It never
needs more than `MAX_HEADER` bytes to decide.  A header without addresses (`UNKNOWN`, `LOCAL`) stands for the connection
as it is.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1_MAX = 107
"""The longest line that the specification allows, its CR LF included."""
V2_FIXED = 16
V2_MAX_TAIL = 2048
"""Addresses take at most 216 bytes; the rest is room for the TLVs of balancers, which we skip."""
MAX_HEADER = V2_FIXED + V2_MAX_TAIL

Endpoint = tuple[str, int]
"""An IP address and a port; no other family is told apart."""

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

_V1_FAMILIES: dict[bytes, type[_Ip]] = {b"TCP4": ipaddress.IPv4Address, b"TCP6": ipaddress.IPv6Address}
_V2_LAYOUTS: dict[int, tuple[str, type[_Ip]]] = {
    0x11: ("!4s4sHH", ipaddress.IPv4Address),
    0x21: ("!16s16sHH", ipaddress.IPv6Address),
}
_V2_FAMILIES = {4: 0x11, 6: 0x21}


class Malformed(ValueError):
    """What arrived is not a PROXY header and never will be."""


class Absent(Malformed):
    """It does not even begin like one."""


@dataclass(frozen=True, slots=True)
class Header:
    source: Endpoint | None
    destination: Endpoint | None
    length: int


def parse(data: bytes) -> Header | None:
    if V2_SIGNATURE.startswith(data[:12]):
        return _parse_v2(data)
    if b"PROXY ".startswith(data[:6]):
        return _parse_v1(data)
    raise Absent("no PROXY header")


def _parse_v1(data: bytes) -> Header | None:
    line, found, _ = data[:V1_MAX].partition(b"\r\n")
    if not found:
        if len(data) >= V1_MAX:
            raise Malformed("version 1 line too long")
        return None
    length = len(line) + 2
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        return Header(None, None, length)
    if len(words) != 6 or words[1] not in _V1_FAMILIES:
        raise Malformed("version 1 line malformed")
    family = _V1_FAMILIES[words[1]]
    source, destination = (_v1_host(family, word) for word in words[2:4])
    return Header((source, _v1_port(words[4])), (destination, _v1_port(words[5])), length)


def _v1_host(family: type[_Ip], word: bytes) -> str:
    # A scope may hold any byte, and names an interface of another machine.
    if b"%" in word:
        raise Malformed("version 1 address with a scope")
    try:
        return str(family(word.decode("ascii")))
    except ValueError:
        raise Malformed("version 1 address malformed") from None


def _v1_port(word: bytes) -> int:
    if not (word.isdigit() and len(word) <= 5) or (word[0] == 0x30 and word != b"0"):
        raise Malformed("version 1 port malformed")
    port = int(word)
    if port > 65535:
        raise Malformed("version 1 port out of range")
    return port


def _parse_v2(data: bytes) -> Header | None:
    if len(data) < V2_FIXED:
        return None
    command, family, tail = struct.unpack_from("!BBH", data, 12)
    if command not in (0x20, 0x21):
        raise Malformed(f"version 2 command {command:#04x} unknown")
    if tail > V2_MAX_TAIL:
        raise Malformed(f"version 2 header of {tail} bytes too long")
    length = V2_FIXED + tail
    layout = _V2_LAYOUTS.get(family)
    if command == 0x21 and layout and tail < struct.calcsize(layout[0]):
        raise Malformed("version 2 addresses cut short")
    if len(data) < length:
        return None
    if command == 0x20 or layout is None:
        return Header(None, None, length)
    shape, address = layout
    source, destination, source_port, destination_port = struct.unpack_from(shape, data, V2_FIXED)
    return Header((str(address(source)), source_port), (str(address(destination)), destination_port), length)


def encode_v1(source: Endpoint | None, destination: Endpoint | None) -> bytes:
    """Endpoints of two families cannot be told in one header; that, and none at all, is `UNKNOWN`."""
    ends = _same_family(source, destination)
    if ends is None:
        return b"PROXY UNKNOWN\r\n"
    (src, src_port), (dst, dst_port) = ends
    return f"PROXY TCP{src.version} {src} {dst} {src_port} {dst_port}\r\n".encode("ascii")


def encode_v2(source: Endpoint | None, destination: Endpoint | None) -> bytes:
    ends = _same_family(source, destination)
    if ends is None:
        return V2_SIGNATURE + struct.pack("!BBH", 0x20, 0, 0)
    (src, src_port), (dst, dst_port) = ends
    addresses = src.packed + dst.packed + struct.pack("!HH", src_port, dst_port)
    return V2_SIGNATURE + struct.pack("!BBH", 0x21, _V2_FAMILIES[src.version], len(addresses)) + addresses


def _same_family(
    source: Endpoint | None, destination: Endpoint | None
) -> tuple[tuple[_Ip, int], tuple[_Ip, int]] | None:
    if source is None or destination is None:
        return None
    src, dst = _unscoped(source[0]), _unscoped(destination[0])
    return ((src, source[1]), (dst, destination[1])) if src.version == dst.version else None


def _unscoped(host: str) -> _Ip:
    """The bare address: the scope of a link-local peer means nothing to whoever reads the header."""
    return ipaddress.ip_address(ipaddress.ip_address(host).packed)
