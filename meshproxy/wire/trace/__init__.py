"""Trace contexts as header fields: W3C Trace Context, B3 in one field or several, SkyWalking's sw8.

    carry = propagation(["w3c", "b3"])
    came = carry.extract({b"b3": b"463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-1"}.get)
    mine = Context(came.trace_id, b"00f067aa0ba902b7", True)    # of the span of who has read it
    carry.inject(mine, Leaving(b"b7ad6b7169203331"))            # what the next one is told: the lines of all kinds

Where to read on: `context.py` (what is known of a trace), `propagation.py` (several kinds in an order), then each kind.
"""

from meshproxy.wire.trace.context import Context, Hop, Leaving, Segment
from meshproxy.wire.trace.propagation import KINDS, Propagation, propagation

__all__ = ["KINDS", "Context", "Hop", "Leaving", "Propagation", "Segment", "propagation"]
