"""`meshproxy top`: a running proxy on a terminal, once a second, until somebody has seen enough."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time

from meshproxy.cli import OK
from meshproxy.cli.ask import Admin, told
from meshproxy.cli.top.feed import Feed, Seen, look
from meshproxy.cli.top.frame import View, frame
from meshproxy.cli.top.screen import Ended, Screen
from meshproxy.cli.top.text import Style, painted

WIDE = 120
"""Columns where there is no terminal to ask."""


@told
def top(arguments: argparse.Namespace) -> int:
    admin = Admin(arguments)
    if arguments.output == "json":
        print(json.dumps(look(admin).as_json(), indent=1))
        return OK
    style = style_here()
    if arguments.once:
        print(_page(Seen(look(admin)), arguments.admin, style), end="")
        return OK
    feed = Feed(lambda: look(admin), arguments.every)
    if sys.stdin.isatty() and sys.stdout.isatty() and not is_dumb():
        return _full_screen(feed, arguments.admin, style)
    while True:
        began = time.monotonic()
        feed.ask()
        print(_page(feed.seen, arguments.admin, style), flush=True)
        time.sleep(max(0.0, began + arguments.every - time.monotonic()))


def _full_screen(feed: Feed, address: str, style: Style) -> int:
    view = View()
    try:
        with Screen(sys.stdin.fileno(), sys.stdout.fileno(), style) as screen:
            feed.begin(screen.wake)
            while not view.over:
                screen.draw(frame(feed.seen, view, address, *screen.size(), style))
                for key in screen.pressed():
                    view.press(key)
    except Ended as ended:
        return ended.code
    return OK


def _page(seen: Seen, address: str, style: Style) -> str:
    """All of it, for one who scrolls himself."""
    width = shutil.get_terminal_size((WIDE, 0)).columns
    return "".join(f"{painted(line, width, style)}\n" for line in frame(seen, View(), address, width, None, style))


def style_here() -> Style:
    """What this terminal can show, and what its user wants to see."""
    colour = sys.stdout.isatty() and not is_dumb() and not os.environ.get("NO_COLOR")
    return Style(colour, (sys.stdout.encoding or "ascii").lower().replace("-", "") == "utf8")


def is_dumb() -> bool:
    return os.environ.get("TERM", "dumb") in ("", "dumb")
