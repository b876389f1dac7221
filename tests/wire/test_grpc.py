"""gRPC as text and lengths: what is read strictly, what is written, and what others make of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire import grpc_health
from meshproxy.wire.grpc import (
    Messages,
    Status,
    TooLong,
    frame,
    meant,
    message,
    method,
    of_http,
    speaks,
    spell_timeout,
    status,
    timeout,
    web,
    web_trailers,
)
from meshproxy.wire.grpc_health import Serving


@pytest.mark.parametrize(
    ("said", "is_it"),
    [
        (b"application/grpc", True),
        (b"Application/GRPC", True),
        (b"application/grpc+proto", True),
        (b"application/grpc+json; charset=utf-8", True),
        (b"application/grpc;x", True),
        (b"application/grpc-web", False),
        (b"application/grpc-web+proto", False),
        (b"application/grpcx", False),
        (b"application/grpc+", False),
        (b"text/plain", False),
        (b"xapplication/grpc", False),
        (b"", False),
        (None, False),
    ],
)
def test_a_content_type_tells(said: bytes | None, is_it: bool) -> None:
    assert speaks(said) is is_it


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"application/grpc-web", (b"", False)),
        (b"application/grpc-web+proto", (b"+proto", False)),
        (b"application/grpc-web-text", (b"", True)),
        (b"APPLICATION/grpc-web-Text+proto;x=y", (b"+proto", True)),
        (b"application/grpc", None),
        (b"application/grpc-webtext", None),
        (b"application/grpc-web-texts", None),
        (None, None),
    ],
)
def test_a_content_type_of_pages_tells(said: bytes | None, found: object) -> None:
    assert web(said) == found


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"99999999S", 99999999.0),
        (b"250m", 0.25),
        (b"7u", 7e-6),
        (b"0n", 0.0),
        (b"00000001S", 1.0),
    ],
)
def test_a_timeout_is_read(said: bytes, seconds: float) -> None:
    assert timeout(said) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "said",
    [b"", b"S", b"1", b"1s", b"1h", b"1 S", b" 1S", b"1S ", b"+1S", b"-1S", b"1.5S", b"100000000S", b"1SS", b"1S\n",
     b"0x1S", "\u0661S".encode(), b"1S, 2S"],
)  # fmt: skip
def test_what_is_no_timeout_is_none(said: bytes) -> None:
    assert timeout(said) is None


@given(st.floats(0, 1e12))
def test_a_timeout_is_written_as_others_read_it(seconds: float) -> None:
    said = spell_timeout(seconds)
    back = timeout(said)
    assert back is not None
    most = 99_999_999 * 3600
    assert back == pytest.approx(min(max(seconds, 1e-6), most), rel=1e-5, abs=1e-6)
    assert back <= max(min(seconds, most), 1e-6) * (1 + 1e-9)


def test_statuses_are_those_of_grpc() -> None:
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed: its statuses are not compared")
    theirs = {each.value[0]: each.value[1].replace(" ", "-") for each in grpc.StatusCode}
    assert {each.value: each.word for each in Status} == theirs


@pytest.mark.parametrize(
    ("said", "found"),
    [(b"0", 0), (b"14", 14), (b"16", 16), (b"17", 2), (b"99", 2), (b"100", 2), (b"-1", 2), (b"", 2), (None, 2),
     (b" 1", 2), (b"1, 0", 2)],
)  # fmt: skip
def test_a_status_is_read(said: bytes | None, found: int) -> None:
    assert status(said) == found


@pytest.mark.parametrize(
    ("http", "found"),
    [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (502, 14), (503, 14), (504, 14), (500, 2), (200, 2),
     (302, 2)],
)  # fmt: skip
def test_a_status_of_http_stands_for_one(http: int, found: int) -> None:
    assert of_http(http) == found


def test_a_message_is_escaped() -> None:
    assert message("Käse\r\n 100%".encode()) == b"K%C3%A4se%0D%0A 100%25"
    assert meant(b"a%2") == b"a%2"
    assert meant(b"%zz%41") == b"%zzA"


@given(st.binary())
def test_a_message_goes_there_and_back(text: bytes) -> None:
    said = message(text)
    assert all(0x20 <= byte <= 0x7E for byte in said)
    assert meant(said) == text


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/books.v1.Books/Get", ("books.v1.Books", "Get")),
        (b"/Books/Get", ("Books", "Get")),
        (b"/books.Books/", None),
        (b"/books.Books/Get/x", None),
        (b"books.Books/Get", None),
        (b"/books Books/Get", None),
        (b"/" + b"x" * 129 + b"/Get", None),
        ("/b\u00fccher/Get".encode(), None),
    ],
)
def test_a_path_names_a_method(path: bytes, found: object) -> None:
    assert method(path) == found


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=50))), st.data())
def test_messages_are_found_however_they_are_cut(sent: list[tuple[int, bytes]], data: st.DataObject) -> None:
    whole = b"".join(frame(body, flags) for flags, body in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    reader = Messages(50)
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += reader.feed(whole[begin:end])
    assert found == sent


def test_a_message_that_is_too_long_is_refused_before_it_comes() -> None:
    reader = Messages(3)
    assert reader.feed(frame(b"abc")) == [(0, b"abc")]
    with pytest.raises(TooLong):
        reader.feed(frame(b"abcd")[:5])


def test_trailers_end_a_body_for_pages() -> None:
    assert web_trailers([b"Grpc-Status:  0", b"grpc-message: "]) == (
        b"\x80\x00\x00\x00\x20grpc-status: 0\r\ngrpc-message: \r\n"
    )
    assert Messages(100).feed(web_trailers([])) == [(0x80, b"")]


def test_a_check_is_asked_for() -> None:
    assert grpc_health.check("") == b""
    assert grpc_health.check("books.Books") == b"\x0a\x0bbooks.Books"
    assert grpc_health.check("x" * 300)[:3] == b"\x0a\xac\x02"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"", Serving.UNKNOWN),
        (b"\x08\x01", Serving.SERVING),
        (b"\x08\x02", Serving.NOT_SERVING),
        (b"\x08\x81\x00", Serving.SERVING),
        (b"\x08\x63", Serving.UNKNOWN),
        (b"\x08\x02\x08\x01", Serving.SERVING),
        (b"\x12\x02hi\x1912345678\x251234\x08\x01", Serving.SERVING),
    ],
)
def test_what_a_check_finds(said: bytes, found: Serving) -> None:
    assert grpc_health.found(said) is found


@pytest.mark.parametrize(
    "said", [b"\x08", b"\x08\x81", b"\x12\x05hi", b"\x19123", b"\x0b", b"\x0f\x01", b"\x08" + b"\x80" * 10 + b"\x01"]
)
def test_what_is_no_answer_to_a_check(said: bytes) -> None:
    with pytest.raises(ValueError, match=r"a (field|number)"):
        grpc_health.found(said)


def test_grpc_s_own_messages_are_read_and_written_alike() -> None:
    pb = pytest.importorskip("grpc_health.v1.health_pb2", reason="grpcio-health-checking is not installed")
    for name in ("", "books.Books", "x" * 300):
        assert pb.HealthCheckRequest(service=name).SerializeToString() == grpc_health.check(name)
    for serving in Serving:
        assert grpc_health.found(pb.HealthCheckResponse(status=int(serving)).SerializeToString()) is serving
