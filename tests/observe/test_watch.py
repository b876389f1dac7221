"""Who watches a worker: what is kept of failures and slow requests, and what a tap tells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshproxy.observe.recent import merged
from meshproxy.observe.tap import MOST_BYTES, MOST_LINES, MOST_VALUES, Filter, Query, Tap, read_filter
from meshproxy.observe.watch import Watch
from tests.observe.records import OFFSET, STARTED, Peer, Request, Who, record


def watch(**how: Any) -> Watch:
    return Watch(lambda: OFFSET, **how)


def nothing() -> None:
    pass


# What was newest


def test_errors_and_slow_requests_are_kept_newest_first() -> None:
    it = watch()
    ended: tuple[dict[str, Any], ...] = (
        {"status": 500}, {"status": 200}, {"flags": "DC"}, {"seconds": 1.0}, {"status": 504, "seconds": 9.0}
    )  # fmt: skip
    for number, how in enumerate(ended):
        it.notice(record(started=STARTED + number, **how))
    shown = it.shown(10)
    assert [(row["status"], row["flags"]) for row in shown["errors"]] == [(504, []), (200, ["DC"]), (500, [])]
    assert [row["ms"] for row in shown["slow"]] == [1000.0], "what has failed is an error, however long it took"
    assert (shown["slow_ms"], shown["errors_total"], shown["slow_total"]) == (1000, 3, 1)
    assert len(it.shown(2)["errors"]) == 2


def test_what_lasts_as_long_as_it_is_wanted_is_not_slow() -> None:
    it = watch()
    it.notice(record(status=101, seconds=3600.0))
    it.notice(record(status=0, seconds=3600.0))
    it.notice(record(request=Request(method=b"CONNECT"), seconds=3600.0))
    assert it.shown(10)["slow_total"] == 0


def test_of_many_in_one_second_only_as_many_are_looked_at_as_are_kept() -> None:
    it = watch(keep=3)
    for number in range(100):
        it.notice(record(status=500, id=b"%d" % number))
    assert [row["request_id"] for row in it.shown(10)["errors"]] == ["2", "1", "0"]
    it.notice(record(status=500, id=b"later", started=STARTED + 1))
    assert [row["request_id"] for row in it.shown(10)["errors"]] == ["later", "2", "1"]
    assert it.shown(10)["errors_total"] == 101


def test_a_new_configuration_says_what_is_slow_and_how_much_is_kept() -> None:
    it = watch()
    for number in range(5):
        it.notice(record(status=500, id=b"%d" % number))
    it.use(0.01, 2)
    assert it.slow == 0.01
    it.notice(record(seconds=0.01))
    assert (len(it.shown(10)["errors"]), len(it.shown(10)["slow"]), it.shown(10)["slow_ms"]) == (2, 1, 10)
    it.use(0.01, 0)
    it.notice(record(status=500, started=STARTED + 5))
    assert (it.shown(10)["errors"], it.shown(10)["errors_total"]) == ([], 6)


def test_several_workers_are_shown_as_one() -> None:
    one, other = watch(), watch(slow=0.25)
    for number, it in enumerate((one, other, one, other)):
        it.notice(record(status=500, id=b"%d" % number, started=STARTED + number, seconds=0.5))
    together = merged([one.shown(10), other.shown(10)], 3)
    assert [row["request_id"] for row in together["errors"]] == ["3", "2", "1"]
    assert {name: together[name] for name in together if name != "errors"} == {
        "slow": [], "slow_ms": 1000, "errors_total": 4, "slow_total": 0
    }  # fmt: skip
    assert merged([], 3) == {"errors": [], "slow": [], "slow_ms": 0, "errors_total": 0, "slow_total": 0}


# What is chosen


@pytest.mark.parametrize(
    ("query", "admitted", "refused"),
    [
        ({}, {}, None),
        ({"listener": ["web"]}, {}, None),
        ({"listener": ["db"]}, None, {}),
        ({"route": ["web/1", "shop/0"]}, {}, None),
        ({"route": [""]}, None, {}),
        ({"cluster": ["books"]}, {}, None),
        ({"cluster": ["books-v2"]}, None, {}),
        ({"method": ["get", "PUT"]}, {"request": Request(method=b"PUT")}, {"request": Request(method=b"POST")}),
        ({"path": ["/b"]}, {"request": Request(target=b"/b?x")}, {"request": Request(target=b"/a/b")}),
        ({"path": ["/b?x"]}, None, {"request": Request(target=b"/b?x")}),
        ({"status": ["5xx,404"]}, {"status": 599}, {"status": 403}),
        ({"status": ["400-403", "200"]}, {"status": 403}, {"status": 404}),
        ({"slower": ["100ms"]}, {"seconds": 0.1}, {"seconds": 0.0999}),
        ({"identity": ["me"]}, {"origin": Who(peer=Peer("me"))}, {"origin": Who(peer=Peer("you"))}),
        ({"identity": [""]}, {}, {"origin": Who(peer=Peer("you"))}),
        ({"status": ["200"], "method": ["PUT"]}, None, {}),
    ],
)
def test_a_query_chooses(query: Query, admitted: dict[str, Any] | None, refused: dict[str, Any] | None) -> None:
    chosen = read_filter(query)
    assert admitted is None or chosen.admits(record(**admitted))
    assert refused is None or not chosen.admits(record(**refused))


def test_the_rest_of_a_query() -> None:
    assert read_filter({}) == Filter()
    assert read_filter({"share": [".5"], "limit": ["7"], "headers": ["1"]}) == Filter(share=0.5, limit=7, headers=True)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"colour": ["red"]}, "'colour' is nothing to choose by; there are listener, route, "),
        ({"status": ["9xx"]}, "status: '9xx' is neither a status such as 503, a class such as 5xx, nor 400-499"),
        ({"status": [""]}, "status: '' is neither"),
        ({"status": ["500-400"]}, "status: '500-400' begins above its end"),
        ({"status": [",".join(["200"] * (MOST_VALUES + 1))]}, "status: 17 values are more than 16"),
        ({"route": ["a"] * (MOST_VALUES + 1)}, "route: 17 values are more than 16"),
        ({"slower": ["fast"]}, 'slower: must be a duration such as 5s (units ms, s, m, h, d), not "fast"'),
        ({"share": ["0"]}, "share: '0' is not a share above 0 and up to 1, such as 0.1"),
        ({"share": ["1.5"]}, "share: '1.5'"),
        ({"share": ["nan"]}, "share: 'nan'"),
        ({"share": ["."]}, "share: '.'"),
        ({"limit": ["0"]}, "limit: '0' is not a number from 1 to 1000000"),
        ({"limit": ["9" * 5000]}, "limit: '999"),
        ({"limit": ["1", "2"]}, "limit: given 2 times"),
        ({"headers": ["yes"]}, "headers: 'yes' is neither 1 nor 0"),
        ({"path": ["/" * 2000]}, "path: '///"),
        ({"path": ["/\n"]}, r"path: '/\n' is not at most 1024 characters that can be printed"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused_in_words(query: Query, words: str) -> None:
    with pytest.raises(ValueError) as refused:
        read_filter(query)
    assert str(refused.value).startswith(words)
    assert len(str(refused.value)) < 300


# What is told


def test_only_while_a_tap_is_open_everything_is_worth_a_call() -> None:
    it = watch()
    one, other = Tap(Filter(), nothing), Tap(Filter(), nothing)
    it.open(one)
    it.open(other)
    assert it.slow == -1.0
    it.close(one)
    it.use(2.0, 10)
    assert it.slow == -1.0
    it.close(other)
    assert it.slow == 2.0
    it.notice(record(status=500))
    assert one.take() == other.take() == ([], 0)


def test_a_tap_has_what_it_has_chosen_and_wakes_once() -> None:
    it, woken = watch(), list[int]()
    tap = Tap(read_filter({"status": ["5xx"]}), lambda: woken.append(1))
    it.open(tap)
    for status in (200, 500, 404, 503):
        it.notice(record(status=status))
    lines, lost = tap.take()
    assert ([json.loads(line)["status"] for line in lines], lost, woken) == ([500, 503], 0, [1])
    assert tap.take() == ([], 0)
    it.notice(record(status=502))
    assert woken == [1, 1]


def test_heads_come_only_where_they_are_wanted() -> None:
    it = watch()
    plain, whole = Tap(Filter(), nothing), Tap(Filter(headers=True), nothing)
    it.open(plain)
    it.open(whole)
    it.notice(record(request=Request(fields=[(b"Cookie", b"a=b")]), response=None))
    (line,), _ = whole.take()
    event = json.loads(line)
    assert (event.pop("request_headers"), event.pop("response_headers")) == ([["Cookie", "*"]], [])
    assert json.loads(plain.take()[0][0]) == event


def test_a_share_is_drawn() -> None:
    it, drawn = watch(), iter((0.05, 0.1, 0.5, 0.0999))
    tap = Tap(Filter(share=0.1), nothing, lambda: next(drawn))
    it.open(tap)
    for _ in range(4):
        it.notice(record())
    assert len(tap.take()[0]) == 2


def test_what_is_more_than_it_holds_is_counted_and_gone() -> None:
    it, tap = watch(), Tap(Filter(), nothing)
    it.open(tap)
    for _ in range(MOST_LINES + 7):
        it.notice(record())
    lines, lost = tap.take()
    assert (len(lines), lost) == (MOST_LINES, 7)
    tap.lose(3)
    it.notice(record())
    assert tap.take()[1] == 3


def test_what_it_holds_is_bounded_in_bytes_too() -> None:
    it, tap = watch(), Tap(Filter(headers=True), nothing)
    it.open(tap)
    large = Request(fields=[(b"a", b"\xff" * 256)] * 64)
    for _ in range(MOST_LINES):
        it.notice(record(request=large))
    lines, lost = tap.take()
    assert len(lines) + lost == MOST_LINES
    assert sum(map(len, lines[:-1])) < MOST_BYTES
