"""Several kinds of contexts in an order, and one kind told as another."""

from __future__ import annotations

from itertools import permutations

import pytest

from meshproxy.wire.h1 import encode
from meshproxy.wire.trace import KINDS, Context, Leaving, propagation
from tests.wire.trace.contexts import continued

TRACE, SPAN, MINE = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331", b"00f067aa0ba902b7"
OTHER = b"1" * 32
NEXT = Leaving(b"1234567890123456")


def fields(lines: bytes) -> dict[bytes, bytes]:
    assert lines.endswith(b"\r\n")
    found = [line.partition(b": ")[::2] for line in lines[:-2].split(b"\r\n")]
    assert encode.lines(found) == lines, "each is a field that may be sent"
    return dict(found)


def test_the_first_that_is_valid_is_read() -> None:
    said = {b"traceparent": b"00-%b-%b-01" % (TRACE, SPAN), b"b3": b"%b-%b-0" % (OTHER, SPAN)}
    for kinds, trace, sampled in ((["w3c", "b3"], TRACE, True), (["b3", "w3c"], OTHER, False)):
        found = propagation(kinds).extract(said.get)
        assert found is not None
        assert (found.trace_id, found.sampled) == (trace, sampled)
    said[b"traceparent"] = b"00-nonsense"
    found = propagation(["w3c", "b3"]).extract(said.get)
    assert found is not None
    assert found.trace_id == OTHER
    assert propagation(["w3c"]).extract(said.get) is None
    said.clear()
    assert propagation([*KINDS]).extract(said.get) is None


@pytest.mark.parametrize("kind", KINDS)
def test_all_are_written_and_each_reads_the_same(kind: str) -> None:
    for order in permutations(KINDS):
        carry = propagation(order)
        written = fields(carry.inject(Context(TRACE, MINE, True, random=True), NEXT))
        assert set(written) <= carry.names
        only = propagation([kind])
        found = only.extract(written.get)
        assert found is not None
        assert (found.trace_id, found.sampled) == (TRACE, True)
        for trace, lines in zip((TRACE, OTHER), carry.unsampled([TRACE, SPAN, OTHER, MINE]), strict=True):
            denied = only.extract(fields(lines).get)
            assert denied is not None
            assert (denied.trace_id, denied.sampled) == (trace, False)


def test_a_short_id_goes_on_long_where_it_must_be() -> None:
    found = propagation(["b3"]).extract({b"b3": b"64fe8b2a57d3eff7-%b-1" % SPAN}.get)
    assert found is not None
    written = fields(propagation(["w3c", "b3", "sw8"]).inject(continued(found, MINE), NEXT))
    assert written[b"traceparent"].startswith(b"00-000000000000000064fe8b2a57d3eff7-")
    assert written[b"b3"].startswith(b"64fe8b2a57d3eff7-")
    told = propagation(["sw8"]).extract(written.get)
    assert told is not None
    assert told.name == "64fe8b2a57d3eff7"


def test_it_knows_its_names() -> None:
    assert propagation(["w3c", "sw8"]).names == {b"traceparent", b"tracestate", b"sw8"}
    assert all(name == name.lower() for name in propagation(KINDS).names)
