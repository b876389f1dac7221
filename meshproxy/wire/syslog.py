"""What stands before a line in syslog: RFC 5424, and the shorter form that daemons read from a local socket.

    header = rfc5424(priority("local0", "info"), host="node-7", tag="meshproxy", pid=42)
    header(1714564800.25)           # b"<134>1 2024-05-01T12:00:00.250000Z node-7 meshproxy 42 - - "

    header = local(priority("local0", "info"), tag="meshproxy", pid=42)
    header(1714564800.25)           # b"<134>meshproxy[42]: ", and the daemon says when it came
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

FACILITIES = {
    word: number for number, word in enumerate((
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    ))
} | {f"local{number}": 16 + number for number in range(8)}  # fmt: skip
SEVERITIES = {
    word: number
    for number, word in enumerate(("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"))
}
NONE = "-"
LONGEST_HOST = 255
LONGEST_TAG = 48

Header = Callable[[float], bytes]
"""Of a message that is sent at a time, which is Unix time."""

_unprintable = re.compile(r"[^!-~]").sub


def priority(facility: str, severity: str) -> int:
    return FACILITIES[facility] * 8 + SEVERITIES[severity]


def rfc5424(priority: int, *, host: str, tag: str, pid: int) -> Header:
    first = b"<%d>1 " % priority
    last = f"Z {_name(host, LONGEST_HOST)} {_name(tag, LONGEST_TAG)} {pid} - - ".encode("ascii")

    def header(at: float) -> bytes:
        return first + f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.%f}".encode("ascii") + last

    return header


def local(priority: int, *, tag: str, pid: int) -> Header:
    always = f"<{priority}>{_name(tag, LONGEST_TAG)}[{pid}]: ".encode("ascii")
    return lambda _: always


def _name(text: str, most: int) -> str:
    return _unprintable("_", text)[:most] or NONE
