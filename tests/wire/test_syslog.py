"""What stands before a line in syslog."""

from __future__ import annotations

import re

import pytest

from meshproxy.wire.syslog import FACILITIES, SEVERITIES, local, priority, rfc5424

# RFC 5424 6, as far as it says what may stand before a message
FIRST = re.compile(
    rb"<(0|[1-9][0-9]{0,2})>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z [!-~]{1,255} [!-~]{1,48} [!-~]{1,128} - - "
)


def test_a_priority_is_of_a_facility_and_a_severity() -> None:
    assert priority("kern", "emerg") == 0
    assert priority("local4", "notice") == 165, "the example of RFC 5424"
    assert priority("local7", "debug") == 191
    assert (len(FACILITIES), len(SEVERITIES)) == (20, 8)


def test_a_header_says_when_and_who() -> None:
    header = rfc5424(priority("local0", "info"), host="node-7", tag="meshproxy", pid=42)
    assert header(1714564800.25) == b"<134>1 2024-05-01T12:00:00.250000Z node-7 meshproxy 42 - - "
    assert header(1714564801.0) == b"<134>1 2024-05-01T12:00:01.000000Z node-7 meshproxy 42 - - "


@pytest.mark.parametrize("name", ["", "two words", "büro", "a\nb", "]", "x" * 300])
def test_whatever_a_host_is_called_the_header_has_its_fields(name: str) -> None:
    assert FIRST.fullmatch(rfc5424(134, host=name, tag=name, pid=1)(1714564800.0))
    assert re.fullmatch(rb"<134>[!-~]{1,48}\[1\]: ", local(134, tag=name, pid=1)(0.0))


def test_a_local_daemon_knows_by_itself_where_and_when() -> None:
    assert local(priority("daemon", "info"), tag="meshproxy", pid=42)(1714564800.0) == b"<30>meshproxy[42]: "
