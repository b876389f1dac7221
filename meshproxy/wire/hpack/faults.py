"""What can be wrong with a block of fields, as a closed vocabulary."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    TRUNCATED = "truncated"
    BAD_INTEGER = "bad_integer"
    BAD_INDEX = "bad_index"
    BAD_HUFFMAN = "bad_huffman"
    SIZE_UPDATE_TOO_LARGE = "size_update_too_large"
    SIZE_UPDATE_TOO_LATE = "size_update_too_late"
    SIZE_UPDATE_MISSING = "size_update_missing"


class Broken(ValueError):
    """Nothing that follows on this connection can be understood: COMPRESSION_ERROR."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class TooLarge(ValueError):
    """More than is taken of one message.  All of it was read, so what follows can be."""
