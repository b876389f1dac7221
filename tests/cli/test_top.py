"""`meshproxy top`: lines of figures without a terminal, then on a real pseudo-terminal before a proxy that is none."""

from __future__ import annotations

import json
import os
import pty
import signal
import termios
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from meshproxy.cli.top import text
from meshproxy.cli.top.feed import Look, Seen
from meshproxy.cli.top.frame import View, frame
from meshproxy.cli.top.screen import LEAVE, Screen
from meshproxy.cli.top.text import Style, painted
from meshproxy.observe.history import History
from meshproxy.observe.metrics.answers import AnswerStats
from meshproxy.observe.metrics.clusters import ClusterStats
from meshproxy.observe.metrics.listeners import ListenerStats
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.window import Window, document
from tests.cli.terminal import Terminal
from tests.e2e.conftest import command

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGWINCH)
PLAIN, ASCII = Style(colour=False, unicode=True), Style(colour=False, unicode=False)
EVIL = "\x1b]0;owned\x07\x9b2J\u202e"


def counted(routes: int = 2) -> Any:
    """Of three seconds, of which the last had an error on the last route."""
    stats, history = Stats(), History(1_700_000_000, 0.0)
    web, db = (stats.listeners.setdefault(name, ListenerStats()) for name in ("web", "db"))
    up = stats.clusters["books"] = ClusterStats()
    answers = [web.answers.setdefault(f"shop/{at}", {}).setdefault("books", AnswerStats()) for at in range(routes)]
    db.connections_active = 3
    for second in range(1, 4):
        for at, answer in enumerate(answers):
            for _ in range(at + 1):
                answer.count(200, "", 0.002)
        if second == 3:
            answers[-1].count(503, "UF", 0.3)
        for place in (web, db, up):
            place.bytes_received_total += 3 << 20
        for _ in history.second(stats, 1_700_000_000 + second, second):
            pass
    return document(Window([history.told(60)], 60))


def recent(path: str = "/v1/books") -> dict[str, Any]:
    row = {
        "time": "2023-11-14T22:13:20Z", "status": 503, "flags": ["UF"], "method": "GET", "authority": "shop.local",
        "path": path, "route": "shop/1", "reason": "connect_failed",
    }  # fmt: skip
    return {"slow_ms": 1000, "errors": [row], "slow": []}


def answers(**other: Any) -> dict[str, Any]:
    listeners = [{"name": name, "protocol": kind} for name, kind in (("web", "http"), ("db", "tcp"), ("idle", "udp"))]
    endpoints = [{"address": "a:1", "picked": "yes"}, {"address": "a:2", "picked": "no: health"}]
    return {
        "stats": counted(),
        "server": {"version": "1.2.3", "state": "LIVE", "generation": 7, "uptime_seconds": 7500.0},
        "listeners": listeners,
        "clusters": [{"name": "books", "breaker": "closed", "endpoints": endpoints}],
        "recent": recent(),
        **other,
    }


def seen(**other: Any) -> Seen:
    return Seen(Look(**answers(**other)))


def shown(width: int = 100, height: int | None = 30, keys: str = "", style: Style = PLAIN, **other: Any) -> list[str]:
    view = View()
    for key in keys:
        view.press(key)
    return [painted(line, width, style) for line in frame(seen(**other), view, "proxy:15000", width, height, style)]


# Lines


def test_golden_signals_stand_above_the_rows() -> None:
    lines = shown()
    assert lines[0] == "meshproxy LIVE  generation 7, up 2 h 5 min  proxy:15000  1.2.3"
    assert lines[2].split() == ["requests", "3.3", "/s", "▁" * 52 + "▇▇█"]
    assert [line.split()[0] for line in lines[2:7]] == ["requests", "errors", "latency", "traffic", "open"]
    assert "10 %" in lines[3]
    assert "p50 1.8 p95 375 p99 475 ms" in lines[4]
    assert "6.0 MiB/s in, 0 B/s out" in lines[5]
    assert lines[8] == "[routes] clusters listeners  by rate, last 60 s"
    assert lines[9].split()[:3] == ["route", "req/s", "errors"]
    assert [line.split()[0] for line in lines[10:12]] == ["web/shop/1", "web/shop/0"]
    assert lines[-1].startswith("q quit")
    assert lines[-2] == "22:13:20 503 UF GET shop.local /v1/books shop/1 connect_failed"
    assert len(lines) == 30


def test_each_section_has_its_columns_and_its_ways_to_sort() -> None:
    clusters = shown(keys="c")
    assert clusters[8] == "routes [clusters] listeners  by rate, last 60 s"
    assert clusters[10].split()[:1] == ["books"]
    assert "1 of 2 up" in clusters[10]
    listeners = shown(keys="l")
    assert [line.split()[0] for line in listeners[10:13]] == ["web", "db", "idle"]
    assert [line.split()[0] for line in shown(keys="lsss")[10:13]] == ["db", "idle", "web"]
    assert "by open" in shown(keys="lsss")[8]
    assert "by name" in shown(keys="sss")[8]
    assert "by rate" in shown(keys="ssss")[8]


def test_rows_can_be_scrolled_and_not_past_their_end() -> None:
    many = {"stats": counted(routes=40)}
    first = shown(height=24, **many)[10].split()[0]
    assert first == "web/shop/39"
    assert shown(height=24, keys="jj", **many)[10].split()[0] == "web/shop/37"
    assert shown(height=24, keys="jjk", **many)[10].split()[0] == "web/shop/38"
    assert shown(height=24, keys="G", **many)[-2].split()[0] == "web/shop/0"
    assert shown(height=24, keys="Gg", **many)[10].split()[0] == first
    assert shown(height=24, keys="k", **many)[10].split()[0] == first


def test_what_has_no_room_goes_and_figures_before_bars() -> None:
    assert any("▁" in line or "█" in line for line in shown(width=100)[10:12])
    assert shown(width=20, height=5) == [
        "meshproxy LIVE  gen…",
        "[routes] clusters l…",
        "route         req/s",
        "web/shop/1      2.3",
        "web/shop/0      1.0",
    ]
    assert shown(width=40, height=8)[1].split()[:2] == ["3.3", "/s"]


@pytest.mark.parametrize("width", [1, 2, 5, 9, 11, 20, 33, 80, 300])
@pytest.mark.parametrize("height", [1, 2, 5, 7, 8, 17, 18, 27, 28, 60])
def test_nothing_is_larger_than_the_screen(width: int, height: int) -> None:
    for keys in ("", "c", "l", "?", "G"):
        lines = shown(width, height, keys)
        assert len(lines) <= height
        assert max(map(text.width_of, lines)) <= width


def test_of_signs_that_take_two_columns_half_as_many_have_room() -> None:
    assert text.cut("東京都", 5, PLAIN) == "東京…"
    assert text.placed("東京", 6, PLAIN, right=True) == "  東京"
    assert text.width_of("e\u0301") == 1


def test_where_only_ascii_can_be_shown_there_is_nothing_else() -> None:
    assert all(line.isascii() for line in shown(style=ASCII))
    assert text.spark([0, 1, 4, None, 8], 10, ASCII) == "_.+ #"
    assert text.spark([0, 1, 4, None, 8], 3, PLAIN) == "▅ █"


def test_whatever_a_peer_says_moves_no_cursor() -> None:
    lines = shown(recent=recent(path=f"/{EVIL}"), clusters=[{"name": EVIL, "endpoints": []}], keys="c")
    assert all(line.isprintable() for line in lines)
    assert any("/\\x1b]0;owned\\x07\\x9b2J\\u202e" in line for line in lines)


def test_a_proxy_that_tells_of_no_recent_errors_is_shown_without() -> None:
    assert len(shown(recent=None)) == 30


def test_where_there_are_no_routes_listeners_come_first() -> None:
    idle: Any = {"stats": document(Window([], 60)), "recent": None}
    assert shown(**idle)[8].startswith("routes clusters [listeners]")
    assert "nothing in the last minute" in shown(keys="r", **idle)[10]
    assert "there are none" in shown(keys="c", clusters=[], **idle)[10]


@pytest.mark.parametrize(
    ("shows", "value", "expected"),
    [
        (text.per_second, 0.0, "0.0"),
        (text.per_second, 99.96, "100"),
        (text.per_second, 12_345.0, "12.3k"),
        (text.per_second, 1_234_567.0, "1235k"),
        (text.size, 1023.0, "1023 B"),
        (text.size, 1024.0, "1.0 KiB"),
        (text.size, 2.0**50, "1024.0 TiB"),
        (text.milliseconds, None, "-"),
        (text.milliseconds, 1.25, "1.2"),
        (text.milliseconds, 60_000.0, "60.0 s"),
        (text.share, 0.0, "0 %"),
        (text.share, 0.00001, "<0.01 %"),
        (text.share, 0.5, "50 %"),
        (text.duration, 59.0, "59 s"),
        (text.duration, 90_000.0, "1 d 1 h"),
    ],
)
def test_figures_are_short(shows: Callable[[Any], str], value: Any, expected: str) -> None:
    assert shows(value) == expected


# On a terminal


class Proxy:
    """Answers as one does, and can go away and come back."""

    PATHS = {"/stats": "stats", "/server_info": "server", "/listeners": "listeners", "/clusters": "clusters"}

    def __init__(self, **other: Any) -> None:
        self.answers = answers(**other)
        self.asked: list[str] = []
        self.port = 0
        self.come()

    def come(self) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy.asked.append(self.path)
                name = {**proxy.PATHS, "/recent": "recent"}.get(self.path.partition("?")[0], "")
                found = proxy.answers.get(name)
                body = json.dumps(found).encode()
                self.send_response(200 if found is not None else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def go(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.go()


OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def open_terminal(proxy: Proxy) -> Iterator[OpenTerminal]:
    opened: list[Terminal] = []

    def top(*options: str, **more: Any) -> Terminal:
        opened.append(Terminal("top", "--admin", proxy.address, *options, **more))
        return opened[-1]

    yield top
    for each in opened:
        each.close()


def test_keys_change_what_is_shown_and_q_gives_the_terminal_back(open_terminal: OpenTerminal) -> None:
    it = open_terminal(width=100)
    it.shows("meshproxy LIVE", "[routes]", "web/shop/1")
    assert it.grid.alternate
    assert not it.grid.cursor_shown
    assert it.grid.coloured
    it.press("c")
    it.shows("[clusters]", "1 of 2 up")
    it.press("l")
    it.shows("[listeners]", "idle")
    it.press("sss")
    it.shows("by open")
    it.press("?")
    it.shows("sort by the next key")
    it.press("\x1b")
    it.shows("by open")
    it.resize(40, 10)
    it.until(lambda grid: grid.lines[0].startswith("meshproxy LIVE") and "requests" not in grid.text, "a small one")
    it.resize(20, 5)
    it.until(lambda grid: grid.lines[0] == "meshproxy LIVE  gen…", "a tiny one")
    it.press("q")
    assert it.ended() == 0


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "SIGHUP"])
def test_however_it_ends_the_terminal_is_as_it_was(open_terminal: OpenTerminal, how: str) -> None:
    it = open_terminal()
    it.shows("meshproxy LIVE")
    if how == "Ctrl-C":
        it.press("\x03")
        assert it.ended() == 0
    else:
        it.signal(signal.Signals[how])
        assert it.ended() == 128 + signal.Signals[how]


def test_a_stop_gives_the_terminal_to_the_shell_and_takes_it_back(open_terminal: OpenTerminal) -> None:
    it = open_terminal()
    it.shows("meshproxy LIVE")
    it.press("\x1a")
    it.until(lambda grid: not grid.alternate and grid.cursor_shown, "given")
    it.until_stopped()
    it.signal(signal.SIGCONT)
    it.until(lambda grid: grid.alternate and "meshproxy LIVE" in grid.text, "taken back")
    it.press("q")
    assert it.ended() == 0


def test_after_an_exception_too_and_all_signals_do_what_they_did() -> None:
    ours, theirs = pty.openpty()
    before, handlers = termios.tcgetattr(theirs), [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ZeroDivisionError):
        with Screen(theirs, theirs, PLAIN) as screen:
            assert termios.tcgetattr(theirs) != before
            screen.draw([[("shown", "")]])
            raise ZeroDivisionError
    assert termios.tcgetattr(theirs) == before
    assert [signal.getsignal(number) for number in SIGNALS] == handlers
    assert os.read(ours, 4096).decode().endswith(LEAVE)
    os.close(theirs)
    os.close(ours)


def test_without_colour_there_is_none(open_terminal: OpenTerminal) -> None:
    said = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "", "LC_ALL": "C"}
    it = open_terminal(NO_COLOR="1", width=100, **said)
    it.shows("meshproxy LIVE", "web/shop/1")
    assert not it.grid.coloured
    assert it.grid.text.isascii()
    it.press("q")
    assert it.ended() == 0


def test_a_proxy_that_goes_away_and_comes_back_is_seen_again(proxy: Proxy, open_terminal: OpenTerminal) -> None:
    it = open_terminal("--every", "50ms")
    it.shows("meshproxy LIVE")
    proxy.go()
    it.shows("no answer for", "web/shop/1")
    proxy.answers["server"]["generation"] = 8
    proxy.come()
    it.shows("generation 8")
    it.press("q")
    assert it.ended() == 0


def test_where_there_is_nobody_it_says_so_and_a_dumb_terminal_gets_plain_lines(open_terminal: OpenTerminal) -> None:
    it = open_terminal("--admin", "unix:/nowhere", "--every", "50ms", TERM="dumb")
    it.shows("no answer for 0 s, trying again: unix:/nowhere:")
    it.press("\x03")
    assert it.ended() == 0
    assert "\x1b" not in it.raw


# Without one


def test_once_is_one_look_as_text_or_as_data(proxy: Proxy) -> None:
    shown = command("top", "--admin", proxy.address, "--once")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "web/shop/1" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "q quit" not in shown.stdout
    data = json.loads(command("top", "--admin", proxy.address, "-o", "json").stdout)
    assert data["stats"]["window_seconds"] == 60
    assert data["recent"]["errors"][0]["path"] == "/v1/books"
    proxy.answers["recent"] = None
    assert json.loads(command("top", "--admin", proxy.address, "-o", "json").stdout)["recent"] is None
    assert "/stats?window=60s" in proxy.asked


@pytest.mark.parametrize("stats", [{}, [1], None])
def test_whoever_knows_no_window_is_told_apart(proxy: Proxy, stats: Any) -> None:
    proxy.answers["stats"] = stats
    found = command("top", "--admin", proxy.address, "--once")
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("meshproxy: ")
