"""What workers have counted, on its way: nothing is lost, and what is gone is not told of."""

from __future__ import annotations

from meshproxy.net.clock import at_once
from meshproxy.observe.exposition import merged
from meshproxy.observe.metrics.answers import AnswerStats, EdgeStats
from meshproxy.observe.metrics.clusters import ClusterStats
from meshproxy.observe.metrics.listeners import ListenerStats
from meshproxy.observe.metrics.stats import Stats
from meshproxy.server.sums import added, added_where_served, written


def busy(name: str) -> Stats:
    stats = Stats()
    stats.worker.connections_passed_total += 2
    listener = stats.listeners[name] = ListenerStats()
    listener.connections_total += 3
    answers = AnswerStats()
    listener.answers["web/0"] = {"books": answers}
    answers.count(200, "", 0.5)
    answers.seconds.exemplify(0.5, b"ab" * 16, 1_700_000_000.0)
    stats.clusters["two\nlines"] = ClusterStats()
    stats.edges[name] = {"books": {"10.0.0.7": {"10.0.0.9:80": EdgeStats()}}}
    return stats


def body(stats: Stats) -> bytes:
    return at_once(written(stats.snapshot()))


def test_what_is_written_and_read_is_the_sum() -> None:
    one, other = busy("web"), busy("bounds")
    total = Stats().snapshot()
    for stats in (one, other):
        at_once(added(total, body(stats)))
    assert total == merged([one.snapshot(), other.snapshot()])


def test_a_worker_that_has_said_nothing_adds_nothing() -> None:
    total = Stats().snapshot()
    at_once(added(total, b""))
    assert total == Stats().snapshot()


def test_there_is_a_step_for_each_thing_that_is_counted() -> None:
    stats = busy("web")
    for number in range(100):
        stats.clusters[f"books-{number}"] = ClusterStats()
    assert sum(1 for _ in written(stats.snapshot())) > 100
    assert sum(1 for _ in added(Stats().snapshot(), body(stats))) > 100


def test_of_those_who_are_gone_that_is_told_which_is_still_served() -> None:
    total, departed = busy("web").snapshot(), merged([busy("web").snapshot(), busy("gone").snapshot()])
    at_once(added_where_served(total, departed))
    assert [*total["listeners"]] == ["web"]
    assert total["listeners"]["web"]["connections_total"] == 6
    assert departed["listeners"]["web"]["connections_total"] == 3
