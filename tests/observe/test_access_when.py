"""Which requests leave a line."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.model.access_log import When
from meshproxy.observe.access import compile_when
from meshproxy.observe.record import Record
from meshproxy.schema import decode
from tests.observe.records import Request, connection, record


def wanted(seen: Record, **said: Any) -> bool:
    asks = compile_when(decode(When, said))
    return asks is None or asks(seen)


def test_nothing_is_asked_where_nothing_is_said() -> None:
    assert compile_when(When()) is None
    assert compile_when(decode(When, {"share": 1})) is None


def test_by_status() -> None:
    said = ["5xx", "400-410", 444]
    assert all(wanted(record(status=status), status=said) for status in (400, 404, 410, 444, 500, 503, 599))
    assert not any(wanted(record(status=status), status=said) for status in (0, 200, 399, 411, 443, 445, 499))


def test_by_time() -> None:
    assert wanted(record(seconds=1.0), slower="1s")
    assert not wanted(record(seconds=0.999), slower="1s")


def test_by_flags() -> None:
    assert wanted(record(flags="UF"), flags=True)
    assert not wanted(record(), flags=True)
    assert wanted(record(), flags=False)
    assert not wanted(record(flags="UF"), flags=False)


@pytest.mark.parametrize(
    ("match", "values", "yes"),
    [
        ({"exact": "1"}, [b"1"], True),
        ({"exact": "1"}, [b"2"], False),
        ({"exact": "1"}, [], False),
        ({"prefix": "cu"}, [b"curl"], True),
        ({"regex": "c.*l"}, [b"curl"], True),
        ({"regex": "c"}, [b"curl"], False),
        ({"present": False}, [], True),
        ({"present": True}, [], False),
        ({"exact": "1, 2"}, [b"1", b"2"], True),
    ],
)
def test_by_headers(match: dict[str, Any], values: list[bytes], yes: bool) -> None:
    seen = record(request=Request([(b"X-Debug", value) for value in values]))
    assert wanted(seen, headers={"X-debug": match}) is yes
    assert wanted(connection(), headers={"X-debug": match}) is (match == {"present": False})


def test_all_that_is_said_must_hold() -> None:
    said = {"status": ["5xx"], "slower": "1s", "flags": True}
    assert wanted(record(status=503, seconds=2.0, flags="UF"), **said)
    assert not wanted(record(status=200, seconds=2.0, flags="UF"), **said)
    assert not wanted(record(status=503, seconds=0.5, flags="UF"), **said)
    assert not wanted(record(status=503, seconds=2.0), **said)


def test_a_share_is_drawn_by_the_end_of_the_id_so_that_all_logs_agree() -> None:
    share = compile_when(When(share=0.25))
    assert share is not None
    assert share(record(id=b"0-3fffffff"))
    assert not share(record(id=b"0-40000000"))
    assert share(record(id=b"00000000"))
    assert not share(record(id=b"FFFFFFFF"))


@pytest.mark.parametrize("id", [b"", b"0000000", b"0000000g", b"+0000000", b"0_000000", b" 0000000"])
def test_a_share_of_what_has_no_such_id_is_by_chance(id: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    share = compile_when(When(share=0.25))
    assert share is not None
    for drawn, yes in ((0.24, True), (0.25, False)):
        monkeypatch.setattr("meshproxy.observe.access.when.random", lambda drawn=drawn: drawn)
        assert share(record(id=id)) is yes
