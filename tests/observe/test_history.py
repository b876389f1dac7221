"""What a worker remembers of its last five minutes, and what several come to: fed by hand, without a loop."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.observe import history
from meshproxy.observe.changes import FIELDS, WIDTH, read, write
from meshproxy.observe.faults import is_error
from meshproxy.observe.history import LATE, LONGEST, History, ended
from meshproxy.observe.metrics.answers import REQUEST_BOUNDS, AnswerStats, EdgeStats
from meshproxy.observe.metrics.clusters import ClusterStats
from meshproxy.observe.metrics.listeners import ListenerStats
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.quantile import quantiles
from meshproxy.observe.window import Window, document
from tests.examples import examples

START = 1_700_000_000


class Worker:
    """Counters, what is remembered of them, and two clocks."""

    def __init__(self, wall: float = START, now: float = 50.0) -> None:
        self.wall, self.now = wall, now
        self.stats = Stats()
        self.listener = self.stats.listeners["in"] = ListenerStats()
        self.cluster = self.stats.clusters["up"] = ClusterStats()
        self.history = History(wall, now)

    def ask(self, status: int = 200, flag: str = "", seconds: float = 0.002, route: str = "web/0") -> None:
        of_route = self.listener.answers.setdefault(route, {})
        of_route.setdefault("up", AnswerStats()).count(status, flag, seconds)

    def pass_by(self, seconds: float = 1.0) -> None:
        """Of time; and one second is told."""
        self.wall += seconds
        self.now += seconds
        for _ in self.history.second(self.stats, self.wall, self.now):
            pass

    def shown(self, seconds: int = 10) -> Any:
        return shown([self], seconds)


def shown(workers: list[Worker], seconds: int = 10) -> Any:
    return document(Window([worker.history.told(seconds) for worker in workers], seconds))


def test_each_second_has_its_own_figures_and_the_window_their_summary() -> None:
    w = Worker()
    w.ask()
    w.listener.bytes_received_total += 100
    w.pass_by()
    w.pass_by()
    for status, flag in ((200, ""), (404, "NR"), (503, "UF"), (200, "UC")):
        w.ask(status, flag)
    w.cluster.bytes_sent_total += 7
    w.pass_by()
    found = w.shown(4)
    assert (found["window_seconds"], found["known_seconds"], found["end"], found["workers"]) == (4, 3, START + 3, 1)
    total = found["total"]
    assert (total["requests"], total["errors"]) == ([0, 1, 0, 4], [0, 0, 0, 2])
    assert total["received_bytes"] == [0, 100, 0, 0]
    assert total["p50"] == [None, 1.75, None, 1.75]
    assert total["summary"] == {"rate": 1.667, "success": 0.6, "p50": 1.75, "p95": 2.425, "p99": 2.485}
    assert found["routes"]["in/web/0"]["requests"] == found["clusters"]["up"]["requests"] == total["requests"]
    assert found["clusters"]["up"]["sent_bytes"] == [0, 0, 0, 7]
    assert found["listeners"]["in"]["summary"] == total["summary"]


def test_where_nothing_is_nothing_is_kept() -> None:
    w = Worker()
    w.listener.answers["never"] = {"up": AnswerStats()}
    for _ in range(20):
        w.pass_by()
    assert json.loads(w.history.told(300)) == {
        "since": START, "until": START + 20, "names": [], "active": [], "frames": []
    }  # fmt: skip
    found = w.shown()
    assert found["routes"] == found["listeners"] == found["clusters"] == {}
    assert found["total"]["summary"] == {"rate": 0.0, "success": None, "p50": None, "p95": None, "p99": None}


def test_connections_are_those_at_the_end_of_each_second() -> None:
    w = Worker()
    for came in (3, 0, -1, 0):
        w.listener.connections_active += came
        w.listener.connections_total += max(came, 0)
        w.pass_by()
    assert w.shown(5)["total"]["connections_active"] == [0, 3, 3, 2, 2]
    assert w.shown(2)["listeners"]["in"]["connections_active"] == [2, 2], "also of those that came before the window"
    assert w.shown(4)["total"]["connections"] == [3, 0, 0, 0]
    for _ in range(LONGEST + 10):
        w.pass_by()
    assert w.shown(1)["total"]["connections_active"] == [2], "and of those that have been there for hours"


def test_after_five_minutes_all_is_forgotten() -> None:
    w = Worker()
    w.ask()
    for _ in range(LONGEST):
        w.pass_by()
    assert sum(w.shown(LONGEST)["total"]["requests"]) == 1
    for _ in range(2 * history.TIDY_EVERY):
        w.pass_by()
    assert w.shown(LONGEST)["routes"] == {}
    assert w.history.told(LONGEST).endswith(b"\n")
    w.ask()
    w.pass_by()
    assert w.shown()["routes"]["in/web/0"]["requests"][-2:] == [0, 1]


def test_a_counter_that_starts_anew_starts_at_0() -> None:
    w = Worker()
    w.ask()
    w.pass_by()
    del w.listener.answers["web/0"]
    w.ask()
    w.ask()
    w.pass_by()
    assert w.shown(2)["routes"]["in/web/0"]["requests"] == [1, 2]


def test_a_listener_that_a_reload_removes_takes_its_connections_with_it_and_its_past_stays() -> None:
    w = Worker()
    w.ask()
    w.listener.connections_active += 5
    w.pass_by()
    w.pass_by()
    del w.stats.listeners["in"]
    w.pass_by()
    found = w.shown(3)["listeners"]["in"]
    assert (found["requests"], found["connections_active"]) == ([1, 0, 0], [5, 5, 0])
    w.listener = w.stats.listeners["in"] = ListenerStats()
    w.listener.connections_active += 2
    w.pass_by()
    assert w.shown(3)["listeners"]["in"]["connections_active"] == [5, 0, 2]


@pytest.mark.parametrize("jump", [3600, -3600, 5, -5])
def test_when_the_clock_is_set_the_past_moves_with_it(jump: int) -> None:
    w = Worker()
    for _ in range(3):
        w.ask()
        w.pass_by()
    w.wall += jump
    w.pass_by()
    w.ask()
    w.pass_by()
    found = w.shown(6)
    assert (found["end"], found["known_seconds"]) == (START + jump + 5, 5)
    assert found["total"]["requests"] == [0, 1, 1, 1, 0, 1]


def test_a_clock_that_is_set_by_parts_of_a_second_again_and_again_loses_nothing() -> None:
    w = Worker()
    for _ in range(10):
        w.ask()
        w.wall += 0.3
        w.pass_by()
    assert sum(w.shown(20)["total"]["requests"]) == 10


def test_a_tick_that_comes_late_or_early_counts_for_its_own_second() -> None:
    w = Worker()
    for late in (0.0, -0.001, 0.4, -0.3, 0.0):
        w.ask()
        w.pass_by(1 + late)
    assert w.shown(5)["total"]["requests"] == [1] * 5


def test_of_several_workers_the_same_seconds_are_added_up() -> None:
    one, other = Worker(), Worker(now=7.0)
    for w, times in ((one, 2), (other, 3)):
        w.listener.connections_active = times
        for _ in range(times):
            w.ask(seconds=0.002 * times)
        w.pass_by()
    found = shown([one, other], 2)
    assert found["workers"] == 2
    assert found["total"]["requests"] == [0, 5]
    assert found["total"]["connections_active"] == [0, 5]
    assert found["routes"]["in/web/0"]["p50"][1] == pytest.approx(5.833), "of the sums, and no mean of two"


def test_a_second_is_shown_when_all_have_told_of_it_and_who_hangs_is_not_waited_for() -> None:
    one, slow = Worker(), Worker()
    for w in (one, slow):
        w.listener.connections_active += 1
        w.ask()
        w.pass_by()
    one.ask()
    one.listener.connections_active += 1
    one.pass_by()
    found = shown([one, slow], 2)
    assert (found["end"], found["total"]["requests"], found["workers"]) == (START + 1, [0, 2], 2)
    assert found["total"]["connections_active"] == [0, 2], "what came after the end of the window is not in it"
    for _ in range(LATE):
        one.pass_by()
    found = shown([one, slow], 4)
    assert (found["end"], found["total"]["requests"], found["workers"]) == (START + 4, [2, 1, 0, 0], 1)
    assert found["total"]["connections_active"] == [2, 3, 3, 3], "who hangs holds what it held"


def test_a_worker_that_starts_late_changes_nothing_of_what_was() -> None:
    early = Worker()
    early.ask()
    early.pass_by()
    late = Worker(wall=early.wall + 0.7)
    late.ask()
    late.pass_by(1.3)
    early.pass_by()
    early.pass_by()
    found = shown([early, late], 3)
    assert (found["total"]["requests"], found["known_seconds"]) == ([1, 0, 1], 3)


def test_of_a_worker_that_died_remains_what_it_had_told() -> None:
    one, dying = Worker(), Worker()
    for w in (one, dying):
        w.ask()
        w.listener.connections_active += 2
        w.pass_by()
    last = ended(dying.history.told(10))
    for _ in range(3):
        one.pass_by()
    found = document(Window([one.history.told(10), last], 4))
    assert found["workers"] == 1
    assert found["total"]["requests"] == [2, 0, 0, 0]
    assert found["total"]["connections_active"] == [4, 2, 2, 2]
    assert document(Window([one.history.told(10), last], 2))["total"]["connections_active"] == [2, 2]


def test_nobody_has_told_anything() -> None:
    found = document(Window([], 2))
    assert (found["end"], found["known_seconds"], found["workers"]) == (0, 0, 0)
    assert found["total"]["requests"] == [0, 0]
    assert document(Window([Worker(wall=START + 0.3).history.told(2)], 2))["end"] == START


def test_series_beyond_the_most_are_added_up_for_their_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_SERIES", 4)
    w = Worker()
    for number in range(10):
        w.ask(route=f"web/{number}")
    w.listener.bytes_sent_total += 1
    w.pass_by()
    found = w.shown(1)
    assert {name: line["requests"] for name, line in found["routes"].items()} == {
        "in/web/0": [1], "in/web/1": [1], "in/web/2": [1], "in/other": [7]
    }  # fmt: skip
    assert found["total"]["requests"] == found["listeners"]["in"]["requests"] == [10]
    assert list(found["clusters"]) == ["other", "up"]


def test_when_there_is_too_much_the_oldest_goes_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_BYTES", 20)
    w = Worker()
    for _ in range(10):
        w.ask()
        w.pass_by()
    found = w.shown()
    assert found["total"]["requests"] == [0] * 5 + [1] * 5
    assert (found["known_seconds"], found["total"]["summary"]["rate"]) == (5, 1.0)


def test_a_busy_series_costs_a_few_bytes_a_second() -> None:
    w = Worker()
    for _ in range(LONGEST):
        for answer in range(20):
            w.ask(200 if answer else 503, seconds=0.001 * answer)
        w.pass_by()
    _, _, frames = w.history.told(LONGEST).partition(b"\n")
    assert len(frames) <= 10 * LONGEST


def test_where_many_are_busy_the_traffic_has_its_turn() -> None:
    w = Worker()
    for number in range(1000):
        w.ask(route=f"web/{number}")
    steps = sum(1 for _ in w.history.second(w.stats, START + 1, 51.0))
    assert steps >= 1000 // history.AT_ONCE


def test_what_changes_while_it_is_looked_at_is_no_fault() -> None:
    w = Worker()
    for number in range(100):
        w.ask(route=f"web/{number}")
    looking = w.history.second(w.stats, START + 1, 51.0)
    next(looking)
    w.listener.answers.clear()
    w.stats.listeners["new"] = ListenerStats()
    for _ in looking:
        pass
    w.pass_by()
    w.pass_by()
    assert w.history.until == START + 2


def test_edges_are_remembered_and_are_no_part_of_the_totals() -> None:
    w = Worker()
    edge = EdgeStats()
    w.stats.edges["in"] = {"up": {"web": {"10.0.0.1:80": edge}}}
    w.pass_by()
    edge.connections_total += 1
    edge.sent_bytes_total += 5
    w.pass_by()
    edge.count(200, "", 0.1)
    w.pass_by()
    window = Window([w.history.told(10)], 3)
    changes = [[*second] for second in window.changes()]
    assert [len(second) for second in changes] == [0, 1, 1]
    assert changes[1][0][0] == ("edge", "in", "up", "web", "10.0.0.1:80")
    assert document(window)["total"]["summary"]["rate"] == 0.0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (200, False),
        (404, False),
        (500, True),
        ("503 UF", True),
        ("200 UC", True),
        ("200 DI", False),
        ("200 DI,UC", True),
        ("404 NR", False),
        ("499 DC", False),
        ("403 AZ", False),
        ("429 RL", False),
        ("503 OM", True),
        ("418 MINE", True),
        ("503 DC", True),
    ],
)
def test_an_error_is_what_went_wrong_and_not_what_a_client_did(answer: int | str, expected: bool) -> None:
    assert is_error(answer) is expected


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([10, 0, 0], 0.5, 0.05),
        ([10, 10, 0], 0.75, 0.15),
        ([1, 0, 99], 0.99, 0.2),
    ],
)
def test_a_quantile_is_taken_from_the_buckets(counts: list[int], share: float, expected: float) -> None:
    assert quantiles((0.1, 0.2), counts, [share]) == pytest.approx([expected])
    low = 0.01 * sum(counts) * 0.1 / counts[0]
    assert quantiles((0.1, 0.2), counts, [0.01, share]) == pytest.approx([low, expected])


def test_there_is_no_quantile_of_nothing() -> None:
    assert quantiles((0.1, 0.2), [0, 0, 0], [0.5]) is None


COUNTS = st.integers(0, 1 << 62)
LONG = len(REQUEST_BOUNDS) + 1


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1 << 20),
            st.tuples(*(COUNTS if name != "active" else st.integers(-(1 << 40), 1 << 40) for name in FIELDS)),
            st.one_of(st.just([]), st.lists(COUNTS, min_size=LONG, max_size=LONG)),
        ),
        max_size=20,
    )
)
@examples(200)
def test_what_is_written_is_read_back(changes: list[tuple[int, tuple[int, ...], list[int]]]) -> None:
    frame = bytearray()
    for number, fields, buckets in changes:
        write(frame, number, fields, buckets)
    wanted = [
        (number, [*fields, *(buckets or [0] * (WIDTH - len(FIELDS)))]) for number, fields, buckets in changes
    ]
    assert [*read(bytes(frame))] == wanted
