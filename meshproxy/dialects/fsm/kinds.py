"""How single values are written in a document of FSM.

    SECONDS.read(0.5)           # 0.5: durations are numbers of seconds
    FRACTION.read("0.10")       # 0.1
"""

from __future__ import annotations

import re
from typing import Annotated

from meshproxy.model.tls import LONGEST_PEM
from meshproxy.schema.kinds import Scalar, read_network, refuse, same, whole

LONGEST = 36500 * 86400.0
LONGEST_TEXT = 1024

_FRACTION = re.compile(r"[01]?\.[0-9]{1,18}|[01]\.?")
_CREDENTIALS = re.compile(r"(?:[!-~](?:[ -~]{0,4094}[!-~])?)?")


def _read_text(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or not value.isprintable():
        raise refuse("a string of printable characters", value)
    return value


def _read_seconds(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= LONGEST:
        raise refuse("a number of seconds, 0 or more", value)
    seconds = round(float(value), 6)
    if value and not seconds:
        raise refuse("a number of seconds, 0 or at least a microsecond", value)
    return seconds


def _read_ratio(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise refuse("a share from 0 to 1", value)
    return float(value)


def _read_fraction(value: object) -> float:
    """As a number or as its text; an empty text says nothing, as Go leaves it out."""
    if isinstance(value, str):
        if not value:
            return 1.0
        if not _FRACTION.fullmatch(value):
            raise refuse('a share from 0 to 1, such as "0.10"', value)
        value = float(value)
    return _read_ratio(value)


def _read_credentials(value: object) -> str:
    """They are never shown, not even where they are wrong."""
    if not isinstance(value, str) or not _CREDENTIALS.fullmatch(value):
        raise ValueError("must be a string of at most 4096 printable ASCII characters, without a space at either end")
    return value


def _read_pem(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_PEM:
        raise ValueError("must be PEM text")
    return value


def _read_range(value: object) -> str:
    text = _read_text(value)
    address, slash, bits = text.partition("/")
    of_host = read_network(address)
    if slash and not (bits.isascii() and bits.isdigit() and len(bits) < 4 and int(bits) <= of_host.max_prefixlen):
        raise refuse("a network such as 10.0.0.0/8", value)
    # Bits of a host are masked away, as the sidecar does.
    return text


def _read_port_key(value: object) -> int:
    if not isinstance(value, str) or not (value.isascii() and value.isdigit() and len(value) <= 5):
        raise refuse("a port from 1 to 65535", value)
    port = int(value)
    if not 1 <= port <= 65535 or str(port) != value:
        raise refuse("a port from 1 to 65535", value)
    return port


_JSON: dict[str, object] = {}
"""Nobody asks for the schema of another's format."""

TEXT = Scalar("text", _read_text, same, _JSON)
COUNT = whole(0, 2**32 - 1)
SECONDS = Scalar("seconds", _read_seconds, same, _JSON)
SHARE = Scalar("share", _read_ratio, same, _JSON)
FRACTION = Scalar("fraction", _read_fraction, same, _JSON)
CREDENTIALS = Scalar("credentials", _read_credentials, same, _JSON)
PEM = Scalar("PEM", _read_pem, same, _JSON)
CONTENT = Scalar("text", _read_pem, same, _JSON)
ANYTHING = Scalar("anything", same, same, _JSON)

Text = Annotated[str, TEXT]
Range = Annotated[str, Scalar("range", _read_range, same, _JSON)]
PortKey = Annotated[int, Scalar("port", _read_port_key, same, _JSON)]
Weight = Annotated[int, COUNT]
Texts = tuple[Annotated[str, TEXT], ...]
Weights = tuple[tuple[Text, Weight], ...]
