"""What an operator can say of the broker that runs beside the proxy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from meshproxy.model.address import Address, parse
from meshproxy.schema.kinds import Scalar, refuse


def _read_local(value: object) -> Address:
    address = parse(value) if isinstance(value, str) else None
    if address is None or address.kind == "unix" or address.any_port or not address.is_local:
        raise refuse("an address on loopback such as 127.0.0.1:1884, for it lets everybody in", value)
    return address


_LOCAL_JSON = r"^(127\.[0-9.]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$"
LocalAddress = Annotated[Address, Scalar("address", _read_local, str, {"type": "string", "pattern": _LOCAL_JSON})]


@dataclass(frozen=True, slots=True)
class Broker:
    """A small broker of MQTT 3.1.1 in a process of its own, for a site that has no other."""

    listen: Annotated[LocalAddress, "where it answers, on loopback: clients come to a listener, which has the policy"]
