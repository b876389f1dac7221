"""The page in a real browser: what an operator sees, does with mouse or keyboard, and is told by a screen reader."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("websockets", reason="websockets is not installed: nobody speaks to the browser")

from tests.admin import bookstore
from tests.admin.showcase import ETAG, Showcase
from tests.chromium import SHIFT, Chromium, Tab, installed
from tests.e2e.conftest import Running, Start, poll

pytestmark = pytest.mark.skipif(installed() is None, reason="chromium is not installed: scripts/install-peers does it")

LIGHT = {"prefers-color-scheme": "light"}
DARK = {"prefers-color-scheme": "dark"}
NUMBERS = "!document.querySelector('#tiles .now').innerText.startsWith(NOTHING)"
CONTROLS = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "slider", "DisclosureTriangle"}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as made:
        yield made


@pytest.fixture
def showcase() -> Iterator[Showcase]:
    made = Showcase()
    yield made
    made.close()


Look = Callable[..., Tab]


@pytest.fixture(scope="module")
def shop(browser: Chromium) -> Iterator[Tab]:
    """The page of the bookstore, for those who only look at it."""
    showcase = Showcase()
    tab = browser.open(showcase.url)
    yield shown(tab)
    tab.close()
    showcase.close()
    assert (tab.complaints, elsewhere(tab, showcase)) == ([], [])


def elsewhere(tab: Tab, showcase: Showcase) -> list[str]:
    """What it has asked anybody else for."""
    return [url for url in tab.asked if not url.startswith(showcase.url)]


@pytest.fixture
def look(browser: Chromium, showcase: Showcase) -> Iterator[Look]:
    """Open the page of the bookstore; at the end it has complained of nothing but of what a test has caused."""
    opened: list[tuple[Tab, str]] = []

    def looking(complaints: str = "", **more: Any) -> Tab:
        tab = browser.open(showcase.url, **more)
        opened.append((tab, complaints))
        tab.until(has("#state", "LIVE"))
        return tab

    yield looking
    for tab, expected in opened:
        complaints = [each for each in tab.complaints if not (expected and re.search(expected, each))]
        tab.close()
        assert (complaints, elsewhere(tab, showcase)) == ([], [])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    path = Path(os.environ.get("MESHPROXY_SCREENSHOTS", tmp_path))
    path.mkdir(parents=True, exist_ok=True)
    return path


def has(selector: str, text: str) -> str:
    return f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})"


def rows(tab: Tab, table: str) -> list[str]:
    found: list[str] = tab.run(f"[...document.querySelectorAll('#{table}-table tbody tr')].map(row => row.innerText)")
    return found


def firsts(tab: Tab, table: str) -> list[str]:
    """What stands in the first column."""
    return [row.split("\t")[0] for row in rows(tab, table)]


def shown(tab: Tab) -> Tab:
    """When every section has its answer."""
    tab.until("document.querySelectorAll('#workers-table tbody tr').length === 2")
    tab.until("document.querySelectorAll('#graph-drawn svg, #certs-table tbody tr').length > 1")
    tab.until("document.querySelectorAll('#history-table tbody tr').length === 3")
    return tab


def test_all_of_it_is_shown(shop: Tab) -> None:
    tab = shop
    tab.until(NUMBERS)
    assert tab.run("[...document.querySelectorAll('#tiles h3')].map(each => each.innerText)") == [
        "Requests", "Success", "Latency p50", "Latency p95", "Latency p99", "Connections", "Received", "Sent",
    ]  # fmt: skip
    assert firsts(tab, "listeners") == ["web", "inbound", "db", "devices"]
    assert firsts(tab, "upstreams")[:4] == ["books-v1", "10.0.4.11:9090", "10.0.4.12:9090", "10.0.4.13:9090"]
    assert "✕ not picked: outlier" in rows(tab, "upstreams")[3]
    assert "ejected for 24 s more" in rows(tab, "upstreams")[3]
    assert "▲ in 5 days" in rows(tab, "certs")[1]
    assert "✕ expired 36 hours ago" in rows(tab, "certs")[2]
    assert "The breaker of the cluster is open" in rows(tab, "errors")[0]
    assert firsts(tab, "sources") == ["fsm", "policy"]
    assert "there is no cluster 'bokos'" in tab.text("#refused")
    assert "policy.yaml:14: spec.retryOn" in tab.text("#notes")
    assert tab.run("[...document.querySelectorAll('.trouble')].every(each => each.hidden)")


def test_what_peers_say_is_shown_as_text(shop: Tab) -> None:
    assert bookstore.HOSTILE in shop.run("document.querySelector('#graph-table').textContent")
    assert bookstore.HOSTILE in "".join(rows(shop, "errors"))
    assert shop.run("document.images.length") == 0


def test_the_numbers_of_each_second_and_those_of_one_that_has_passed(look: Look) -> None:
    tab = look()
    first = tab.until("document.querySelector('#tiles .now').innerText.endsWith('/s') && lastSecond")
    tab.until(f"lastSecond > {first}")
    label = tab.run("document.querySelector('#tiles svg').getAttribute('aria-label')")
    assert re.fullmatch(r"Requests: now [\d,]+/s; [\d,]+/s to [\d,]+/s in five minutes", label)
    tab.run("document.querySelector('#back').focus()")
    for _ in range(3):
        tab.press("ArrowLeft")
    tab.until(has("#back-when", "3 s ago"))
    assert "3 s ago" in tab.run("document.querySelector('#tiles svg').getAttribute('aria-label')")


def test_routes_are_sorted_and_filtered(look: Look) -> None:
    tab = shown(look())
    assert firsts(tab, "routes") == ["canary", "books", "reviews", "old-shop", "web/4", "admitted"]
    heads = "[...document.querySelectorAll('#routes-table thead th')]"
    sorting = f"{heads}.map(each => each.getAttribute('aria-sort')).filter(each => each && each !== 'none')"
    tab.run(f"{heads}.at(-1).id = 'so-far'")
    tab.click("#so-far button")
    assert firsts(tab, "routes")[:3] == ["books", "reviews", "admitted"]
    assert tab.run(sorting) == ["descending"]
    tab.click("#so-far button")
    assert firsts(tab, "routes")[:2] == ["web/4", "old-shop"]
    assert tab.run(sorting) == ["ascending"]
    tab.write("inside", into="#routes-filter")
    tab.until("document.querySelectorAll('#routes-table tbody tr').length === 1")
    assert firsts(tab, "routes") == ["admitted"]
    tab.write("nothing like it", into="#routes-filter")
    tab.until(has("#routes-table", "There are no routes, or none with this in them."))


def test_which_route_wins(look: Look, showcase: Showcase) -> None:
    tab = look()
    tab.write("shop.local", into="#explain-form [name=host]")
    tab.write("/books/7?a=b", into="#explain-form [name=path]")
    tab.write("x-beta: 2\nx-other: 3", into="#explain-form [name=header]")
    tab.click("#explain-form button")
    tab.until(has("#explained-words", "books wins GET shop.local/books/7: books-v1 90, books-v2 10."))
    assert [row.split("\t")[1] for row in rows(tab, "explained")] == [
        "○ header x-beta", "● won", "○ path", "○ host", "○ less specific than the winner",
    ]  # fmt: skip
    (asked,) = [path for path in showcase.paths() if path.startswith("/routes/explain")]
    asked_for = "method=GET&host=shop.local&path=%2Fbooks%2F7%3Fa%3Db&header=x-beta%3A+2&header=x-other%3A+3"
    assert asked == f"/routes/explain?{asked_for}"
    assert tab.text("#said") == tab.text("#explained-words"), "it is read aloud"


def test_a_question_that_is_not_clear_is_answered_so(look: Look, showcase: Showcase) -> None:
    showcase.says["GET /routes/explain"] = 400, {"error": "listener: say which of them"}
    tab = look(complaints="400")
    tab.write("a", into="#explain-form [name=host]")
    tab.click("#explain-form button")
    tab.until(has("#explained-words", "400: listener: say which of them"))


def test_a_document_is_refused_with_each_problem_and_its_line(look: Look) -> None:
    tab = look(complaints="422")
    tab.write('listeners:\n- name: web\n  listen: nowhere\nclusters: {}\n', into="#draft")
    tab.click("#try-form button.main")
    tab.until(has("#tried", "refused for 2 problems; nothing has changed"))
    assert "listeners[0].listen: 'nowhere' is no address (line 3)" in tab.text("#tried")
    assert "clusters.books: unknown key 'endpionts'" in tab.text("#tried")
    tab.click("#tried li button")
    box = "document.activeElement"
    assert tab.run(f"{box}.value.slice({box}.selectionStart, {box}.selectionEnd)") == "  listen: nowhere"
    assert tab.run("document.querySelector('#apply').disabled")


def allow_changes(tab: Tab, token: str = "") -> None:
    tab.click("#access-now")
    tab.write(token, into="#token")
    tab.click("#changes")
    tab.click("#access-form button")


def test_only_what_was_tried_and_allowed_is_applied(look: Look, showcase: Showcase) -> None:
    tab = shown(look(complaints="412"))
    apply = "document.querySelector('#apply')"
    tab.click("#take")
    tab.until(has("#tried", "Layer default as it is in force"))
    tab.click("#try-form button.main")
    tab.until(has("#tried", "It is valid"))
    assert tab.run(f"{apply}.disabled")
    assert "read-only" in tab.text("#apply-why")
    allow_changes(tab)
    tab.until(f"!{apply}.disabled")
    tab.run("document.querySelector('#draft').focus()")
    tab.write(" ")
    tab.until(f"{apply}.disabled")
    tab.click("#try-form button.main")
    tab.until(f"!{apply}.disabled")
    showcase.says["PUT /config/default"] = 412, {"error": "the layer 'default' has changed"}
    tab.click("#apply")
    tab.until(has("#tried", "412: somebody else has changed it since; the layer 'default' has changed"))
    del showcase.says["PUT /config/default"]
    tab.click("#apply")
    tab.until(has("#tried", "Generation 8 is in force"))
    puts = [(target, headers.get("if-match")) for method, target, headers, _ in showcase.asked if method == "PUT"]
    assert puts == [
        ("/config/default?dry_run=1", None),
        ("/config/default?dry_run=1", None),
        ("/config/default", ETAG),
        ("/config/default", ETAG),
    ]


def test_going_back_is_asked_about_first(look: Look, showcase: Showcase) -> None:
    tab = shown(look())
    button = "#history-table tbody tr:last-child button"
    assert tab.run(f"document.querySelector('{button}').disabled")
    allow_changes(tab)
    tab.until(f"!document.querySelector('{button}').disabled")
    tab.click(button)
    tab.until(has("#sheet", "Roll back to generation 5?"))
    tab.press("Escape")
    tab.until("!document.querySelector('#sheet').open")
    assert showcase.paths("POST") == []
    tab.click(button)
    tab.click("#sheet-do")
    tab.until(has("#tried", "Generation 8 is in force, as 5 was"))
    assert showcase.paths("POST") == ["/config/rollback?generation=5"]


def choose(tab: Tab, selector: str, value: str) -> None:
    change = "(choice, value) => { choice.value = value; choice.dispatchEvent(new Event('change', {bubbles: true})); }"
    tab.run(f"({change})(document.querySelector({json.dumps(selector)}), {json.dumps(value)})")


def test_what_changed_between_generations(look: Look, showcase: Showcase) -> None:
    tab = shown(look())
    choose(tab, "#compare-from", "5")
    assert tab.text("#compared").splitlines() == [
        "6: route table web: changed (rules)", "6: cluster books-v2: added", "7: cluster reviews: changed (breaker)",
    ]  # fmt: skip
    reviews = {"breaker": {"max_connections": 96}, "endpoints": ["10.0.6.2:8080"]}
    later = {**bookstore.DOCUMENT, "clusters": {"reviews": reviews}}
    change = {**bookstore.HISTORY[0], "generation": 8, "changes": ["cluster reviews: changed (breaker)"]}
    showcase.says["GET /config_dump"] = 200, {**bookstore.DUMP, "generation": 8, "effective": later}
    showcase.says["GET /config/history"] = 200, [change, *bookstore.HISTORY]
    showcase.generation = 8
    tab.until("document.querySelectorAll('#history-table tbody tr').length === 4")
    choose(tab, "#compare-from", "7")
    choose(tab, "#compare-to", "8")
    lines = tab.text("#compared .diff").splitlines()
    changed = [line.split() for line in lines if line[0] in "-+"]
    assert changed == [["-", '"max_connections":', "64"], ["+", '"max_connections":', "96"]]


def test_a_tap_is_watched_and_stopped(look: Look, showcase: Showcase) -> None:
    showcase.second = 0.02
    tab = look()
    tab.write("5xx", into="#tap-form [name=status]")
    tab.click("#tap-form [name=headers]")
    tab.click("#tap-switch")
    tab.until("document.querySelectorAll('#tap-table tbody tr').length > 7")
    tab.until(has("#tap-now", "12 lost as this page was too slow"))
    assert "/tap?status=5xx&headers=1" in showcase.paths()
    assert tab.text("#tap-switch") == "Stop"
    tab.click("#tap-switch")
    tab.until(has("#tap-now", "Stopped."))
    poll(lambda: "/tap" not in showcase.streams, "the tap is let go")
    tab.click("#tap-table tbody tr button")
    tab.until("document.querySelector('#sheet').open")
    assert bookstore.HOSTILE in tab.text("#sheet")
    assert "trace id" in tab.text("#sheet")
    tab.click("#sheet-close")


def test_light_dark_and_narrow(shop: Tab, pictures: Path) -> None:
    backgrounds = {}
    shop.until(NUMBERS)
    for name, width, features in (("narrow", 360, LIGHT), ("dark", 1360, DARK), ("light", 1360, LIGHT)):
        shop.resize(width, 900)
        shop.prefer(features)
        backgrounds[name] = shop.run("getComputedStyle(document.body).backgroundColor")
        assert shop.run("document.documentElement.scrollWidth <= innerWidth"), name
        shop.screenshot(pictures / f"{name}.png")
    assert backgrounds["light"] == backgrounds["narrow"] != backgrounds["dark"]


def test_a_theme_that_was_chosen_stays_and_nothing_else_is_stored(look: Look) -> None:
    tab = look(features=DARK)
    dark = tab.run("getComputedStyle(document.body).backgroundColor")
    choose(tab, "#theme", "light")
    allow_changes(tab, "s3cret")
    light = tab.run("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    tab.call("Page.reload")
    tab.until(f"{has('#state', 'LIVE')} && document.querySelector('#theme').value === 'light'")
    assert tab.run("getComputedStyle(document.body).backgroundColor") == light
    stored = tab.run("[JSON.stringify(localStorage), sessionStorage.length, document.cookie]")
    assert stored == ['{"meshproxy.theme":"light"}', 0, ""]
    assert tab.run("document.querySelector('#token').value") == ""


def test_who_wants_less_motion_has_none(shop: Tab) -> None:
    for wanted, behaviour in (("reduce", "auto"), ("no-preference", "smooth")):
        shop.prefer({"prefers-reduced-motion": wanted})
        assert shop.run("getComputedStyle(document.documentElement).scrollBehavior") == behaviour


def focused(tab: Tab) -> str:
    return str(tab.run("document.activeElement.id || document.activeElement.innerText || document.activeElement.name"))


def tabbed_to(tab: Tab, wanted: str, modifiers: int = 0) -> None:
    """Go on until the focus is there, and is seen to be."""
    for _ in range(40):
        tab.press("Tab", modifiers)
        if focused(tab) == wanted:
            assert tab.run("getComputedStyle(document.activeElement).outlineStyle") != "none"
            return
    raise AssertionError(f"{wanted!r} is not reached by Tab")


def test_by_keyboard_alone(look: Look, showcase: Showcase) -> None:
    tab = shown(look())
    tab.press("Tab")
    assert focused(tab) == "Skip to the numbers"
    tab.press("Enter")
    assert focused(tab) == "main"
    tabbed_to(tab, "back")
    tabbed_to(tab, "Listener")
    tab.press("Enter")
    assert firsts(tab, "listeners") == ["db", "devices", "inbound", "web"]
    assert focused(tab) == "Listener"
    tabbed_to(tab, "routes-filter")
    tabbed_to(tab, "host")
    tab.write("shop.local")
    tab.press("Enter")
    tab.until(has("#explained-words", "books wins"))
    tabbed_to(tab, "access-now", SHIFT)
    tab.press("Enter")
    tabbed_to(tab, "changes")
    tab.press(" ")
    tab.press("Tab")
    tab.press("Enter")
    assert tab.text("#access-now") == "Changes allowed"
    assert focused(tab) == "access-now"
    tab.run("document.querySelector('#errors-table tbody button').focus()")
    tab.press("Enter")
    tab.until("document.querySelector('#sheet').open")
    tab.press("Escape")
    tab.until("!document.querySelector('#sheet').open")
    assert "/books/7/reviews" in focused(tab), "it comes back to where it was"


def test_a_screen_reader_is_told_what_everything_is(shop: Tab) -> None:
    shop.run("for (const each of document.querySelectorAll('details')) each.open = true")
    tree = shop.tree()
    roles = {node["role"] for node in tree}
    assert {"banner", "navigation", "main", "region", "table", "columnheader", "rowheader", "status", "image"} <= roles
    assert roles >= CONTROLS - {"DisclosureTriangle"}
    named = CONTROLS | {"table", "region", "image", "heading"}
    assert [node for node in tree if node["role"] in named and not node["name"]] == []
    tables = [node["name"] for node in tree if node["role"] == "table"]
    assert "Errors, newest first" in tables
    assert len(tables) == len(set(tables))


@pytest.mark.parametrize("width", [1200, 360])
def test_a_table_stays_a_table_on_a_narrow_screen(shop: Tab, width: int) -> None:
    shop.resize(width, 900)
    tree = shop.tree()
    names = [node["name"] for node in tree if node["role"] == "rowheader"]
    assert {"web", "books-v1", "10.0.4.13:9090", "shop.local"} <= set(names)


def test_a_token_opens_it_and_is_sent_with_everything(browser: Chromium) -> None:
    showcase = Showcase(token="s3cret")
    tab = browser.open(showcase.url)
    try:
        tab.until(has("#listeners .trouble", "401: a token is needed"))
        assert rows(tab, "listeners") == []
        allow_changes(tab, "s3cret")
        shown(tab)
        tab.until(has("#contact", "") + f" && {has('#state', 'LIVE')}")
        tab.until("document.querySelector('#signals .trouble').hidden")
        tab.click("#tap-switch")
        tab.until("document.querySelectorAll('#tap-table tbody tr button').length > 0")
        allowed = "Bearer s3cret"
        with_token = {target for _, target, headers, _ in showcase.asked if headers.get("authorization") == allowed}
        assert {"/events", "/tap", "/graph?window=60s", "/config_dump"} <= with_token
        assert tab.run("document.querySelector('#access-now').innerText") == "Changes allowed, with a token"
        tab.click("#access-now")
        tab.click("#forget")
        tab.until(has("#listeners .trouble", "401"))
        assert tab.run("access.token") == ""
    finally:
        tab.close()
        showcase.close()


def test_what_cannot_be_had_is_said_in_words_and_the_rest_is_shown(look: Look, showcase: Showcase) -> None:
    showcase.says |= {
        "GET /graph": (404, {"error": "no such path: '/graph'"}),
        "GET /recent": (503, {"error": "a worker does not answer"}),
        "GET /events": (403, {"error": "Host: 'a' is not a name of the loopback"}),
        "GET /stats": (404, {"error": "no such path"}),
        "GET /certs": (500, "not what was expected"),
    }
    tab = look(complaints="404|503|403|500")
    tab.until("document.querySelectorAll('#upstreams-table tbody tr').length > 5")
    tab.until(has("#contact", "no live numbers"))
    assert firsts(tab, "listeners") == ["web", "inbound", "db", "devices"]
    for section, words in {
        "graph": "GET /graph?window=60s: 404: this proxy does not have it; no such path: '/graph'",
        "upstreams": "GET /graph?window=60s: 404",
        "listeners": "GET /stats?window=60s: 404",
        "recent": "GET /recent: 503: the proxy cannot say it now; a worker does not answer",
        "certs": "GET /certs: 500",
        "signals": "GET /events: 403: this is not allowed from here; Host: 'a' is not a name of the loopback",
    }.items():
        assert words in tab.text(f"#{section} .trouble"), section
    showcase.says.clear()
    tab.run("again()")
    shown(tab)
    tab.until("[...document.querySelectorAll('.trouble')].every(each => each.hidden)")


def test_a_tab_that_is_hidden_asks_for_nothing(look: Look, showcase: Showcase) -> None:
    tab = shown(look())
    tab.click("#tap-switch")
    poll(lambda: {*showcase.streams} == {"/events", "/tap"}, "both are read")
    hidden = (
        "Object.defineProperty(document, 'hidden', {{value: {}, configurable: true}});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    tab.run(hidden.format("true"))
    poll(lambda: showcase.streams == [], "both are let go")
    asked = len(showcase.asked)
    tab.run("Promise.all([refresh(), new Promise(resolve => setTimeout(resolve, 300))])")
    assert len(showcase.asked) == asked
    tab.run(hidden.format("false"))
    poll(lambda: {*showcase.streams} == {"/events", "/tap"}, "both are read again")


def test_a_proxy_that_goes_away_and_comes_back(look: Look, showcase: Showcase) -> None:
    tab = shown(look())
    tab.until("lastSecond > 0 && document.querySelector('#contact').innerText === ''")
    showcase.says["GET /events"] = 503, {"error": "not now"}
    showcase.break_off()
    tab.until(has("#contact", "no numbers since"))
    showcase.says.clear()
    tab.until("document.querySelector('#contact').innerText === ''")
    tab.complaints.clear()


# A real one ---------------------------------------------------------------------------------------


def real(tmp_path: Path) -> dict[str, Any]:
    """It serves its own admin side on a port, since no browser opens a unix socket."""
    return {
        "listeners": [
            {"name": "page", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "itself"},
            {"name": "web", "listen": "127.0.0.2:0", "protocol": "http", "routes": "web"},
        ],
        "clusters": {"itself": {"endpoints": [f"unix:{tmp_path}/admin.sock"]}},
        "routes": {"web": [
            {"name": "all", "reply": {"status": 200}},
            {"name": "old", "match": {"path": {"prefix": "/old"}}, "redirect": "/"},
        ]},
    }


@pytest.fixture
def proxy(start: Start, tmp_path: Path) -> Running:
    return start(real(tmp_path))


def test_a_real_proxy(browser: Chromium, proxy: Running, tmp_path: Path) -> None:
    tab = browser.open("http://{}:{}/".format(*proxy.address("page")))
    try:
        tab.until(has("#state", "LIVE"))
        tab.until("document.querySelectorAll('#listeners-table tbody tr').length === 2")
        tab.until("document.querySelectorAll('#routes-table tbody tr').length === 2")
        tab.until(has("#upstreams-table", f"unix:{tmp_path}/admin.sock"))
        tab.write("shop.local", into="#explain-form [name=host]")
        tab.write("/x/../old", into="#explain-form [name=path]")
        tab.click("#explain-form button")
        tab.until(has("#explained-words", "old wins GET shop.local/old: redirect 302 path /."))
        tab.write('listeners:\n- name: web\n  listen: "127.0.0.1:x"\n', into="#draft")
        tab.click("#try-form button.main")
        tab.until(has("#tried", "line 3"))
        tab.write(json.dumps({**real(tmp_path), "drain": {"timeout": "1s"}}), into="#draft")
        allow_changes(tab)
        tab.click("#try-form button.main")
        tab.until("!document.querySelector('#apply').disabled")
        tab.click("#apply")
        tab.until(has("#tried", "is in force. It has changed:"))
        tab.until("document.querySelectorAll('#history-table tbody tr').length === 2")
        tab.until("[...document.querySelectorAll('#history-table button')].some(each => !each.disabled)")
        tab.click("#history-table button")
        tab.click("#sheet-do")
        tab.until("document.querySelectorAll('#history-table tbody tr').length === 3")
        assert [each for each in tab.complaints if "Failed to load resource" not in each] == []
    finally:
        tab.close()
