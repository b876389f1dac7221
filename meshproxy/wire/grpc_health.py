"""The two messages of gRPC's protocol for health checks, which are so small that they are written here by hand.

    check("books.Books")            # HealthCheckRequest{service: "books.Books"}
    found(message)                  # Serving.SERVING, of a HealthCheckResponse; raises ValueError
"""

from __future__ import annotations

from enum import IntEnum

PATH = b"/grpc.health.v1.Health/Check"

_SERVICE = 1 << 3 | 2
"""The first field, which has a length."""
_STATUS = 1 << 3 | 0
"""The first field, which is a number."""
_MOST_DIGITS = 10


class Serving(IntEnum):
    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


def check(service: str) -> bytes:
    name = service.encode()
    return bytes([_SERVICE]) + _number(len(name)) + name if name else b""


def found(message: bytes) -> Serving:
    """A field that is not known is passed over; of a repeated one the last counts, and none is zero."""
    status, at = 0, 0
    while at < len(message):
        key, at = _read_number(message, at)
        match key & 7:
            case 0:
                value, at = _read_number(message, at)
                if key == _STATUS:
                    status = value
            case 1:
                at += 8
            case 2:
                length, at = _read_number(message, at)
                at += length
            case 5:
                at += 4
            case kind:
                raise ValueError(f"a field of kind {kind}")
    if at > len(message):
        raise ValueError("a field is cut")
    return Serving(status) if status in Serving._value2member_map_ else Serving.UNKNOWN


def _number(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_MOST_DIGITS):
        if at >= len(data):
            raise ValueError("a number is cut")
        digit = data[at]
        at += 1
        value |= (digit & 0x7F) << 7 * place
        if digit < 0x80:
            return value, at
    raise ValueError("a number is too long")
