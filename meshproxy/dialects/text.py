"""From bytes to text: what is too large, empty, not UTF-8 or full of control characters is refused here."""

from __future__ import annotations

import re

from meshproxy.errors import Invalid, Problem

LARGEST_DOCUMENT = 16 * 1024 * 1024
LARGEST_NODES = 200_000
DEEPEST = 64

_CONTROL = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def decode(data: bytes, source: str) -> str:
    if len(data) > LARGEST_DOCUMENT:
        limit = f"{LARGEST_DOCUMENT >> 20} MiB"
        raise refusal(source, f"the document has {len(data)} bytes; at most {limit} are accepted")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise refusal(source, f"not UTF-8: byte 0x{data[error.start]:02x}", line) from None
    control = _CONTROL.search(text)
    if control:
        line = text.count("\n", 0, control.start()) + 1
        raise refusal(source, f"control character U+{ord(control[0]):04X}", line)
    if not text.strip():
        raise refusal(source, "the document is empty")
    return text


def refusal(source: str, message: str, line: int | None = None, path: str = "") -> Invalid:
    return Invalid([Problem(path, message, source, line)])
