"""W3C Trace Context, Level 2, rule by rule, and its round trips."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.trace import Context, Leaving
from meshproxy.wire.trace.w3c import LONGEST_STATE, W3c, tidy
from tests.examples import examples
from tests.wire.trace.contexts import continued

TRACE, SPAN = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"
MINE, NEXT = b"00f067aa0ba902b7", Leaving(b"1234567890123456")
HEX = "0123456789abcdef"

ids = st.text(HEX, min_size=32, max_size=32).filter(lambda text: set(text) != {"0"}).map(str.encode)
spans = st.text(HEX, min_size=16, max_size=16).filter(lambda text: set(text) != {"0"}).map(str.encode)


def read(parent: bytes | None, state: bytes | None = None) -> Context | None:
    fields = {b"traceparent": parent, b"tracestate": state}
    return W3c().extract(fields.get)


def parent(version: bytes = b"00", trace: bytes = TRACE, span: bytes = SPAN, flags: bytes = b"01") -> bytes:
    return b"-".join((version, trace, span, flags))


@pytest.mark.parametrize(
    ("value", "sampled", "random"),
    [
        (parent(), True, False),
        (parent(flags=b"00"), False, False),
        (parent(flags=b"02"), False, True),
        (parent(flags=b"03"), True, True),
        (parent(flags=b"ff"), True, True),
        (parent(flags=b"fc"), False, False),
        (parent(flags=b"09"), True, False),
        (parent(b"01"), True, False),
        (parent(b"cc") + b"-what-the-future-will-be-like", True, False),
        (parent(b"fe") + b"-", True, False),
        (parent(b"01") + b"-\xff\x00 \n", True, False),
        (parent(trace=b"0" * 31 + b"1", span=b"0" * 15 + b"1"), True, False),
    ],
)
def test_a_parent_that_keeps_the_rules(value: bytes, sampled: bool, random: bool) -> None:
    found = read(value)
    assert found is not None
    assert (found.sampled, found.random) == (sampled, random)
    assert len(found.trace_id) == 32
    assert value[3:35] == found.trace_id
    assert value[36:52] == found.span_id


@examples(300)
@given(
    st.one_of(
        st.builds(lambda trace, span, flags: parent(trace=trace, span=span, flags=b"%02x" % flags), ids, spans,
                  st.integers(0, 255)),
        st.text("0", min_size=16, max_size=32).map(lambda zeros: parent(trace=zeros.encode().ljust(32, b"0"))),
        st.lists(st.sampled_from([b"-", b"0", b"1", b"f", b"g", b"F", b" "]), min_size=55, max_size=55).map(b"".join),
        st.binary(max_size=60),
    )
)  # fmt: skip
def test_what_is_seen_at_a_glance_is_what_is_read(value: bytes) -> None:
    glance, line = W3c.glance, b" %b\r\n" % value
    if not glance.fits(line):
        return
    found, seen = read(value), glance.context(line)
    assert found is not None
    for name in ("trace_id", "span_id", "sampled", "random", "state", "debug", "short", "segment"):
        assert getattr(found, name) == getattr(seen, name)
    assert (line[glance.said] in glance.denials) == (not found.sampled)


@pytest.mark.parametrize("flags", [b"00", b"01", b"02", b"0f"])
def test_the_usual_is_seen_at_a_glance(flags: bytes) -> None:
    line = b" %b\r\nA: b\r\n" % parent(flags=flags)
    assert W3c.glance.fits(line[: W3c.glance.size])
    for other in (line[1:], line.replace(b"a", b"A", 1), line.replace(b"\r", b"-", 1), line.replace(SPAN, b"0" * 16)):
        assert not W3c.glance.fits(other[: W3c.glance.size])


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        parent(b"ff"),
        parent(b"ff") + b"-more",
        parent(b"0"),
        parent(b"000"),
        parent(b"0G"),
        parent(b"0A"),
        parent(b""),
        parent() + b"-",
        parent() + b"-00",
        parent() + b"x",
        parent(b"cc") + b".what",
        parent(b"cc")[:-1],
        parent(trace=b"0" * 32),
        parent(span=b"0" * 16),
        parent(b"cc", trace=b"0" * 32),
        parent(trace=TRACE.upper()),
        parent(span=SPAN.upper()),
        parent(flags=b"0A"),
        parent(flags=b"1"),
        parent(flags=b"001"),
        parent(flags=b""),
        parent(trace=TRACE[1:]),
        parent(trace=TRACE + b"0"),
        parent(trace=TRACE[1:] + b"."),
        parent(span=SPAN[1:]),
        parent(span=SPAN + b"0"),
        parent(span=SPAN[1:] + b"\n"),
        parent() + b"\n",
        b" " + parent(),
        b"-" + parent(),
        parent().replace(b"-", b"."),
        parent() + b", " + parent(),
        parent(b"cc") + b", " + parent(b"cc"),
    ],
)
def test_a_parent_that_breaks_a_rule_is_none(value: bytes | None) -> None:
    assert read(value, b"a=1") is None


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"", b""),
        (b" ,\t, ,", b""),
        (b"foo=1", b"foo=1"),
        (b"foo=1,bar=2", b"foo=1,bar=2"),
        (b"foo=1, bar=2, baz=3", b"foo=1,bar=2,baz=3"),
        (b"foo=1 \t , \t bar=2, \t baz=3", b"foo=1,bar=2,baz=3"),
        (b"foo=1,,bar=2,", b"foo=1,bar=2"),
        (b"foo=1,foo=2", b"foo=1,foo=2"),
        (b"foo= 1", b"foo= 1"),
        (b"foo@=1,@foo=1", b""),
        (b"foo@=1,0@b@c=2", b"foo@=1,0@b@c=2"),
        (b"0foo=1,a_-*/=2", b"0foo=1,a_-*/=2"),
        (b"foo=1,FOO=2", b""),
        (b"foo =1", b""),
        (b"_foo=1", b""),
        (b"foo.bar=1", b""),
        (b"foo=bar=baz", b""),
        (b"foo=,bar=3", b""),
        (b"foo", b""),
        (b"=1", b""),
        (b"foo=a\tb", b""),
        (b"foo=\xe4", b""),
        (b"foo=a\r\nx: y", b""),
        (b"foo=a\n", b""),
        (b"z" * 256 + b"=1", b"z" * 256 + b"=1"),
        (b"foo=1," + b"z" * 257 + b"=1", b""),
        (b"foo=" + b"v" * 256, b"foo=" + b"v" * 256),
        (b"foo=" + b"v" * 257, b""),
        (b",".join(b"k%d=1" % number for number in range(32)), b",".join(b"k%d=1" % number for number in range(32))),
        (b",".join(b"k%d=1" % number for number in range(33)), b""),
        (b"," * LONGEST_STATE + b"a=1", b""),
    ],
)
def test_a_state_is_made_one_field_or_left_out(value: bytes, kept: bytes) -> None:
    assert tidy(value) == kept
    found = read(parent(), value)
    assert found is not None, "whatever its state"
    state = b"tracestate: %b\r\n" % kept if kept else b""
    lines = W3c().inject(continued(found, MINE), NEXT)
    assert lines == b"traceparent: 00-%b-1234567890123456-01\r\n%b" % (TRACE, state)


def test_members_at_their_longest_are_within_the_bound() -> None:
    member = b"k" * 256 + b"=" + b"v" * 256
    assert tidy(b", ".join([member] * 32)) == b",".join([member] * 32)


def test_flags_go_on_as_the_rules_say() -> None:
    said = {b"00": b"01", b"01": b"01", b"02": b"03", b"03": b"03", b"ff": b"03"}
    for came, goes in said.items():
        found = read(parent(flags=came))
        assert found is not None
        assert W3c().inject(continued(found, MINE), NEXT).endswith(b"-%b\r\n" % goes)


def test_a_state_without_a_parent_is_nothing() -> None:
    assert read(None, b"a=1") is None


def test_what_begins_here_and_is_not_recorded() -> None:
    [line] = W3c().unsampled([TRACE, SPAN])
    assert line == b"traceparent: 00-%b-%b-02\r\n" % (TRACE, SPAN)
    found = read(line[13:-2])
    assert found is not None
    assert (found.sampled, found.random) == (False, True)


@examples(200)
@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_have_one_outcome(value: bytes, state: bytes) -> None:
    assert read(value, state) is None
    assert b"\r" not in tidy(state)
    assert b"\n" not in tidy(state)


keys = st.text("az09_*/@-", max_size=9).map("a".__add__)
values = st.text(" !+-<>~", max_size=9).map("{}v".format)
members = st.lists(st.tuples(keys, values).map("=".join), max_size=40)


@examples(200)
@given(ids, spans, spans, spans, st.integers(0, 255), members)
def test_what_is_written_is_read_as_the_same(
    trace: bytes, span: bytes, mine: bytes, following: bytes, flags: int, state: list[str]
) -> None:
    text = ",".join(state).encode()
    found = read(parent(b"00", trace, span, b"%02x" % flags), text)
    assert found is not None
    lines = W3c().inject(continued(found, mine), Leaving(following)).split(b"\r\n")
    again = read(lines[0].removeprefix(b"traceparent: "), lines[1].removeprefix(b"tracestate: "))
    assert again is not None
    assert (again.trace_id, again.span_id, again.sampled) == (trace, following, True)
    assert again.random == found.random
    assert again.state == (text if len(state) <= 32 else b"")
