"""How a client of HTTP/2 begins, which no request of HTTP/1.1 does."""

from __future__ import annotations

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def may_be(data: bytes) -> bool:
    """Whether these first bytes are the preface, or the beginning of it."""
    return PREFACE.startswith(data[: len(PREFACE)])
