"""A head that arrives in pieces.

What can never become a head is refused as soon as that shows, not when a timeout does: whoever speaks TLS, HTTP/0.9 or
with bare line feeds to us never sends the four bytes that we wait for.  Each byte is looked at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from meshproxy.wire.h1.faults import Malformed, Reason
from meshproxy.wire.h1.grammar import CRLF, clean, refuse_illegal_bytes
from meshproxy.wire.h1.rules import Limits, Strictness

END = CRLF + CRLF

_lenient_end = re.compile(rb"\n\r?\n").search


class Gathering:
    __slots__ = ("_bare_lf", "_buffer", "_check_line", "_limits", "_line_checked", "_skips_empty_lines")

    def __init__(
        self,
        limits: Limits,
        strictness: Strictness,
        check_line: Callable[[bytes], object],
        *,
        skips_empty_lines: bool = False,
    ) -> None:
        self._limits = limits
        self._check_line = check_line
        """Raises for a first line that is none."""
        self._bare_lf = strictness.bare_lf
        self._skips_empty_lines = skips_empty_lines
        self._buffer = bytearray()
        self._line_checked = False

    @property
    def empty(self) -> bool:
        return not self._buffer

    def add(self, data: bytes) -> tuple[bytes, bytes] | None:
        """A whole head and what follows it, or None: more is needed."""
        buffer = self._buffer
        looked = max(len(buffer) - len(END) + 1, 0)
        buffer += data
        if self._skips_empty_lines:
            # After a body, some clients send a line end that belongs to nothing (RFC 9112 2.2)
            while buffer.startswith(CRLF):
                del buffer[: len(CRLF)]
                looked = 0
        end = self._end(looked)
        if end < 0:
            self._refuse_early(looked)
            return None
        return bytes(buffer[:end]), bytes(buffer[end:])

    def _end(self, looked: int) -> int:
        if self._bare_lf:
            found = _lenient_end(self._buffer, looked)
            return found.end() if found else -1
        at = self._buffer.find(END, looked)
        return at + len(END) if at >= 0 else -1

    def _refuse_early(self, looked: int) -> None:
        buffer, limits = self._buffer, self._limits
        refuse_illegal_bytes(buffer, looked, self._bare_lf)
        if not self._line_checked:
            end = buffer.find(b"\n", looked)
            if end < 0:
                if len(buffer) > limits.line:
                    raise Malformed(Reason.LINE_TOO_LONG)
                return
            refuse_long_line(buffer, limits)
            self._check_line(bytes(buffer[:end]).removesuffix(b"\r"))
            self._line_checked = True
        if len(buffer) > limits.head:
            raise Malformed(Reason.HEAD_TOO_LARGE)


def refuse_long_line(data: bytes | bytearray, limits: Limits) -> None:
    """Raise if the first line, its end included, is over the limit."""
    if data.find(b"\n", 0, limits.line) < 0:
        raise Malformed(Reason.LINE_TOO_LONG)


_line_ends = re.compile(rb"\r?\n").sub
_folds = re.compile(rb"\r\n[ \t]++").sub


def lines_of(raw: bytes, limits: Limits, strictness: Strictness) -> list[bytes]:
    """The lines of a whole head: within the limits, and of legal bytes; what strictness admits is made regular."""
    refuse_long_line(raw, limits)
    if len(raw) > limits.head:
        raise Malformed(Reason.HEAD_TOO_LARGE)
    regular = _line_ends(CRLF, raw) if strictness.bare_lf else raw
    if strictness.obs_fold:
        first, _, rest = regular.partition(CRLF)
        if not rest.startswith((b" ", b"\t")):
            regular = first + CRLF + _folds(b" ", rest)
    lines = regular[: -len(END)].split(CRLF)
    if not clean(lines):
        refuse_illegal_bytes(raw, 0, strictness.bare_lf)
    return lines
