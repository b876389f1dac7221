"""From bytes to text: what is too large, empty, not UTF-8 or full of control characters is refused here.

Documents are read in a thread beside the one that serves traffic, and one call into C holds them both still. So
nothing looks at a whole document in one call, but only at a piece of it.
"""

from __future__ import annotations

import re
import zlib
from codecs import BOM_UTF8, utf_8_decode
from collections.abc import Iterator

from meshproxy.errors import Invalid, Problem

LARGEST_DOCUMENT = 16 * 1024 * 1024
LARGEST_NODES = 200_000
DEEPEST = 64
LONGEST_TEXT = 64 * 1024
LONGEST_KEY = 1024
PIECE = 64 * 1024
GZIP = b"\x1f\x8b"

_CONTROL = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
BLANKS = re.compile(rf"[ \t\n\r]{{1,{PIECE}}}+")


def decode(data: bytes, source: str) -> str:
    if len(data) > LARGEST_DOCUMENT:
        limit = f"{LARGEST_DOCUMENT >> 20} MiB"
        raise refusal(source, f"the document has {len(data)} bytes; at most {limit} are accepted")
    text = "".join(_pieces(data.removeprefix(BOM_UTF8), source))
    if past_blanks(text, 0) == len(text):
        raise refusal(source, "the document is empty")
    return text


def unzipped(data: bytes, source: str) -> bytes:
    """What may have come compressed by gzip; no more of it than may be read."""
    if not data.startswith(GZIP):
        return data
    unzip = zlib.decompressobj(wbits=31)
    try:
        found = unzip.decompress(data, LARGEST_DOCUMENT + 1)
    except zlib.error as error:
        raise refusal(source, f"not gzip, although it begins like it: {error}") from None
    if not unzip.eof and len(found) <= LARGEST_DOCUMENT:
        raise refusal(source, "the gzip data is cut off")
    if unzip.unused_data:
        # Perhaps the rest of the policy, or its denials: half of one is none.
        raise refusal(source, "something follows the end of the gzip data")
    return found


def _pieces(data: bytes, source: str) -> Iterator[str]:
    start, line = 0, 1
    while start < len(data):
        piece = data[start : start + PIECE]
        try:
            # The last character of a piece may be cut in two; then it begins the next one.
            text, used = utf_8_decode(piece, "strict", start + PIECE >= len(data))
        except UnicodeDecodeError as error:
            line += piece.count(b"\n", 0, error.start)
            raise refusal(source, f"not UTF-8: byte 0x{piece[error.start]:02x}", line) from None
        control = _CONTROL.search(text)
        if control:
            line += text.count("\n", 0, control.start())
            raise refusal(source, f"control character U+{ord(control[0]):04X}", line)
        yield text
        start += used
        line += text.count("\n")


def past_blanks(text: str, start: int) -> int:
    """Where the blanks end that begin at `start`."""
    while blanks := BLANKS.match(text, start):
        start = blanks.end()
    return start


def too_long(what: str, longest: int, source: str, line: int) -> Invalid:
    return refusal(source, f"a {what} is longer than {longest} characters", line)


def refusal(source: str, message: str, line: int | None = None, path: str = "") -> Invalid:
    return Invalid([Problem(path, message, source, line)])
