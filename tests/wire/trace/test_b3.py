"""B3 in one field and in several: what is read, what is refused, and its round trips."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.trace import Context, Leaving
from meshproxy.wire.trace.b3 import B3, B3Multi
from tests.examples import examples
from tests.wire.trace.contexts import continued

TRACE, SHORT, SPAN = b"80f198ee56343ba864fe8b2a57d3eff7", b"64fe8b2a57d3eff7", b"e457b5a2e4d86bd1"
PARENT, MINE, NEXT = b"05e3ac9a4f6e3b90", b"00f067aa0ba902b7", Leaving(b"1234567890123456")
HEX = "0123456789abcdef"

Said = dict[str, bytes]


def single(value: bytes | None) -> Context | None:
    return B3().extract({b"b3": value}.get)


def several(**said: bytes) -> Context | None:
    return B3Multi().extract({b"x-b3-" + name.encode(): value for name, value in said.items()}.get)


@pytest.mark.parametrize(
    ("value", "sampled", "debug"),
    [
        (TRACE + b"-" + SPAN, None, False),
        (TRACE + b"-" + SPAN + b"-0", False, False),
        (TRACE + b"-" + SPAN + b"-1", True, False),
        (TRACE + b"-" + SPAN + b"-d", True, True),
        (TRACE + b"-" + SPAN + b"-1-" + PARENT, True, False),
        (TRACE + b"-" + SPAN + b"-0-" + PARENT, False, False),
        (TRACE + b"-" + SPAN + b"-" + PARENT, None, False),
    ],
)
def test_all_in_one_field(value: bytes, sampled: bool | None, debug: bool) -> None:
    found = single(value)
    assert found is not None
    assert (found.trace_id, found.span_id, found.sampled, found.debug, found.short) == (
        TRACE, SPAN, sampled, debug, False,
    )  # fmt: skip


@pytest.mark.parametrize(("value", "sampled", "debug"), [(b"0", False, False), (b"1", True, False), (b"d", True, True)])
def test_a_decision_may_come_without_a_trace(value: bytes, sampled: bool, debug: bool) -> None:
    found = single(value)
    assert found is not None
    assert (found.trace_id, found.span_id, found.sampled, found.debug) == (b"", b"", sampled, debug)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"2",
        b"D",
        b"00",
        b"-",
        b"0-" + PARENT,
        b"-" + PARENT,
        TRACE,
        TRACE + b"-",
        TRACE + b"-" + SPAN + b"-",
        TRACE + b"-" + SPAN + b"-2",
        TRACE + b"-" + SPAN + b"-01",
        TRACE + b"-" + SPAN + b"-1-",
        TRACE + b"-" + SPAN + b"--" + PARENT,
        TRACE + b"-" + SPAN + b"-1-" + PARENT[1:],
        TRACE + b"-" + SPAN + b"-1-" + PARENT + b"-1",
        TRACE + b"-" + SPAN + b"-1-" + b"0" * 16,
        TRACE.upper() + b"-" + SPAN + b"-1",
        TRACE + b"-" + SPAN.upper() + b"-1",
        TRACE[1:] + b"-" + SPAN + b"-1",
        TRACE[:24] + b"-" + SPAN + b"-1",
        b"0" * 32 + b"-" + SPAN + b"-1",
        b"0" * 16 + b"-" + SPAN + b"-1",
        TRACE + b"-" + b"0" * 16 + b"-1",
        TRACE + b"-" + SPAN[1:] + b"-1",
        TRACE + b"-" + SPAN + b"-1\n",
        b"0\n",
        TRACE + b"-" + SPAN + b"-1, 0",
        b"0, 1",
    ],
)
def test_one_field_that_breaks_a_rule_is_none(value: bytes | None) -> None:
    assert single(value) is None


def test_several_fields() -> None:
    ids = {"traceid": TRACE, "spanid": SPAN}
    states: list[tuple[Said, bool | None, bool]] = [
        ({}, None, False),
        ({"sampled": b"0"}, False, False),
        ({"sampled": b"1"}, True, False),
        ({"sampled": b"false"}, False, False),
        ({"sampled": b"true"}, True, False),
        ({"flags": b"1"}, True, True),
        ({"flags": b"1", "sampled": b"0"}, True, True),
        ({"flags": b"0", "sampled": b"1"}, True, False),
        ({"flags": b"what"}, None, False),
    ]
    for said, sampled, debug in states:
        for parent in ({}, {"parentspanid": PARENT}):
            found = several(**ids, **said, **parent)
            assert found is not None
            assert (found.trace_id, found.span_id, found.sampled, found.debug) == (TRACE, SPAN, sampled, debug)
        alone = several(**said)
        if sampled is None:
            assert alone is None
        else:
            assert alone is not None
            assert (alone.trace_id, alone.sampled, alone.debug) == (b"", sampled, debug)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"traceid": TRACE},
        {"spanid": SPAN, "sampled": b"1"},
        {"parentspanid": PARENT, "sampled": b"1"},
        {"traceid": TRACE, "spanid": SPAN, "sampled": b""},
        {"traceid": TRACE, "spanid": SPAN, "sampled": b"d"},
        {"traceid": TRACE, "spanid": SPAN, "sampled": b"TRUE"},
        {"traceid": TRACE, "spanid": SPAN, "sampled": b"1, 1"},
        {"traceid": TRACE, "spanid": SPAN, "parentspanid": b"-"},
        {"traceid": TRACE, "spanid": SPAN, "parentspanid": b""},
        {"traceid": TRACE, "spanid": SPAN, "parentspanid": PARENT.upper()},
        {"traceid": TRACE, "spanid": SPAN + b", " + SPAN},
        {"traceid": TRACE + b"-", "spanid": SPAN},
        {"traceid": b"0" * 16, "spanid": SPAN},
        {"traceid": TRACE.upper(), "spanid": SPAN},
        {"traceid": TRACE + b"\n", "spanid": SPAN},
        {"traceid": TRACE, "spanid": b"0" * 16},
        {"sampled": b"2"},
        {"flags": b"2"},
    ],
)
def test_several_fields_that_break_a_rule_are_none(said: Said) -> None:
    assert several(**said) is None


def test_what_is_written_names_the_span_in_between() -> None:
    found = single(TRACE + b"-" + SPAN + b"-1")
    assert found is not None
    mine = continued(found, MINE)
    assert B3().inject(mine, NEXT) == b"b3: %b-1234567890123456-1-%b\r\n" % (TRACE, MINE)
    assert B3Multi().inject(mine, NEXT).split(b"\r\n") == [
        b"x-b3-traceid: " + TRACE,
        b"x-b3-spanid: 1234567890123456",
        b"x-b3-parentspanid: " + MINE,
        b"x-b3-sampled: 1",
        b"",
    ]


def test_debug_goes_on_and_says_all() -> None:
    mine = Context(TRACE, MINE, True, random=True, debug=True)
    assert B3().inject(mine, NEXT).endswith(b"-d-%b\r\n" % MINE)
    lines = B3Multi().inject(mine, NEXT)
    assert b"x-b3-flags: 1\r\n" in lines
    assert b"sampled" not in lines


def test_what_begins_here_and_is_not_recorded() -> None:
    assert B3().unsampled([TRACE, SPAN]) == [b"b3: %b-%b-0\r\n" % (TRACE, SPAN)]
    lines = B3Multi().unsampled([TRACE, SPAN])[0].split(b"\r\n")
    assert lines == [b"x-b3-traceid: " + TRACE, b"x-b3-spanid: " + SPAN, b"x-b3-sampled: 0", b""]


@examples(200)
@given(st.binary(max_size=80), st.dictionaries(st.sampled_from(sorted(B3Multi.names)), st.binary(max_size=40)))
def test_any_bytes_have_one_outcome(value: bytes, said: dict[bytes, bytes]) -> None:
    assert (single(value) is None) == (value not in (b"0", b"1", b"d"))
    found = B3Multi().extract(said.get)
    assert found is None or not found.trace_id


spans = st.text(HEX, min_size=16, max_size=16).filter(lambda text: set(text) != {"0"})
traces = st.one_of(spans, st.text(HEX, min_size=32, max_size=32).filter(lambda text: set(text) != {"0"}))


@examples(200)
@given(traces, spans, spans, spans, st.sampled_from(["1", "0", "d"]))
def test_what_is_written_is_read_as_the_same(trace: str, span: str, mine: str, following: str, state: str) -> None:
    found = single(f"{trace}-{span}-{state}".encode())
    assert found is not None
    assert found.name == trace
    assert found.trace_id == trace.rjust(32, "0").encode()
    leaving, context = Leaving(following.encode()), continued(found, mine.encode())
    one = single(B3().inject(context, leaving)[4:-2])
    lines = B3Multi().inject(context, leaving).removesuffix(b"\r\n").split(b"\r\n")
    many = B3Multi().extract({name: value for name, _, value in (line.partition(b": ") for line in lines)}.get)
    for again in (one, many):
        assert again is not None
        assert (again.name, again.short) == (trace, len(trace) == 16)
        assert again.span_id == following.encode()
        assert (again.sampled, again.debug) == (True, state == "d")
