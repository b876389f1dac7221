"""Two formats of one scrape: who asks for which, and that each is read back by a parser of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from meshproxy.observe.exposition import Family, families, labelled, merged
from meshproxy.observe.metrics.counters import Histogram
from meshproxy.observe.rendering import OPENMETRICS, TEXT, Format, expose, openmetrics, preferred
from tests.observe.test_metrics import busy_stats, whole

TRACE = b"0af7651916cd43dd8448eb211c80319c"
PROMETHEUS_ASKS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


def traced() -> dict[str, Any]:
    stats = busy_stats()
    stats.listeners["web"].answers["web/0"]["books"].seconds.exemplify(0.002, TRACE, 1_700_000_000.5)
    return whole(stats)


def openmetrics_read(found: list[Family]) -> list[Metric]:
    return [*open_metrics(openmetrics(found).decode())]  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0", OPENMETRICS),
        ("Application/OpenMetrics-Text;Version=1.0.0;escaping=allow-utf-8", OPENMETRICS),
        ("application/openmetrics-text; version=0.0.1", TEXT),
        ("application/openmetrics-text; q=0", TEXT),
        ("application/openmetrics-text; q=many", TEXT),
        ("application/openmetrics-text; q=0.2, text/plain; q=0.5", TEXT),
        (PROMETHEUS_ASKS, OPENMETRICS),
        (",;=,;q", TEXT),
    ],
)
def test_who_asks_for_what(accept: str, format: Format) -> None:
    assert preferred(accept) is format


def test_both_formats_say_the_same() -> None:
    found = families(traced())
    samples = [
        {(each.name, tuple(sorted(each.labels.items()))): each.value for family in read for each in family.samples}
        for read in (plain_text(expose(found).decode()), openmetrics_read(found))
    ]
    assert samples[0] == samples[1]


def test_openmetrics_ends_and_has_units() -> None:
    text = openmetrics(families(traced())).decode()
    assert text.endswith("\n# EOF\n")
    assert "# TYPE meshproxy_listener_received_bytes counter\n# UNIT meshproxy_listener_received_bytes bytes\n" in text
    assert 'meshproxy_listener_received_bytes_total{listener="web"} 1152921504606846976\n' in text
    assert "# UNIT meshproxy_request_seconds seconds\n" in text


def test_a_counter_by_another_name_has_no_type() -> None:
    family = Family("sidecar_cluster_upstream_rq_retry", "counter", "h", (), [("", 1)])
    assert openmetrics([family]).startswith(b"# TYPE sidecar_cluster_upstream_rq_retry unknown\n")
    assert b"# TYPE sidecar_cluster_upstream_rq_retry counter\n" in expose([family])


def test_an_exemplar_stands_at_its_bucket_and_only_where_it_is_understood() -> None:
    found = families(traced())
    (line,) = [line for line in openmetrics(found).decode().splitlines() if TRACE.decode() in line]
    assert line == (
        'meshproxy_request_seconds_bucket{listener="web",route="web/0",cluster="books",le="0.0025"} 1'
        ' # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.002 1700000000.5'
    )
    assert TRACE not in expose(found)


def test_the_newest_exemplar_of_a_bucket_stays() -> None:
    older, newer = Histogram((1.0, 2.0)), Histogram((1.0, 2.0))
    for histogram, at in ((older, 5.0), (newer, 9.0)):
        histogram.observe(1.5)
        histogram.exemplify(1.5, TRACE, at)
    older.exemplify(0.5, TRACE, 5.0)
    for snapshots in ([older, newer], [newer, older]):
        total = merged([json.loads(json.dumps(each.snapshot())) for each in snapshots])
        assert total["exemplars"] == {"1.0": [TRACE.decode(), 0.5, 5.0], "2.0": [TRACE.decode(), 1.5, 9.0]}
        assert total["counts"] == {"1.0": 0, "2.0": 2, "+Inf": 0}


def test_without_exemplars_a_snapshot_says_nothing_of_them() -> None:
    assert "exemplars" not in Histogram((1.0,)).snapshot()


@pytest.mark.parametrize("name", ['say "hi"', "back\\slash", "two\nlines", "\\n", "büro", 'end\\"'])
def test_any_label_value_survives(name: str) -> None:
    family = Family("x", "gauge", f"about {name}", ("a",), [(labelled("a", [name]), 1)])
    (read,) = openmetrics_read([family])
    assert read.samples[0].labels == {"a": name}
    assert read.documentation == f"about {name}"


def test_promtool_has_nothing_against_our_names() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: scripts/install-peers")
    text = expose(families(traced()))
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=30, check=False)
    assert checked.stderr + checked.stdout == b""
