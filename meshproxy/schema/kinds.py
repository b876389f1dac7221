"""Scalar kinds: how one value is read from plain data, shown again, and described.

A kind refuses with `ValueError`, in words that follow the name of the key: "must be a duration such as 5s, not 5".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any

SHOWN_LENGTH = 60
LARGEST_INTEGER = 2**63 - 1


def shown(value: object) -> str:
    """The value as a message shows it: short, one line, and never the inside of a container."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return "a number that large"
    if isinstance(value, str):
        if "PRIVATE KEY-----" in value[:SHOWN_LENGTH]:
            # Somebody has put it in the wrong place; problems are logged.
            return "a private key"
        # First made short, then quoted: a value may be large, and stand in a hundred thousand places.
        return cut(json.dumps(value[:SHOWN_LENGTH]))
    if isinstance(value, bool | int | float):
        return cut(json.dumps(value))
    return f"a {type(value).__name__}"


def cut(text: str) -> str:
    return text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 1] + "…"


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """One kind of value: its name in the documentation, how it is read and shown, and its JSON Schema."""

    name: str
    read: Callable[[object], Any]
    show: Callable[[Any], object]
    json: Mapping[str, object]


def same(value: Any) -> object:
    return value


def refuse(expected: str, value: object) -> ValueError:
    return ValueError(f"must be {expected}, not {shown(value)}")


def string(name: str, expected: str, pattern: str, longest: int) -> Scalar:
    matches = re.compile(pattern).fullmatch

    def read(value: object) -> str:
        if not isinstance(value, str) or len(value) > longest or not value.isprintable() or not matches(value):
            raise refuse(expected, value)
        return value

    return Scalar(name, read, same, {"type": "string", "pattern": f"^(?:{pattern})$", "maxLength": longest})


def whole(low: int, high: int, name: str = "integer") -> Scalar:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise refuse(f"a whole number from {low} to {high}", value)
        return value

    return Scalar(name, read, same, {"type": "integer", "minimum": low, "maximum": high})


def choice(*values: str, reserved: Mapping[str, str] | None = None) -> Scalar:
    """One of some words; `reserved` are the words of a later version, each with what it stands for."""
    later = reserved or {}
    expected = " or ".join(values)

    def read(value: object) -> str:
        if isinstance(value, str):
            if value in values:
                return value
            if value in later:
                raise ValueError(f"must be {expected}: {value} is reserved, {later[value]} is not in this version")
        raise refuse(expected, value)

    return Scalar(" \\| ".join(f"`{value}`" for value in values), read, same, {"enum": list(values)})


def _read_ratio(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise refuse("a share from 0 to 1, such as 0.5", value)
    return float(value)


def _read_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise refuse("true or false", value)
    return value


# Durations ----------------------------------------------------------------------------------------

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_LONGEST = 36500 * 86400.0


def read_duration(value: object) -> float:
    if value == 0 and isinstance(value, int) and not isinstance(value, bool):
        return 0.0
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise refuse("a duration such as 5s (units ms, s, m, h, d)", value)
    number = float(found[1])
    seconds = round(number / 1000 if found[2] == "ms" else number * _SECONDS[found[2]], 6)
    if seconds > _LONGEST or (number > 0 and seconds == 0):
        raise refuse("a duration of 1 microsecond to 36500d, or 0", value)
    return seconds


def show_duration(seconds: float) -> str | int:
    if seconds == 0:
        return 0
    for unit in ("d", "h", "m", "s"):
        if seconds % _SECONDS[unit] == 0:
            return f"{int(seconds / _SECONDS[unit])}{unit}"
    milliseconds = round(seconds * 1000)
    if round(milliseconds / 1000, 6) == seconds:
        return f"{milliseconds}ms"
    return f"{seconds:.6f}".rstrip("0") + "s"


def _read_positive_duration(value: object) -> float:
    seconds = read_duration(value)
    if seconds == 0:
        raise refuse("a duration longer than 0, such as 5s", value)
    return seconds


_POSITIVE_DURATION_JSON = {"type": "string", "pattern": f"^{_DURATION.pattern}$"}
_DURATION_JSON = {"anyOf": [{"const": 0}, _POSITIVE_DURATION_JSON]}

# Sizes --------------------------------------------------------------------------------------------

_BYTES = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"([0-9]{1,15})(|KiB|MiB|GiB)")
_SIZE_JSON = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]{1,15}(KiB|MiB|GiB)$"}]}


def read_size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_INTEGER:
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None or not found[2]:
        raise refuse("a size such as 64KiB (units KiB, MiB, GiB), or a number of bytes", value)
    return int(found[1]) * _BYTES[found[2]]


def show_size(size: int) -> str | int:
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0 and size // _BYTES[unit] < 10**15:
            return f"{size // _BYTES[unit]}{unit}"
    return size


def size(low: int, high: int) -> Scalar:
    """A size within bounds, both of which are counted."""

    def read(value: object) -> int:
        found = read_size(value)
        if not low <= found <= high:
            raise refuse(f"a size from {show_size(low)} to {show_size(high)}", value)
        return found

    return Scalar("size", read, show_size, _SIZE_JSON)


# Secrets ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Secret:
    """A string that is never printed. Two are equal when their digests are: one that was shown redacted and came
    back has a digest only, and is the one it was made from."""

    digest: str
    text: str | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, text: str) -> Secret:
        return cls(sha256(text.encode()).hexdigest(), text)

    def show(self, redact: bool) -> object:
        return {"redacted": self.digest} if redact or self.text is None else self.text


_DIGEST = re.compile(r"[0-9a-f]{64}")
_SECRET = re.compile(r"[\x21-\x7e]{1,4096}")


def _read_secret(value: object) -> Secret:
    if isinstance(value, str) and _SECRET.fullmatch(value):
        return Secret.of(value)
    if isinstance(value, Mapping) and list(value) == ["redacted"]:
        digest = value["redacted"]
        if isinstance(digest, str) and _DIGEST.fullmatch(digest):
            return Secret(digest)
    raise ValueError("must be a string of 1 to 4096 printable ASCII characters without spaces")


def _secret_json(text: re.Pattern[str]) -> Mapping[str, object]:
    redacted = {
        "type": "object",
        "additionalProperties": False,
        "required": ["redacted"],
        "properties": {"redacted": {"type": "string", "pattern": f"^{_DIGEST.pattern}$"}},
    }
    return {"anyOf": [{"type": "string", "pattern": f"^{text.pattern}$"}, redacted]}


_VALUE = re.compile(r"[!-~](?:[ -~]{0,4094}[!-~])?")


def _read_secret_value(value: object) -> Secret:
    """Of a header field: it may have words."""
    if isinstance(value, str):
        if not _VALUE.fullmatch(value):
            raise ValueError("must be a string of 1 to 4096 printable ASCII characters, without a space at either end")
        return Secret.of(value)
    return _read_secret(value)


# Networks -----------------------------------------------------------------------------------------


def read_network(value: object) -> IPv4Network | IPv6Network:
    if not isinstance(value, str) or len(value) > 64 or "%" in value:
        raise refuse("a network such as 10.0.0.0/8", value)
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise refuse("a network such as 10.0.0.0/8", value) from None
    if str(network.network_address) != str(ip_address(value.partition("/")[0])):
        raise ValueError(f"must be a network, not {shown(value)} with host bits set; did you mean {network}?")
    return network


BOOL = Scalar("boolean", _read_bool, same, {"type": "boolean"})
RATIO = Scalar("ratio", _read_ratio, same, {"type": "number", "minimum": 0, "maximum": 1})
DURATION = Scalar("duration", read_duration, show_duration, _DURATION_JSON)
POSITIVE_DURATION = Scalar("duration", _read_positive_duration, show_duration, _POSITIVE_DURATION_JSON)
SIZE = Scalar("size", read_size, show_size, _SIZE_JSON)
SECRET = Scalar("secret", _read_secret, same, _secret_json(_SECRET))
SECRET_VALUE = Scalar("secret", _read_secret_value, same, _secret_json(_VALUE))
NETWORK = Scalar("network", read_network, str, {"type": "string", "maxLength": 64})
PORT = whole(1, 65535, "port")
NAME = string(
    "name", "a name (letters, digits, and _ . : / | @ - after the first)", r"[A-Za-z0-9_][A-Za-z0-9_.:/|@-]*", 253
)
TEXT = string("string", "a string of printable characters", r"[^\x00-\x1f\x7f]*", 1024)

Bool = Annotated[bool, BOOL]
Ratio = Annotated[float, RATIO]
Duration = Annotated[float, DURATION]
PositiveDuration = Annotated[float, POSITIVE_DURATION]
Size = Annotated[int, SIZE]
Network = Annotated[IPv4Network | IPv6Network, NETWORK]
Port = Annotated[int, PORT]


def port_in(text: str) -> int:
    """The port that stands in a text, or `ValueError`."""
    number: int = PORT.read(int(text) if re.fullmatch("[0-9]{1,5}", text) else text)
    return number
Name = Annotated[str, NAME]
Text = Annotated[str, TEXT]
SecretText = Annotated[Secret, SECRET]
SecretValue = Annotated[Secret, SECRET_VALUE]
