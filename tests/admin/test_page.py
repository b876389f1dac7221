"""The page: one file that needs nothing else, and that a browser can run nothing beside."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from meshproxy.admin.page import PAGE, page_response

TEXT = PAGE.read_text()
LARGEST = 80_000
EMPTY = {"meta", "input", "br", "link", "img"}


class Elements(HTMLParser):
    """Every element in order, and the ids that each label stands for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.labelled: list[dict[str, str | None]] = []
        self.feed(TEXT)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag in ("input", "select", "textarea") and "label" in self.open:
            self.labelled.append(dict(attrs))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> ends another element"

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in tags]

    @property
    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.found if "id" in attributes]


ELEMENTS = Elements()


def script() -> str:
    return TEXT.split("<script>")[1].split("</script>")[0]


def test_it_is_small_and_of_one_piece() -> None:
    assert len(TEXT.encode()) < LARGEST
    assert re.findall(r"(?:https?:)?//[a-z]", TEXT.replace("http://www.w3.org/2000/svg", "")) == []
    names = ("src", "href", "action", "srcset")
    addresses = [each[name] for _, each in ELEMENTS.found for name in names if name in each]
    assert addresses
    assert all(str(address).startswith("#") for address in addresses)
    assert re.findall(r"url\(|@import|\bimport\(", TEXT) == []


def test_its_policy_names_its_script_and_style_and_allows_nothing_else() -> None:
    policy = dict(page_response().headers)["Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert (TEXT.count("<script"), TEXT.count("<style")) == (1, 1)


def test_text_is_only_ever_inserted_as_text() -> None:
    wrong = r"innerHTML|outerHTML|insertAdjacentHTML|ContextualFragment|setHTML|document\.write|\beval\b|Function\("
    assert re.findall(wrong, TEXT) == []
    assert [name for _, each in ELEMENTS.found for name in each if name.startswith("on") or name == "style"] == []


def test_a_token_is_kept_nowhere_but_in_memory() -> None:
    kept = re.findall(r"(?:localStorage|sessionStorage|document\.cookie|indexedDB)[\w.(]*", script())
    assert kept == ["localStorage.setItem(THEME", "localStorage.getItem(THEME"]


def test_each_element_that_the_script_fills_is_there() -> None:
    made = re.findall(r'new Table\("([\w-]+)"', script())
    asked = {*re.findall(r'\b(?:at|on)\("([\w-]+)"', script()), *made}
    assert len(made) == len(set(made))
    assert asked <= set(ELEMENTS.ids)


def test_no_id_is_there_twice_and_each_reference_leads_somewhere() -> None:
    assert [each for each, count in Counter(ELEMENTS.ids).items() if count > 1] == []
    names = ("aria-labelledby", "aria-describedby", "for")
    said = [str(each[name]) for _, each in ELEMENTS.found for name in names if name in each]
    links = [str(each["href"])[1:] for each in ELEMENTS.all("a")]
    assert set(said + links) <= set(ELEMENTS.ids)


def test_headings_go_down_one_level_at_a_time() -> None:
    levels = [int(tag[1]) for tag, _ in ELEMENTS.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_there_is_one_of_each_landmark_and_each_section_has_a_name() -> None:
    assert [len(ELEMENTS.all(tag)) for tag in ("header", "nav", "main")] == [1, 1, 1]
    assert all(each.get("aria-labelledby") for each in ELEMENTS.all("section"))
    assert ELEMENTS.all("a")[0]["href"] == "#main"


def test_only_one_place_is_read_aloud() -> None:
    roles = ("status", "alert", "log")
    spoken = [each.get("id") for _, each in ELEMENTS.found if "aria-live" in each or each.get("role") in roles]
    assert spoken == ["said"]


def test_each_field_has_a_label() -> None:
    named = {each["for"] for each in ELEMENTS.all("label") if "for" in each}
    for field in ELEMENTS.all("input", "select", "textarea"):
        assert field in ELEMENTS.labelled or field.get("id") in named, field


HEEDED = ["prefers-reduced-motion: reduce", "light-dark(", "max-width: 44rem", ":focus-visible"]


@pytest.mark.parametrize("query", HEEDED)
def test_its_style_heeds_who_looks(query: str) -> None:
    assert query in TEXT.split("<style>")[1].split("</style>")[0]
