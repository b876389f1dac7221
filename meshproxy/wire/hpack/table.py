"""The table that indexes point into: 61 fields that everybody knows, and then what the peer has added, newest first.

Both are one list, so an index is looked up in one step.
"""

from __future__ import annotations

Field = tuple[bytes, bytes, bytes]
"""The name, the value, and both as a line: what most readers want is the last, and it is made once."""

DEFAULT_SIZE = 4096
OVERHEAD = 32
"""What a field counts beyond its bytes."""
_OF_LINE = OVERHEAD - len(b": ")
"""What a field counts beyond the bytes of its line."""


def _field(text: str) -> Field:
    name, _, value = text.encode().partition(b"=")
    return name, value, b"%b: %b" % (name, value)


STATIC: tuple[Field, ...] = tuple(
    map(
        _field,
        (
            ":authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|"
            ":status=204|:status=206|:status=304|:status=400|:status=404|:status=500|accept-charset|"
            "accept-encoding=gzip, deflate|accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|"
            "authorization|cache-control|content-disposition|content-encoding|content-language|content-length|"
            "content-location|content-range|content-type|cookie|date|etag|expect|expires|from|host|if-match|"
            "if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|location|max-forwards|"
            "proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|"
            "strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"
        ).split("|"),
    )
)
"""RFC 7541, appendix A; the first one has the index 1."""

_FIRST_ADDED = len(STATIC) + 1


def size_of(fields: list[Field]) -> int:
    """As SETTINGS_MAX_HEADER_LIST_SIZE counts them."""
    return sum([len(line) for _, _, line in fields]) + _OF_LINE * len(fields)


class Table:
    __slots__ = ("_most", "entries", "largest", "size")

    def __init__(self) -> None:
        self.entries: list[Field] = [(b"", b"", b""), *STATIC]
        """By index.  There is nothing at 0."""
        self.size = 0
        """Of what was added."""
        self.largest = size_of([max(STATIC, key=lambda field: len(field[2]))])
        """No field here has a larger size, or has had."""
        self._most = DEFAULT_SIZE

    @property
    def most(self) -> int:
        return self._most

    def add(self, field: Field) -> None:
        """One that is larger than the table leaves it empty, as the RFC has it."""
        self.entries.insert(_FIRST_ADDED, field)
        grown = len(field[2]) + _OF_LINE
        if grown > self.largest:
            self.largest = grown
        self.size = size = self.size + grown
        if size > self._most:
            self._evict()

    def resize(self, most: int) -> None:
        self._most = most
        self._evict()

    def _evict(self) -> None:
        entries, most, size = self.entries, self._most, self.size
        while size > most:
            size -= len(entries.pop()[2]) + _OF_LINE
        self.size = size
