"""A pseudo-terminal with a command in it, and a model of its screen: as much of one as `meshproxy top` makes use of."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LONGEST = 15.0
_TOLD = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]")


class Grid:
    """What a person sees."""

    def __init__(self, width: int, height: int) -> None:
        self.resize(width, height)
        self.alternate = False
        self.cursor_shown = True
        self.coloured = False
        self.unknown: list[str] = []

    def resize(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._cells = [[" "] * width for _ in range(height)]
        self._x = self._y = 0

    def feed(self, text: str) -> None:
        end = 0
        for found in _TOLD.finditer(text):
            if found.start() != end:
                self.unknown.append(text[end : found.start()])
            end = found.end()
            if found[2]:
                self._do(found[1], found[2])
            elif found[0] == "\r":
                self._x = 0
            elif found[0] == "\n":
                self._y += 1
                if self._y == self.height:
                    self._cells = [*self._cells[1:], [" "] * self.width]
                    self._y -= 1
            elif self._x < self.width:
                self._cells[self._y][self._x] = found[0]
                self._x += 1
            else:
                self.unknown.append("a line that is too long")
        if end != len(text):
            self.unknown.append(text[end:])

    def _do(self, said: str, what: str) -> None:
        match what, said:
            case "H", "":
                self._x = self._y = 0
            case "K", "":
                self._cells[self._y][self._x :] = [" "] * (self.width - self._x)
            case "J", "" | "2":
                below = self._y if said == "" else 0
                self._cells[below:] = [[" "] * self.width for _ in range(self.height - below)]
            case "h" | "l", "?1049":
                self.alternate = what == "h"
            case "h" | "l", "?25":
                self.cursor_shown = what == "h"
            case "m", _:
                self.coloured |= said not in ("", "0")
            case _:
                self.unknown.append(f"{said}{what}")

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._cells]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Terminal:
    def __init__(self, *arguments: str, width: int = 80, height: int = 24, **env: str) -> None:
        self.grid = Grid(width, height)
        self.raw = ""
        self._ours, self._theirs = pty.openpty()
        self._size(width, height)
        self.before = termios.tcgetattr(self._theirs)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "meshproxy", *arguments],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env={**os.environ, "TERM": "xterm", "PYTHONUTF8": "1", "NO_COLOR": "", **env},
            start_new_session=True,
            # It is the terminal of the command, so that Ctrl-C and a change of its size arrive there.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )

    def _size(self, width: int, height: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def resize(self, width: int, height: int) -> None:
        self.grid.resize(width, height)
        self._size(width, height)

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def _read(self, within: float) -> None:
        if select.select([self._ours], [], [], within)[0]:
            data = os.read(self._ours, 65536)
            while not _is_whole(data):
                data += os.read(self._ours, 65536)
            text = data.decode()
            self.raw += text
            self.grid.feed(text)

    def until(self, seen: Callable[[Grid], Any], what: str) -> None:
        end = time.monotonic() + LONGEST
        while not seen(self.grid):
            assert time.monotonic() < end, f"not within {LONGEST:g} s: {what}; there is\n{self.grid.text}"
            self._read(0.05)

    def shows(self, *texts: str) -> None:
        self.until(lambda grid: all(text in grid.text for text in texts), f"{texts}")

    def ended(self) -> int:
        """The exit code; and the terminal is as it was."""
        end = time.monotonic() + LONGEST
        while self.process.poll() is None:
            assert time.monotonic() < end, "it has not ended"
            self._read(0.05)
        while select.select([self._ours], [], [], 0)[0]:
            self._read(0)
        assert termios.tcgetattr(self._theirs) == self.before
        assert (self.grid.alternate, self.grid.cursor_shown, self.grid.unknown) == (False, True, [])
        assert "Traceback" not in self.raw, self.raw
        return self.process.returncode

    def until_stopped(self) -> None:
        """By a signal; one that lets it go on does nothing before that."""
        stat = Path("/proc", str(self.process.pid), "stat")
        self.until(lambda _: stat.read_text().rpartition(")")[2].split()[0] == "T", "stopped")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


def _is_whole(data: bytes) -> bool:
    """Neither a sequence nor a sign is cut."""
    try:
        return re.search(rb"\x1b(\[[?0-9;]*)?$", data) is None and data.decode() is not None
    except UnicodeDecodeError:
        return False
