"""Kinds of values in resources of Kubernetes and of SMI."""

from __future__ import annotations

import re
from fractions import Fraction
from ipaddress import ip_address
from typing import Annotated

from meshproxy.schema.kinds import LARGEST_INTEGER, PORT, Scalar, refuse, same, string, whole

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_SPIFFE = r"(?:spiffe://)?[a-z0-9._-]+(?:/[A-Za-z0-9._-]+)*"
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(n|u|m|k|M|G|T)?")
_NUMBER = re.compile(r"[0-9]{1,5}").fullmatch
_FACTOR = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    None: Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
}


def _read_quantity(value: object) -> Fraction:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise refuse("a quantity such as 500m or 1", value)
    return Fraction(found[1]) * _FACTOR[found[2]]


def _read_target_port(value: object) -> int | str:
    if isinstance(value, str) and not _NUMBER(value):
        return str(_PORT_NAME.read(value))
    port: int = PORT.read(int(value) if isinstance(value, str) else value)
    return port


def _read_ip(value: object) -> str:
    try:
        if not isinstance(value, str) or len(value) > len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"):
            raise ValueError
        return str(ip_address(value))
    except ValueError:
        raise refuse("an IP address", value) from None


def _read_cluster_ip(value: object) -> str:
    """Empty: none yet; `None`: there is none."""
    return str(value) if value in ("", "None") else _read_ip(value)


def _read_service(value: object) -> str:
    return str(_SERVICE.read(value)).removesuffix(".")


_PORT_NAME = string("name of a port", "a port from 1 to 65535, or the name of one", _LABEL, 63)
_SERVICE = string(
    "service", "a service such as books, or books.shop.svc.cluster.local", rf"{_LABEL}(?:\.{_LABEL})*\.?", 254
)

ResourceName = Annotated[
    str, string("name", "a name of Kubernetes such as books-v1", rf"{_LABEL}(?:\.{_LABEL})*", 253)
]
LabelKey = Annotated[
    str, string("label", "the key of a label such as app", r"[A-Za-z0-9](?:[A-Za-z0-9_./-]*[A-Za-z0-9])?", 317)
]
FreeText = Annotated[str, string("string", "a string", r"[^\x00-\x1f\x7f]*", 4096)]
Ip = Annotated[str, Scalar("IP address", _read_ip, same, {"type": "string"})]
ClusterIp = Annotated[str, Scalar("IP address", _read_cluster_ip, same, {"type": "string"})]
TargetPort = Annotated[int | str, Scalar("port", _read_target_port, same, {"type": ["integer", "string"]})]
ServiceName = Annotated[str, Scalar("service", _read_service, same, {"type": "string"})]
SpiffeId = Annotated[str, string("SPIFFE id", "an id such as cluster.local/ns/shop/sa/books", _SPIFFE, 2048)]
Quantity = Annotated[Fraction, Scalar("quantity", _read_quantity, str, {"type": ["string", "number"]})]
Weight = Annotated[int, whole(0, LARGEST_INTEGER)]
