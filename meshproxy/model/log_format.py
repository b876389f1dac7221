"""The texts of access logs: words that stand there as they are, and Envoy's command operators, taken apart and checked.

    pieces("%PROTOCOL% took %DURATION% ms")
    # [Operator("PROTOCOL"), " took ", Operator("DURATION"), " ms"]

What an operator stands for is known by `observe.access.operators`, which has one for each name here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from meshproxy.model.matching import token
from meshproxy.schema.kinds import NAME, Scalar, cut, same, shown
from meshproxy.schema.shapes import Names

LONGEST_TEXT = 4096
MOST_OPERATORS = 64
LONGEST_TIME = 32
DEEPEST = 4
"""Objects within one another."""

_OPERATOR = re.compile(r"%(?P<name>[A-Z][A-Z0-9_]*)(?:\((?P<argument>[^()]*)\))?(?::(?P<longest>[1-9][0-9]{0,4}))?%")
_WORDS = re.compile(r"(?:[^%]|%%)+")
_ASCII = re.compile(r"[ -~]*")


@dataclass(frozen=True, slots=True)
class Operator:
    name: str
    argument: str = ""
    longest: int | None = None
    """How much of a value is written; None: as much as of any."""


# What operators take ------------------------------------------------------------------------------

_DIRECTIVES = re.compile(r"""(?:[^%"\\]|%(?:[aAbBCdDeFgGhHIjmMprRsSTuUVwWyYzZ%f]|[1-9]f))*""")
_FRACTION = re.compile(r"%[1-9]?f")
_SECRET = re.compile(
    r"(?:.*[-_.])?(?:authorization|cookie2?|tokens?|secret|passw(?:or)?d|credentials?|(?:api|access)[-_]?key"
    r"|session(?:[-_]?id)?|jwt|assertion)"
)
OF_A_REQUEST = (":method", ":path", ":authority")
"""What HTTP/2 has as fields, and HTTP/1.1 in its first line."""


def is_secret(name: str) -> bool:
    """Whether the value of a header of this name, in lower case, is never written."""
    return _SECRET.fullmatch(name) is not None


def _nothing(argument: str) -> None:
    if argument:
        raise ValueError(f"takes no argument, and has {shown(argument)}")


def _field(argument: str, *others: str) -> None:
    names = argument.lower().split("?")
    if len(names) > 2:
        raise ValueError(f"takes the name of a header, or two with `?` between them, not {shown(argument)}")
    for name in names:
        if name not in others and not token(name):
            raise ValueError(f"takes the name of a header, not {shown(name)}")
        if is_secret(name):
            raise ValueError(f"is refused: what stands in `{name}` is a secret and is never logged")


def _of_a_request(argument: str) -> None:
    _field(argument, *OF_A_REQUEST)


def _time(argument: str) -> None:
    if len(argument) > LONGEST_TIME or not _DIRECTIVES.fullmatch(argument):
        raise ValueError(f"takes directives such as %Y-%m-%dT%H:%M:%S.%3fZ, not {shown(argument)}")
    if len(_FRACTION.findall(argument.replace("%%", ""))) > 1:
        raise ValueError(f"takes one fraction of a second, not {shown(argument)}")


def _query(argument: str) -> None:
    if argument not in ("", "WQ", "NQ"):
        raise ValueError(f"takes WQ or NQ, with the query or without it, not {shown(argument)}")


_CUT = (_of_a_request, _field, _query)
"""Takers of arguments whose operators may say how much they write."""

OPERATORS: Mapping[str, Callable[[str], None]] = {
    **dict.fromkeys(("REQ", "REQUEST_HEADER"), _of_a_request),
    **dict.fromkeys(("RESP", "RESPONSE_HEADER"), _field),
    "PATH": _query,
    "START_TIME": _time,
    **dict.fromkeys(
        """
        PROTOCOL RESPONSE_CODE RESPONSE_CODE_DETAILS RESPONSE_FLAGS ROUTE_NAME LISTENER NODE HOSTNAME
        BYTES_RECEIVED BYTES_SENT DURATION RESPONSE_DURATION RESPONSE_TX_DURATION
        UPSTREAM_CLUSTER UPSTREAM_HOST UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_PORT
        UPSTREAM_REQUEST_ATTEMPT_COUNT UPSTREAM_HOSTS_ATTEMPTED
        DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_PORT
        DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_PORT
        REQUESTED_SERVER_NAME DOWNSTREAM_TLS_VERSION DOWNSTREAM_TLS_CIPHER
        DOWNSTREAM_PEER_IDENTITY DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_PEER_DNS_SAN DOWNSTREAM_PEER_SUBJECT
        DOWNSTREAM_PEER_ISSUER DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_FINGERPRINT_256
        TRACE_ID SPAN_ID
        MQTT_CLIENT_ID MQTT_USER MESSAGES_RECEIVED MESSAGES_SENT
        """.split(),
        _nothing,
    ),
}
"""Each with what is wrong with its argument, if anything."""

# A text -------------------------------------------------------------------------------------------


def pieces(text: str) -> list[str | Operator]:
    """Words and operators in their order, or a ValueError with what is wrong with the first that is."""
    return list(_pieces(text))


def _pieces(text: str) -> Iterator[str | Operator]:
    place = 0
    while place < len(text):
        if words := _WORDS.match(text, place):
            yield words[0].replace("%%", "%")
            place = words.end()
        elif found := _OPERATOR.match(text, place):
            yield _operator(found)
            place = found.end()
        else:
            raise ValueError(f"{shown(text[place:])} begins with no operator; `%%` is a percent sign")


def _operator(found: re.Match[str]) -> Operator:
    name, argument, longest = found["name"], found["argument"] or "", found["longest"]
    takes = OPERATORS.get(name)
    if takes is None:
        raise ValueError(f"unknown operator `%{name}%`{Names(OPERATORS).nearest(name)}")
    try:
        takes(argument)
    except ValueError as why:
        raise ValueError(f"`%{name}%` {why}") from None
    if longest is not None and takes not in _CUT:
        raise ValueError(f"`%{name}%` is written whole, without `:{longest}`")
    return Operator(name, argument, None if longest is None else int(longest))


def _read(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or not _ASCII.fullmatch(value):
        raise ValueError(
            f"must be one line of at most {LONGEST_TEXT} printable ASCII characters, with operators such as "
            f"%PROTOCOL%, not {shown(value)}"
        )
    try:
        pieces(value)
    except ValueError as why:
        raise ValueError(f"must be a text with operators such as %PROTOCOL%: {why}") from None
    return value


def _read_line(value: object) -> str:
    """An end of the line may be written, as it is for Envoy, and is there anyway."""
    return _read(value.removesuffix("\n") if isinstance(value, str) else value)


_JSON = {"type": "string", "maxLength": LONGEST_TEXT}

LogLine = Annotated[str, Scalar("text with operators", _read_line, same, _JSON)]

# Objects ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LogObject:
    """Keys in the order of the alphabet, each with a text or with an object again."""

    fields: tuple[tuple[str, str | LogObject], ...]


def leaves(fields: Iterable[tuple[str, str | LogObject]]) -> Iterator[tuple[str, str]]:
    """Each text with its keys, such as `request.path`."""
    for key, value in fields:
        if isinstance(value, str):
            yield key, value
        else:
            yield from ((f"{key}.{below}", text) for below, text in leaves(value.fields))


def _read_value(value: object, within: int = 0) -> str | LogObject:
    if not isinstance(value, Mapping):
        return _read(value)
    if within == DEEPEST:
        raise ValueError(f"must have no more than {DEEPEST} objects within one another")
    if not value:
        raise ValueError("must be a text, or an object that has a key")
    found = []
    for key, below in value.items():
        try:
            found.append((NAME.read(key), _read_value(below, within + 1)))
        except ValueError as why:
            raise ValueError(f"is wrong at `{cut(str(key))}`, which {why}") from None
    return LogObject(tuple(sorted(found, key=lambda pair: pair[0])))


def _show_value(value: str | LogObject) -> object:
    return value if isinstance(value, str) else {key: _show_value(below) for key, below in value.fields}


LogValue = Annotated[
    str | LogObject,
    Scalar(
        "text with operators, or an object of them",
        _read_value,
        _show_value,
        {"anyOf": [_JSON, {"type": "object", "minProperties": 1}]},
    ),
]

# Formats that have a name -------------------------------------------------------------------------

ENVOY = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"'
)
COMMON = (
    "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% - %DOWNSTREAM_PEER_IDENTITY% [%START_TIME(%d/%b/%Y:%H:%M:%S +0000)%] "
    '"%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%" %RESPONSE_CODE% %BYTES_SENT%'
)
COMBINED = f'{COMMON} "%REQ(REFERER)%" "%REQ(USER-AGENT)%"'
TEXTS = {"envoy": ENVOY, "common": COMMON, "combined": COMBINED}

JSON = (
    ("start_time", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(:PATH)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("listener", "%LISTENER%"),
    ("route_name", "%ROUTE_NAME%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("downstream_peer_identity", "%DOWNSTREAM_PEER_IDENTITY%"),
    ("trace_id", "%TRACE_ID%"),
)
"""Those that are taken together stand together."""
JSON_OF_SESSION = (
    ("mqtt_client_id", "%MQTT_CLIENT_ID%"),
    ("mqtt_user", "%MQTT_USER%"),
    ("messages_received", "%MESSAGES_RECEIVED%"),
    ("messages_sent", "%MESSAGES_SENT%"),
)
"""Which a line of a session has as well."""
