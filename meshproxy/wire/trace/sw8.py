"""SkyWalking's propagation, version 3: eight parts in the field `sw8`, texts in base64.

    sw8 = Sw8("shop", "shop-1")
    came = sw8.extract(head.get)
    came.segment.service                    # who has sent it
    sw8.inject(mine, hop)                   # what the context calls its segment, and the number of the hop in it

A trace's id is any text there.  One that is no 128-bit number in hexadecimal is known to all others by a digest of it,
the same wherever it is made, and goes on as it came.  `sw8-x` and `sw8-correlation` are not touched.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Sequence
from hashlib import sha256

from meshproxy.wire.trace.context import Context, Hop, Segment

NAME = b"sw8"
LONGEST = 2048
LARGEST_SPAN = 2**31 - 1

_TEXT = rb"([A-Za-z0-9+/]{2,}={0,2})"
_read = re.compile(rb"([01])-%b-%b-([0-9]{1,10})-%b-%b-%b-%b" % ((_TEXT,) * 6)).fullmatch
_is_id = re.compile(r"(?!0+\Z)[0-9a-f]{32}").fullmatch


class Sw8:
    names = frozenset((NAME,))
    glance = None

    def __init__(self, service: str, instance: str) -> None:
        """Who we are, to those who are asked."""
        self._who = _encoded(service) + b"-" + _encoded(instance)
        self._of_nothing = b"-0-%b-%b-%b\r\n" % (self._who, _encoded("/"), _encoded("-"))

    def extract(self, get: Callable[[bytes], bytes | None]) -> Context | None:
        value = get(NAME)
        if value is None or len(value) > LONGEST:
            return None
        found = _read(value)
        if found is None:
            return None
        sample, trace, segment, number, *others = found.groups()
        span = int(number)
        if span > LARGEST_SPAN:
            return None
        try:
            segment_of = Segment(_decoded(trace), _decoded(segment), span, *map(_decoded, others))
        except ValueError:  # no base64, or no UTF-8
            return None
        return Context(trace_id_of(segment_of.trace), b"", sample == b"1", segment=segment_of)

    def inject(self, context: Context, hop: Hop) -> bytes:
        return b"sw8: %d-%b-%b-%d-%b-%b-%b\r\n" % (
            bool(context.sampled),
            _encoded(context.name),
            b2a_base64(context.segment_id, newline=False),
            hop.number,
            self._who,
            _encoded(hop.operation),
            _encoded(hop.peer),
        )

    def unsampled(self, ids: Sequence[bytes]) -> list[bytes]:
        traces = zip(ids[::2], ids[1::2], strict=True)
        return [
            b"sw8: 0-%b-%b%b" % (
                b2a_base64(trace_id, newline=False),
                b2a_base64(trace_id[16:] + span_id, newline=False),
                self._of_nothing,
            )
            for trace_id, span_id in traces
        ]  # fmt: skip


def trace_id_of(name: str) -> bytes:
    """32 hexadecimal digits for any id."""
    digits = name.replace("-", "").lower()
    if _is_id(digits):
        return digits.encode("ascii")
    return sha256(name.encode()).hexdigest()[:32].encode("ascii")


def _encoded(text: str) -> bytes:
    """An empty text would be taken for a missing one."""
    return b2a_base64(text.encode() or b"-", newline=False)


def _decoded(text: bytes) -> str:
    return a2b_base64(text, strict_mode=True).decode()
