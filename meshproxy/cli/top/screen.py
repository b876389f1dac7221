"""A terminal that is ours for a while: raw keys, a screen of its own, and all as it was however it ends.

    with Screen(0, 1, style) as screen:
        screen.draw(lines)
        for key in screen.pressed(): ...
"""

from __future__ import annotations

import os
import re
import select
import signal
import termios
import tty
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from meshproxy.cli.top.text import Line, Style, painted

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[2J", "\x1b[?25h\x1b[0m\x1b[?1049l"
HOME, ERASE_LINE, ERASE_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
USUAL_SIZE = (80, 24)
"""Of a terminal that does not know its own."""
NAMED = {
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1bOA": "up", b"\x1bOB": "down", b"\x1b[5~": "page up",
    b"\x1b[6~": "page down", b"\x1b[H": "home", b"\x1b[F": "end", b"\x1b": "escape", b"\x03": "q", b"\x04": "q",
}  # fmt: skip
_KEY = re.compile(rb"\x1b\[[0-9;]*[@-~]|\x1bO.|.", re.S)
FATAL = (signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """By a signal, or since nobody is at the terminal any more."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Screen:
    def __init__(self, source: int, sink: int, style: Style) -> None:
        self._source = source
        self._sink = sink
        self._style = style
        self._encoding = "utf-8" if style.unicode else "ascii"
        self._before: list[Any] = []
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._source)
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            for number in FATAL:
                self._handlers[number] = signal.signal(number, _end)
            self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._stop)
            # That it comes is enough: it wakes whoever waits for a key.
            self._handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: None)
            signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
            self._take()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._restore()

    def _take(self) -> None:
        tty.setcbreak(self._source)
        self._write(ENTER)

    def _give(self) -> None:
        # The terminal itself may be gone.
        with suppress(OSError):
            self._write(LEAVE)
        with suppress(termios.error):
            termios.tcsetattr(self._source, termios.TCSADRAIN, self._before)

    def _restore(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in FATAL:
            signal.signal(number, signal.SIG_IGN)
        try:
            self._give()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        """To the shell, and back when it says so."""
        self._give()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    def wake(self) -> None:
        """From another thread: there is something to draw."""
        with suppress(BlockingIOError):
            os.write(self._wake, b"\0")

    def size(self) -> tuple[int, int]:
        try:
            found = os.get_terminal_size(self._sink)
        except OSError:
            return USUAL_SIZE
        return (found.columns, found.lines) if found.columns and found.lines else USUAL_SIZE

    def draw(self, lines: Sequence[Line]) -> None:
        width, height = self.size()
        # To erase behind a full line would take its last sign.
        shown = [ERASE_LINE + painted(line, width, self._style) for line in lines[:height]]
        below = "\r\n" + ERASE_BELOW if len(shown) < height else ""
        self._write(HOME + "\r\n".join(shown) + below)

    def pressed(self) -> list[str]:
        """Those that were pressed, once there is something to draw again; of none there may be none."""
        ready, _, _ = select.select([self._source, self._woken], [], [])
        if self._woken in ready:
            with suppress(BlockingIOError):
                os.read(self._woken, 4096)
        if self._source not in ready:
            return []
        try:
            typed = os.read(self._source, 1024)
        except OSError:
            typed = b""
        if not typed:
            raise Ended(0)
        return [NAMED.get(key) or key.decode("ascii", "replace") for key in _KEY.findall(typed)]

    def _write(self, text: str) -> None:
        data = text.encode(self._encoding, "replace")
        while data:
            data = data[os.write(self._sink, data) :]


def _end(number: int, _frame: FrameType | None) -> None:
    raise Ended(128 + number)
