"""Whatever anybody sends, a line is one line: JSON is an object in ASCII, text has no control character."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from meshproxy.model.access_log import Format
from meshproxy.model.log_format import OPERATORS
from meshproxy.observe.access import Facts, compile_format
from meshproxy.observe.access.formats import LONGEST_LINE
from meshproxy.observe.record import Record
from tests.examples import examples
from tests.observe.records import Asked, Authority, Certificate, Failed, Head, Known, Peer, Place, Request, Traced, Who

FACTS = Facts("web-1", "vm-7", lambda: 1_700_000_000.0)
NAMED = {"REQ", "REQUEST_HEADER", "RESP", "RESPONSE_HEADER"}
WRITTEN = [f"%{name}{'(user-agent):9' if name in NAMED else ''}%" for name in OPERATORS]
HALF = len(WRITTEN) // 2
FORMATS = [
    Format(preset="json"),
    Format(preset="envoy"),
    Format(preset="combined"),
    Format(json=tuple((f"k{place}", text) for place, text in enumerate(WRITTEN))),
    Format(json=(("k", '"' + "\\".join(WRITTEN)),)),
    Format(text=" ".join(WRITTEN)),
]
LINES = [(said, compile_format(said, FACTS)) for said in FORMATS]

sent = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"", b'"', b"\\", b'\\"', b"\n", b"\r\n{}", b'","a":"', b"%s%b%%"]),
    st.sampled_from([b"\xff" * 2000, b"\x00" * 9000]),
)
names = st.one_of(
    st.text(max_size=20), st.sampled_from(["", '"', "\n", "\ud800", "\x7f", "é" * 3000, "[::1]:80", ":²"])
)
counts = st.integers(0, 1 << 63)
moments = st.floats(0, 1e6, allow_nan=False)


@st.composite
def records(draw: st.DrawFn) -> Record:
    text, value = names.map, sent.map
    certificate = st.builds(Certificate, counts, names, names, st.tuples(names), st.tuples(names, names), names)
    peer = st.builds(Peer, names, st.none() | names, st.none() | certificate)
    fields = st.lists(st.tuples(st.sampled_from([b"user-agent", b"x-forwarded-for", b"referer"]), sent), max_size=4)
    endpoint = st.builds(Asked, names, names)
    return draw(
        st.builds(
            Known,
            protocol=names,
            request=st.builds(Request, fields, sent, sent, value(Authority)),
            response=st.none() | fields.map(Head),
            origin=st.builds(Who, st.none() | names, names, st.none() | peer, names, names),
            handling=st.builds(Place, names, names),
            endpoint=endpoint,
            failure=st.none() | text(Failed),
            trace=st.none() | st.builds(Traced, sent, sent),
            status=st.integers(0, 999),
            flags=names,
            id=sent,
            attempts=counts,
            tried=st.lists(endpoint, max_size=3).map(tuple),
            started=moments,
            asked=moments,
            answered=moments,
            seconds=moments,
            received=counts,
            sent=counts,
        )
    )


@examples(100, deadline=None)
@given(records())
def test_a_line_is_one_line(seen: Record) -> None:
    for said, line in LINES:
        written = line(seen)
        assert len(written) <= LONGEST_LINE
        assert re.fullmatch(rb"[ -~]+\n", written)
        if said.fields is not None:
            found = json.loads(written)
            assert list(found) == [key for key, _ in said.fields]
            assert all(value is None or isinstance(value, str | int) for value in found.values())


@examples(100, deadline=None)
@given(st.text(max_size=60))
def test_what_is_text_is_read_as_it_was_sent(text: str) -> None:
    raw = text.encode("utf-8", "replace")
    seen = Known(request=Request([(b"user-agent", raw)], b"GET", raw))
    found = json.loads(LINES[0][1](seen))
    assert found["path"] == found["user_agent"] == (raw.decode() or None)
