"""The page: one file that needs nothing else, and that a browser can run nothing beside."""

from __future__ import annotations

import base64
import hashlib
import re

from meshproxy.admin.page import PAGE, page_response
from meshproxy.observe.metrics import ClusterStats, EndpointStats, ListenerStats, Stats

TEXT = PAGE.read_text()


def script() -> str:
    return TEXT.split("<script>")[1].split("</script>")[0]


def test_it_is_small_and_of_one_piece() -> None:
    assert len(TEXT) < 12_000
    assert re.findall(r"(?:https?:)?//[a-z]", TEXT) == []
    assert re.findall(r"\b(?:src|href)=", TEXT) == []


def test_its_policy_names_its_script_and_style_and_allows_nothing_else() -> None:
    policy = dict(page_response().headers)["Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert (TEXT.count("<script"), TEXT.count("<style")) == (1, 1)


def test_text_is_only_ever_inserted_as_text() -> None:
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|Function\(", TEXT) == []
    assert re.findall(r"\s(?:on\w+|style)=", TEXT) == []


def test_each_element_that_the_script_fills_is_there() -> None:
    assert set(re.findall(r'at\("([\w-]+)"\)', script())) <= set(re.findall(r'id="([\w-]+)"', TEXT))


def test_each_count_that_the_script_reads_is_kept() -> None:
    kept = {name for kind in (Stats, ListenerStats, ClusterStats, EndpointStats) for name in kind.__slots__}
    read = set(re.findall(r"\b(\w+_total|connections_active|rejected|endpoints)\b", script()))
    assert read
    assert read <= kept
