"""Lines of the access log: what they say, word for word, and what becomes of what a peer has sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshproxy.model.access_log import Format
from meshproxy.model.log_format import JSON, JSON_OF_SESSION, OPERATORS
from meshproxy.observe.access import Facts, compile_format
from meshproxy.observe.access.formats import LONGEST_LINE, LONGEST_VALUE
from meshproxy.observe.record import Record
from meshproxy.schema import decode
from tests.observe.records import (
    Asked,
    Authority,
    Failed,
    Head,
    Peer,
    Place,
    Request,
    Session,
    Traced,
    Who,
    connection,
    record,
    session,
)

FACTS = Facts(node="web-1", hostname="vm-7", offset=lambda: 1_700_000_000.0 - 1000.0)
BROWSER = (b"User-Agent", b"curl/8.5"), (b"X-Forwarded-For", b"198.51.100.9, 192.0.2.7"), (b"Referer", b"http://a/")


def line(said: Any, seen: Record) -> str:
    return compile_format(decode(Format, said if isinstance(said, dict) else {"preset": said}), FACTS)(seen).decode()


def parsed(seen: Record, said: Any = "json") -> dict[str, Any]:
    written = line(said, seen)
    assert written.endswith("}\n")
    found: dict[str, Any] = json.loads(written)
    return found


# As it is written ---------------------------------------------------------------------------------


def test_json() -> None:
    seen = record(request=Request([*BROWSER]), origin=Who(peer=Peer()), trace=Traced(), attempts=1)
    assert line("json", seen) == (
        '{"start_time":"2023-11-14T22:13:20.250Z","method":"GET","path":"/v1/books?page=2","authority":"shop.local",'
        '"request_id":"4f1c5b2e-2c3e-4c1a-9d0a-0123456789ab","protocol":"HTTP/1.1","response_code":200,'
        '"response_flags":null,"attempts":2,"listener":"web","route_name":"shop/0","upstream_cluster":"books",'
        '"upstream_host":"10.0.0.5:8080","response_code_details":"via_upstream","bytes_received":0,"bytes_sent":1234,'
        '"duration":13,"upstream_service_time":11,"x_forwarded_for":"198.51.100.9, 192.0.2.7","user_agent":"curl/8.5",'
        '"downstream_remote_address":"192.0.2.7:41234","downstream_local_address":"10.0.0.1:8080",'
        '"requested_server_name":"shop.local","downstream_peer_identity":"spiffe://mesh/books",'
        '"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}\n'
    )


def test_a_session_has_four_keys_more() -> None:
    said = Format(preset="json")
    assert said.of_session.fields == (*JSON, *JSON_OF_SESSION)
    seen = session(session=Session(client_id='a"b', user=""))
    written = compile_format(said.of_session, FACTS)(seen).decode()
    assert written.startswith(line("json", seen)[:-2])
    assert written.endswith(
        '"trace_id":null,"mqtt_client_id":"a\\"b","mqtt_user":null,"messages_received":3,"messages_sent":0}\n'
    )
    for other in (Format(preset="envoy"), Format(text="%MQTT_USER%")):
        assert other.of_session is other


def test_what_is_no_session_has_no_client() -> None:
    text = {"text": "%MQTT_CLIENT_ID% %MQTT_USER% %MESSAGES_RECEIVED% %MESSAGES_SENT%"}
    assert line(text, record()) == "- - - -\n"
    assert line(text, session()) == "press-7 ann 3 0\n"


def test_json_of_a_request_that_failed() -> None:
    said = parsed(
        record(status=503, flags="UF,URX", response=None, failure=Failed("no route to host"), answered=0.0, attempts=2)
    )
    assert said["response_code"] == 503
    assert said["response_flags"] == "UF,URX"
    assert said["response_code_details"] == "no route to host"
    assert said["upstream_service_time"] is None
    assert said["attempts"] == 3


def test_json_of_a_request_that_went_nowhere() -> None:
    said = parsed(record(status=404, flags="NR", response=None, endpoint=Asked(cluster=""), handling=Place(route="")))
    assert (said["upstream_host"], said["upstream_cluster"], said["route_name"]) == (None, None, None)
    assert (said["attempts"], said["response_code_details"]) == (0, None)


def test_json_of_a_connection() -> None:
    said = parsed(connection(flags="UF", received=5, sent=7))
    assert [said[key] for key in ("method", "path", "authority", "request_id", "user_agent")] == [None] * 5
    assert (said["protocol"], said["response_code"], said["bytes_received"], said["bytes_sent"]) == ("TCP", 0, 5, 7)


def test_envoy() -> None:
    assert line("envoy", record(request=Request([*BROWSER]))) == (
        '[2023-11-14T22:13:20.250Z] "GET /v1/books?page=2 HTTP/1.1" 200 - 0 1234 13 11 "198.51.100.9, 192.0.2.7" '
        '"curl/8.5" "4f1c5b2e-2c3e-4c1a-9d0a-0123456789ab" "shop.local" "10.0.0.5:8080"\n'
    )
    assert line("envoy", connection(flags="UF", endpoint=Asked())) == (
        '[2023-11-14T22:13:20.250Z] "- - TCP" 0 UF 0 1234 13 - "-" "-" "-" "-" "-"\n'
    )


def test_common_and_combined() -> None:
    seen = record(request=Request([*BROWSER]))
    common = '192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "GET /v1/books?page=2 HTTP/1.1" 200 1234'
    assert line("common", seen) == f"{common}\n"
    assert line("combined", seen) == f'{common} "http://a/" "curl/8.5"\n'
    known = record(origin=Who(peer=Peer(identity="alice smith"), remote="[2001:db8::7]:41234"))
    assert line("common", known).startswith("2001:db8::7 - alice%20smith [14/Nov/2023:")


def test_an_object_of_ones_own() -> None:
    said = {"took": "%DURATION%", "line": "%REQ(:METHOD)% took %DURATION% ms", "cluster": "eu-1", "no": "%TRACE_ID%"}
    assert line({"json": said}, record()) == '{"cluster":"eu-1","line":"GET took 13 ms","no":null,"took":13}\n'


def test_objects_within_an_object() -> None:
    said = {"req": {"path": "%PATH(NQ)%", "from": {"port": "%DOWNSTREAM_REMOTE_PORT%"}}, "a": "b"}
    assert line({"json": said}, record()) == '{"a":"b","req":{"from":{"port":41234},"path":"/v1/books"}}\n'


def test_what_is_not_there_in_the_middle_of_a_string_is_a_dash() -> None:
    assert parsed(record(), {"json": {"a": "%REQ(x)%/%REQ(x)%", "b": '"%TRACE_ID%"'}}) == {"a": "-/-", "b": '"-"'}


def test_a_text_of_ones_own() -> None:
    assert line({"text": '100%% "%PROTOCOL%" %REQ(:METHOD)%%RESPONSE_CODE%'}, record()) == '100% "HTTP/1.1" GET200\n'
    assert line({"text": "no operator"}, record()) == "no operator\n"


# Operators ----------------------------------------------------------------------------------------

TLS = Who(peer=Peer())
GOING = (b"A", b"1"), (b"b", b"twenty-two"), (b"a", b"3")


@pytest.mark.parametrize(
    ("text", "said", "expected"),
    [
        ("%REQ(a)%", {"request": Request([*GOING])}, "1, 3"),
        ("%REQUEST_HEADER(A)%", {"request": Request([*GOING])}, "1, 3"),
        ("%REQ(c?b)%", {"request": Request([*GOING])}, "twenty-two"),
        ("%REQ(b?a)%", {"request": Request([*GOING])}, "twenty-two"),
        ("%REQ(c?:AUTHORITY)%", {}, "shop.local"),
        ("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH):3%", {}, "/v1"),
        ("%REQ(b):6%", {"request": Request([*GOING])}, "twenty"),
        ("%REQ(b):6%", {}, "-"),
        ("%REQ(:METHOD):1%", {}, "G"),
        ("%REQ(x-request-id)%", {"id": b""}, "-"),
        ("%RESP(b)%", {"response": Head([*GOING])}, "twenty-two"),
        ("%RESPONSE_HEADER(c?b):2%", {"response": Head([*GOING])}, "tw"),
        ("%RESP(b)%", {"response": None}, "-"),
        ("%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%", {"response": Head([(b"x-envoy-upstream-service-time", b"1")])}, "11"),
        ("%PATH%", {}, "/v1/books?page=2"),
        ("%PATH(WQ)%", {}, "/v1/books?page=2"),
        ("%PATH(NQ)%", {}, "/v1/books"),
        ("%PATH(NQ):3%", {}, "/v1"),
        ("%START_TIME(%s.%3f)%", {}, "1700000000.250"),
        ("%START_TIME(%f)%", {}, "250000000"),
        ("%START_TIME(%Y %% %1f)%", {}, "2023 % 2"),
        ("%START_TIME(%% %H:%M)%", {}, "% 22:13"),
        ("%LISTENER% %ROUTE_NAME%", {}, "web shop/0"),
        ("%NODE% %HOSTNAME%", {}, "web-1 vm-7"),
        ("%DURATION%%DURATION%", {}, "1313"),
        ("%RESPONSE_DURATION% %RESPONSE_TX_DURATION%", {"answered": 1000.2578125, "seconds": 0.0234375}, "7 15"),
        ("%RESPONSE_DURATION% %RESPONSE_TX_DURATION%", {"answered": 0.0}, "- -"),
        ("%BYTES_RECEIVED%/%BYTES_SENT%", {"received": 1 << 40}, "1099511627776/1234"),
        ("%BYTES_SENT%", {}, "1234"),
        ("%UPSTREAM_CLUSTER% %UPSTREAM_HOST%", {}, "books 10.0.0.5:8080"),
        ("%UPSTREAM_REMOTE_ADDRESS%", {}, "10.0.0.5:8080"),
        ("%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_PORT%", {}, "10.0.0.5 8080"),
        ("%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", {"endpoint": Asked("[::1]:80")}, "::1"),
        ("%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", {"endpoint": Asked("unix:/run/a")}, "unix:/run/a"),
        ("%UPSTREAM_REMOTE_PORT%", {"endpoint": Asked("unix:/run/a")}, "-"),
        ("%UPSTREAM_HOSTS_ATTEMPTED%", {"tried": (Asked("a:1"), Asked("b:1"))}, "a:1,b:1,10.0.0.5:8080"),
        ("%UPSTREAM_HOSTS_ATTEMPTED%", {"tried": (Asked("a:1"),), "endpoint": Asked("a:1")}, "a:1"),
        ("%UPSTREAM_HOSTS_ATTEMPTED%", {"endpoint": Asked()}, "-"),
        ("%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_PORT%", {}, "192.0.2.7:41234 41234"),
        ("%DOWNSTREAM_LOCAL_ADDRESS%", {}, "10.0.0.1:8080"),
        ("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%", {}, "10.0.0.1 8080"),
        ("%REQUESTED_SERVER_NAME%", {"origin": TLS}, "shop.local"),
        ("%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER%", {"origin": TLS}, "TLSv1.3 TLS_AES_256_GCM_SHA384"),
        ("%DOWNSTREAM_PEER_IDENTITY%", {"origin": TLS}, "spiffe://mesh/books"),
        ("%DOWNSTREAM_PEER_URI_SAN%", {"origin": TLS}, "spiffe://mesh/books"),
        ("%DOWNSTREAM_PEER_DNS_SAN%", {"origin": TLS}, "books.shop,books"),
        ("%DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_ISSUER%", {"origin": TLS}, "CN=books,O=Shop CN=mesh"),
        ("%DOWNSTREAM_PEER_SERIAL% %DOWNSTREAM_PEER_FINGERPRINT_256%", {"origin": TLS}, f"1f2e {'ab' * 32}"),
        ("%DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_IDENTITY%", {}, "- -"),
        ("%DOWNSTREAM_PEER_SUBJECT%", {"origin": Who(peer=Peer(certificate=None))}, "-"),
        ("%TRACE_ID% %SPAN_ID%", {"trace": Traced()}, "4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7"),
    ],
)
def test_an_operator(text: str, said: dict[str, Any], expected: str) -> None:
    assert line({"text": text}, record(**said)) == f"{expected}\n"


def test_every_operator_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "access-log.md").read_text()
    assert [name for name in OPERATORS if not re.search(rf"%{name}[%(]", page)] == []
    assert [key for key, _ in JSON if f'"{key}":' not in page] == []


def test_every_operator_can_be_written() -> None:
    named = {"REQ", "REQUEST_HEADER", "RESP", "RESPONSE_HEADER"}
    for name in OPERATORS:
        text = f"%{name}{'(a)' if name in named else ''}%"
        assert line({"text": text}, record(origin=TLS, trace=Traced())).endswith("\n")
        assert line({"text": text}, connection()).endswith("\n")


# Time ---------------------------------------------------------------------------------------------


def test_a_line_says_when_its_request_began_in_whatever_order_they_end() -> None:
    written = compile_format(Format(text="%START_TIME%"), FACTS)
    times = [written(record(started=started)).decode()[17:-2] for started in (1000.999, 1001.0, 1000.5, 1059.0625)]
    assert times == ["20.999", "21.000", "20.500", "19.062"]


def test_a_clock_that_is_set_is_heeded_within_a_second() -> None:
    ahead = [1_699_999_000.0]
    written = compile_format(Format(text="%START_TIME(%s)%"), Facts("", "", lambda: ahead[0]))
    assert written(record(started=1000.0)) == b"1700000000\n"
    ahead[0] += 3600
    assert written(record(started=1001.5)) == b"1700003601\n"


# What a peer has sent -----------------------------------------------------------------------------

HOSTILE = b'/a"b\\c\n\r\t\x00\x7f\xe2\x82\xac\xff'


def test_json_escapes_what_a_peer_has_sent_and_shows_what_is_no_text() -> None:
    said = parsed(record(request=Request([(b"user-agent", HOSTILE)], target=HOSTILE, method=b"G\xc3\xa9T")))
    assert said["path"] == said["user_agent"] == '/a"b\\c\n\r\t\x00\x7f€\\xff'
    assert said["method"] == "GéT"
    within = parsed(record(request=Request(target=HOSTILE)), {"json": {"a": "x %REQ(:PATH)%"}})
    assert within["a"] == f"x {said['path']}"


@pytest.mark.parametrize("preset", ["envoy", "common", "combined"])
def test_text_escapes_as_apache_does(preset: str) -> None:
    written = line(preset, record(request=Request(target=HOSTILE)))
    assert r'"GET /a\"b\\c\n\r\t\x00\x7f\xe2\x82\xac\xff HTTP/1.1"' in written
    assert written.count("\n") == 1


def test_a_name_from_a_certificate_is_escaped_too() -> None:
    peer = Peer(identity='alice"\n\ud800é', name="a\x00b")
    said = parsed(record(origin=Who(peer=peer)))
    assert said["downstream_peer_identity"] == 'alice"\n\\ud800é'
    assert said["requested_server_name"] == "a\x00b"
    assert line("common", record(origin=Who(peer=peer))).startswith(r'192.0.2.7 - alice\"\n\\ud800\xc3\xa9 [')


def test_a_long_value_is_cut_and_says_so() -> None:
    long = b"/" + b"a" * 5000
    cut = "/" + "a" * (LONGEST_VALUE - 1) + f"...({5001 - LONGEST_VALUE} more)"
    seen = record(request=Request([(b"user-agent", long)], target=long))
    assert parsed(seen)["path"] == parsed(seen)["user_agent"] == cut
    assert f'"GET {cut} HTTP/1.1"' in line("envoy", seen)
    whole = record(request=Request(target=long[:LONGEST_VALUE]))
    assert parsed(whole)["path"] == long[:LONGEST_VALUE].decode()


def all_of(value: bytes) -> Record:
    """Where whoever is at the other end could put it."""
    text = value.decode("latin-1")
    certificate = Peer().certificate
    assert certificate is not None
    certificate.subject = certificate.issuer = text
    fields = [(b"a", value), (b"user-agent", value), (b"x-forwarded-for", value)]
    return record(
        request=Request(fields, value, value, Authority(value)),
        response=Head([(b"a", value)]),
        origin=Who(peer=Peer(text, text, certificate)),
        failure=Failed(text),
        id=value,
    )


OWN: list[Callable[[str], dict[str, Any]]] = [lambda text: {"text": text}, lambda text: {"json": {"a": text}}]


@pytest.mark.parametrize("said", [*OWN, lambda _: {"preset": "json"}], ids=["text", "string", "json"])
@pytest.mark.parametrize(
    "operator",
    [f"%{name}%" for name in ("REQ(a)", "PATH", "DOWNSTREAM_PEER_SUBJECT", f"START_TIME({'%F' * 16})", "PATH(NQ)")],
)
def test_a_line_is_bounded_whatever_is_in_it(operator: str, said: Callable[[str], dict[str, Any]]) -> None:
    text = operator * 64
    for value in (b"\x00", b"\xff", b'"', b"a"):
        written = line(said(text + '"' * (4095 - len(text))), all_of(value * 70_000))
        assert len(written) <= LONGEST_LINE
        assert "more)" in written or "START" in operator
