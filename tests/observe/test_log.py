"""The log: one line for each event, whatever a peer puts in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshproxy.observe.log import LONGEST_VALUE, MOST_KEYS, Format, Level, Log


class Paper:
    """A log under test: the lines it wrote, and a clock that stands still until told."""

    def __init__(self, level: Level = "info", format: Format = "text") -> None:
        self.now = 1_700_000_000.25
        self.lines: list[str] = []
        self.log = Log(self.lines.append, level=level, format=format, clock=lambda: self.now)

    def last(self) -> Any:
        return json.loads(self.lines[-1])


def test_a_text_line() -> None:
    paper = Paper()
    paper.log.info("listener-added", listener="web", address="127.0.0.1:80", count=3, on=True, chain=None)
    assert paper.lines == [
        "2023-11-14T22:13:20.250Z INFO listener-added listener=web address=127.0.0.1:80 count=3 on=true chain=null\n"
    ]


def test_a_json_line() -> None:
    paper = Paper(format="json")
    paper.log.error("accept-failed", listener="web", error=OSError("no"), seconds=0.5)
    assert paper.last() == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "error",
        "event": "accept-failed",
        "listener": "web",
        "error": "no",
        "seconds": 0.5,
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("two words", '"two words"'),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "hi"', r'"say \"hi\""'),
        ("x\ny\r\0", r'"x\ny\r\u0000"'),
        ("\x1b[31m", r'"\u001b[31m"'),
        ("\x7f\x85\u202e\u2028", r'"\u007f\u0085\u202e\u2028"'),
        ("\udc80", r'"\udc80"'),
        ("back\\slash", r'"back\\slash"'),
        ("/run/x.sock,[::1]:80;~!", "/run/x.sock,[::1]:80;~!"),
    ],
)
def test_a_value_cannot_leave_its_field(value: str, text: str) -> None:
    paper = Paper()
    paper.log.info("e", v=value)
    assert paper.lines[0].endswith(f" e v={text}\n")


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_line_is_one_line_of_bounded_length(format: Format) -> None:
    paper = Paper(format=format)
    paper.log.info("e", v="\n" * 1_000_000)
    assert paper.lines[0].count("\n") == 1
    assert len(paper.lines[0]) < 7 * LONGEST_VALUE
    assert "999488 more" in paper.lines[0]


def test_a_field_cannot_take_the_name_of_the_frame() -> None:
    paper = Paper(format="json")
    paper.log.info("e", level="debug", event="x", time=1)
    assert (paper.last()["level"], paper.last()["level_"], paper.last()["event"]) == ("info", "debug", "e")


def test_the_level_can_be_changed_while_running() -> None:
    paper = Paper(level="warning")
    paper.log.info("hidden")
    paper.log.level = "debug"
    paper.log.debug("seen")
    assert [line.split()[1:] for line in paper.lines] == [["DEBUG", "seen"]]
    with pytest.raises(ValueError, match="level: 'loud' is not one of debug, info, warning, error"):
        paper.log.level = "loud"
    assert paper.log.level == "debug"


def test_repeats_are_suppressed_and_counted() -> None:
    paper = Paper()
    for _ in range(5):
        paper.log.limited("accept web", 10, "warning", "accept-failed", listener="web")
    paper.now += 10
    for _ in range(2):
        paper.log.limited("accept web", 10, "warning", "accept-failed", listener="web")
    paper.now += 10
    paper.log.limited("accept web", 10, "warning", "accept-failed")
    assert [line.split(" ", 3)[3] for line in paper.lines] == [
        "listener=web\n",
        "listener=web suppressed=4\n",
        "suppressed=1\n",
    ]


def test_keys_are_limited_apart_and_in_number() -> None:
    paper = Paper()
    for number in range(MOST_KEYS + 1):
        paper.log.limited(str(number), 10, "info", "e")
    assert len(paper.lines) == MOST_KEYS + 1
    paper.log.limited(str(MOST_KEYS), 10, "info", "e")
    assert len(paper.lines) == MOST_KEYS + 1
    paper.log.limited("0", 10, "info", "e")
    assert len(paper.lines) == MOST_KEYS + 2


def test_a_clock_set_back_does_not_silence_a_key() -> None:
    paper = Paper()
    paper.log.limited("k", 10, "info", "e")
    paper.now -= 3600
    paper.log.limited("k", 10, "info", "e")
    assert len(paper.lines) == 2


def test_what_the_level_hides_is_not_counted_as_suppressed() -> None:
    paper = Paper(level="error")
    paper.log.limited("k", 10, "info", "e")
    paper.log.level = "info"
    paper.log.limited("k", 10, "info", "e")
    assert paper.lines[0].endswith("INFO e\n")


def test_nobody_to_read_is_no_reason_to_stop() -> None:
    def broken(line: str) -> None:
        raise BrokenPipeError

    Log(broken).error("e")


def test_the_default_is_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    Log().info("hello")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("INFO hello\n")
