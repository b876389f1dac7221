"""Verdicts that a worker is told of: by whom they are, how long they last, and when they are forgotten."""

from __future__ import annotations

from typing import Any

from meshproxy.cluster.outlier import Ejection
from meshproxy.model import Cluster, decode
from meshproxy.plan.verdicts import Verdicts, about, check_of, judge_of
from tests.conftest import FakeClock


def cluster(**said: Any) -> Cluster:
    found: Cluster = decode(Cluster, {"name": "up", "endpoints": [], **said})
    return found


def test_a_verdict_is_known_by_all_that_decides_it_and_by_nothing_else() -> None:
    same = check_of(cluster(health={"path": "/"}))
    assert same == check_of(cluster(health={"path": "/", "interval": "5s"}, connect_timeout="9s", outlier={}))
    others: list[dict[str, Any]] = [
        {"health": {"path": "/a"}},
        {"health": {"path": "/"}, "proxy_protocol": "v1"},
        {"health": {"port": 1}},
    ]
    assert len({same, *(check_of(cluster(**each)) for each in others)}) == 4
    assert about(same + "unix:/run/a b.sock") == "up"
    assert (check_of(cluster()), judge_of(cluster())) == ("", "")
    assert judge_of(cluster(outlier={})) == judge_of(cluster(outlier={}, health={}))
    assert judge_of(cluster(outlier={})) != judge_of(cluster(outlier={"consecutive_5xx": 4}))


def test_what_is_over_or_about_nobody_is_forgotten(clock: FakeClock) -> None:
    verdicts = Verdicts(clock.now, lambda *_: None)
    check, judge = "up 01 ", "up 02 "
    verdicts.hear({check + "a": False, check + "b c": False, "gone 01 a": False})
    verdicts.hear({check + "a": True, "nobody 01 a": True})
    soon, later = (Ejection(clock.now() + seconds, 1, "5xx") for seconds in (1, 9))
    verdicts.hear_ejected({judge + "a": soon, judge + "b c": later, "gone 02 a": later})
    clock.advance(1)
    verdicts.hear_ejected({judge + "d": later})
    assert judge + "a" not in verdicts.ejected
    verdicts.forget({check, judge})
    assert verdicts.unfit == {check + "b c"}
    assert verdicts.ejected == {judge + "b c": later, judge + "d": later}
