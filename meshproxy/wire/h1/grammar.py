"""The words of RFC 9110, 9112 and 3986 as regular expressions over bytes, for whoever reads or writes them.

Repetitions of one byte are possessive (`*+`).  Those of a group are not: before Python 3.11.5 a possessive group may
match what it does not describe.  Each turn of such a group begins with a byte that nothing before it takes, so there is
one way to match at most, and matching is linear in what arrives.
"""

from __future__ import annotations

import re

from meshproxy.wire.h1.faults import Malformed, Reason

CRLF = b"\r\n"
OWS = b" \t"

_TCHAR = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
TEXT = rb"[\t -~\x80-\xff]"
"""A byte of a field value or of a reason phrase."""

token = re.compile(rb"[%b]++" % _TCHAR).fullmatch
visible = re.compile(rb"[!-~\x80-\xff]++").fullmatch
text = re.compile(rb"%b*+" % TEXT).fullmatch

# What a browser may send raw in a path or a query is taken (`[`, `]`, `|`, and in a query more than RFC 3986 has);
# what it would encode is not, and a path has no NUL and no `%` without two digits.
_PATH = rb"[!$&-;=@-\[\]_a-z|~]"
_QUERY = rb"[!$-;=?-~]"
TARGET = rb"/%b*+(?:%%(?!00)[0-9A-Fa-f]{2}%b*+)*(?:\?%b*+)?" % (_PATH, _PATH, _QUERY)
"""The origin form: an absolute path and a query."""
_RAW_PATH = rb"[!\"$&->@-~\x80-\xff]"
RAW_TARGET = rb"/%b*+(?:%%(?!00)%b*+)*(?:\?[!\"$-~\x80-\xff]*+)?" % (_RAW_PATH, _RAW_PATH)

_EXTENSION_VALUE = rb'(?:[%b]++|"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*")' % _TCHAR
CHUNK_EXTENSIONS = rb"(?:;[%b]++(?:=%b)?)*" % (_TCHAR, _EXTENSION_VALUE)
"""Without the white space around `;` and `=` that RFC 9112 calls bad and lets nobody send."""

# A table that changes every byte which may not stand between two line ends; `translate` with it is the fastest look at
# every byte that Python has, and gives an equal result if all of them may.
CLEAN = bytes(ord("?") if (byte < 0x20 and byte != 0x09) or byte == 0x7F else byte for byte in range(256))

_illegal = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n").search
_illegal_but_lf = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)").search
_REASONS = {b"\r": Reason.BARE_CR, b"\n": Reason.BARE_LF}


def clean(lines: list[bytes]) -> bool:
    """Whether lines, without their ends, have only bytes that may stand in a head."""
    joined = b"".join(lines)
    return joined.translate(CLEAN) == joined


def refuse_illegal_bytes(data: bytes | bytearray, start: int, bare_lf: bool) -> None:
    """Raise for the first byte from `start` that no head may have; a CR at the very end may still find its LF."""
    found = (_illegal_but_lf if bare_lf else _illegal)(data, start)
    if found and (found[0] != b"\r" or found.end() < len(data)):
        raise Malformed(_REASONS.get(found[0], Reason.CONTROL_BYTE))
