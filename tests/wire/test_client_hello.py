"""A ClientHello: read alike however it arrives, refused for the reason that is written down, never misunderstood."""

from __future__ import annotations

import shutil
import socket
import ssl
import struct
import subprocess
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire import client_hello
from meshproxy.wire.client_hello import (
    LARGEST_RECORD,
    MOST,
    MOST_PROTOCOLS,
    MOST_RECORDS,
    REASONS,
    ClientHello,
    Malformed,
    NotTls,
    parse,
)
from tests.examples import examples

fuzz = examples(400, deadline=None)


def short(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack("!H", kind) + short(data)


def server_names(*names: bytes, kind: int = 0) -> bytes:
    return extension(0, short(b"".join(bytes([kind]) + short(name) for name in names)))


def protocols(*names: bytes) -> bytes:
    return extension(16, short(b"".join(bytes([len(name)]) + name for name in names)))


NAME, H2 = server_names(b"books.shop"), protocols(b"h2", b"http/1.1")
GREASE = extension(0x0A0A, b"") + extension(0xFAFA, b"\0")
SHARE = extension(51, bytes(1300))


def message(
    *extensions: bytes,
    version: bytes = b"\3\3",
    session: bytes = b"\x20" + bytes(32),
    ciphers: bytes = b"\0\4\x13\1\x13\2",
    compressions: bytes = b"\1\0",
    rest: bytes | None = None,
) -> bytes:
    """`session` and the like come with their lengths, so that these can be wrong; `rest` stands for all extensions."""
    body = version + bytes(range(32)) + session + ciphers + compressions
    body += short(b"".join(extensions)) if rest is None else rest
    return b"\1" + len(body).to_bytes(3, "big") + body


def record(data: bytes, kind: int = 22, version: bytes = b"\3\1") -> bytes:
    return bytes([kind]) + version + short(data)


def hello(*extensions: bytes, **rest: Any) -> bytes:
    return record(message(*extensions, **rest))


def cut(data: bytes, *sizes: int) -> bytes:
    """The same in several records; the last takes what the others leave."""
    found, at = b"", 0
    for size in sizes:
        found += record(data[at : at + size])
        at += size
    return found + record(data[at:])


def outcome(data: bytes) -> ClientHello | str | None:
    try:
        return parse(data)
    except Malformed as why:
        return why.reason
    except NotTls:
        return "not TLS"


BOTH = ClientHello("books.shop", (b"h2", b"http/1.1"))
NEITHER = ClientHello(None, ())
ROOM = MOST - len(hello(NAME, H2, extension(21, b"")))
SHARED = message(GREASE, NAME, SHARE, H2)

GOOD = {
    "both": (hello(NAME, H2), BOTH),
    "in any order": (hello(H2, NAME), BOTH),
    "among others": (record(SHARED), BOTH),
    "a name alone": (hello(NAME), ClientHello("books.shop", ())),
    "protocols alone": (hello(H2), ClientHello(None, (b"h2", b"http/1.1"))),
    "neither": (hello(extension(43, b"\2\3\4")), NEITHER),
    "an empty list of extensions": (hello(), NEITHER),
    "no list of extensions": (hello(rest=b""), NEITHER),
    "no session": (hello(NAME, H2, session=b"\0"), BOTH),
    "TLS 1.0": (hello(NAME, H2, version=b"\3\1"), BOTH),
    "TLS 1.3 where it should not say so": (hello(NAME, H2, version=b"\3\4"), BOTH),
    "a record of TLS 1.2": (record(message(NAME, H2), version=b"\3\3"), BOTH),
    "a record of TLS 1.3": (record(message(NAME, H2), version=b"\3\4"), BOTH),
    "capitals and a final dot": (hello(server_names(b"Books.SHOP.")), ClientHello("books.shop", ())),
    "an underscore": (hello(server_names(b"_a-1.xn--bcher-kva")), ClientHello("_a-1.xn--bcher-kva", ())),
    "the longest name": (hello(server_names(b"a." * 126 + b"b")), ClientHello("a." * 126 + "b", ())),
    "a protocol of one byte": (hello(protocols(b"x")), ClientHello(None, (b"x",))),
    "protocols of any bytes": (hello(protocols(b"\x0a\x0a", bytes(255))), ClientHello(None, (b"\x0a\x0a", bytes(255)))),
    "as many protocols as may be": (hello(protocols(*[b"x"] * MOST_PROTOCOLS)), ClientHello(None, (b"x",) * 32)),
    "cut within the header": (cut(message(NAME, H2), 1, 1, 1), BOTH),
    "cut after the header": (cut(message(NAME, H2), 4), BOTH),
    "cut within the name": (cut(SHARED, 100), BOTH),
    "cut by 512 bytes": (cut(SHARED, 512, 512), BOTH),
    "as many records as may be": (cut(SHARED, *[2] * (MOST_RECORDS - 1)), BOTH),
    "the largest": (hello(NAME, H2, extension(21, bytes(ROOM))), BOTH),
}

BAD = {
    "SSLv3": (record(message(NAME), version=b"\3\0"), "version"),
    "SSLv3 within a newer record": (hello(NAME, version=b"\3\0"), "version"),
    "a version to come": (record(message(NAME), version=b"\3\5"), "version"),
    "a version to come within": (hello(NAME, version=b"\3\5"), "version"),
    "another major version within": (hello(NAME, version=b"\2\3"), "version"),
    "a second record of SSLv3": (cut(message(NAME), 9)[:14] + record(b"x", version=b"\3\0"), "version"),
    "SSLv2": (b"\x80\x2e\1\0\2\0\x15\0\0\0\x10", "version"),
    "SSLv2 that can do TLS 1.0": (b"\x80\x2e\1\3\1\0\x15\0\0\0\x10", "version"),
    "an empty record": (record(b"") + hello(NAME), "record"),
    "an empty record in between": (cut(message(NAME), 9, 0), "record"),
    "a record too large": (b"\x16\3\1" + struct.pack("!H", LARGEST_RECORD + 1), "record"),
    "an alert in between": (cut(message(NAME), 9)[:14] + record(b"\1\0", kind=21), "record"),
    "data in between": (cut(message(NAME), 9)[:14] + record(b"GET /", kind=23), "record"),
    "a ServerHello": (record(b"\2" + message(NAME)[1:]), "message"),
    "a HelloRequest": (record(bytes(4)), "message"),
    "more in its record": (record(message(NAME) + b"\0"), "length"),
    "more in its last record": (cut(message(NAME) + b"\0", 20), "length"),
    "another message in its record": (record(message(NAME) * 2), "length"),
    "extensions behind a hello without any": (record(message(rest=b"") + short(NAME)), "length"),
    "an empty message": (record(b"\1\0\0\0"), "length"),
    "cut in the version": (record(b"\1\0\0\1\3"), "length"),
    "cut in the random": (record(b"\1\0\0\3\3\3\1"), "length"),
    "a session too long": (hello(NAME, session=b"\x21" + bytes(33)), "length"),
    "a session that leads out": (hello(session=b"\xff", rest=b""), "length"),
    "no ciphers": (hello(NAME, ciphers=b"\0\0"), "length"),
    "half a cipher": (hello(NAME, ciphers=b"\0\3\x13\1\x13"), "length"),
    "ciphers that lead out": (hello(NAME, ciphers=b"\xff\xfe"), "length"),
    "no compression": (hello(NAME, compressions=b"\0"), "length"),
    "compressions that lead out": (hello(compressions=b"\xff\0", rest=b""), "length"),
    "half a length of extensions": (hello(rest=b"\0"), "length"),
    "extensions that lead out": (hello(rest=b"\0\5" + extension(43, b"")), "length"),
    "extensions that end early": (hello(rest=short(NAME) + b"\0"), "length"),
    "half an extension": (hello(rest=short(b"\0\x2b\0")), "length"),
    "an extension that leads out": (hello(rest=short(b"\0\x2b\0\1")), "length"),
    "a name that leads out": (hello(rest=short(NAME[:-1])), "length"),
    "two lists of names": (hello(NAME, NAME), "name"),
    "an empty list of names": (hello(extension(0, b"\0\0")), "name"),
    "no list of names": (hello(extension(0, b"")), "name"),
    "two names": (hello(server_names(b"books.shop", b"x.shop")), "name"),
    "a name of another kind": (hello(server_names(b"books.shop", kind=1)), "name"),
    "a list of names that is too short": (hello(extension(0, b"\0\4\0\0\2ab")), "name"),
    "a name shorter than its list": (hello(extension(0, b"\0\5\0\0\1ab")), "name"),
    "an empty name": (hello(server_names(b"")), "name"),
    "a dot": (hello(server_names(b".")), "name"),
    "two final dots": (hello(server_names(b"shop..")), "name"),
    "a NUL": (hello(server_names(b"books.shop\0.evil")), "name"),
    "a space": (hello(server_names(b"books shop")), "name"),
    "a line feed": (hello(server_names(b"books.shop\n")), "name"),
    "a star": (hello(server_names(b"*.shop")), "name"),
    "a port": (hello(server_names(b"books.shop:443")), "name"),
    "letters outside ASCII": (hello(server_names("bücher.shop".encode())), "name"),
    "a name too long": (hello(server_names(b"a." * 127 + b"b")), "name"),
    "a label too long": (hello(server_names(b"a" * 64)), "name"),
    "an IPv4 address": (hello(server_names(b"10.0.0.1")), "name"),
    "an IPv6 address": (hello(server_names(b"::1")), "name"),
    "two lists of protocols": (hello(H2, H2), "alpn"),
    "an empty list of protocols": (hello(protocols()), "alpn"),
    "no list of protocols": (hello(extension(16, b"")), "alpn"),
    "half a list of protocols": (hello(extension(16, b"\0\1\1")), "alpn"),
    "an empty protocol": (hello(protocols(b"h2", b"")), "alpn"),
    "a protocol that leads out": (hello(extension(16, b"\0\3\3h2")), "alpn"),
    "a list of protocols that is too short": (hello(extension(16, b"\0\3\2h2\1x")), "alpn"),
    "too many protocols": (hello(protocols(*[b"x"] * (MOST_PROTOCOLS + 1))), "alpn"),
    "one byte too large": (hello(NAME, H2, extension(21, bytes(ROOM + 1))), "too_long"),
    "the largest record": (b"\x16\3\1" + struct.pack("!H", LARGEST_RECORD), "too_long"),
    "large in two records": (cut(message(extension(21, bytes(MOST))), 9000), "too_long"),
    "a length that promises too much": (record(b"\1\1\0\0"), "too_long"),
    "too many records": (cut(message(NAME), *[2] * MOST_RECORDS), "too_long"),
}

PLAIN = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n",
    b"SSH-2.0-x\r\n",
    b"PROXY TCP4 ",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x10\x0e\0\4MQTT",
    b"\0\0\0\x08\4\xd2\x16\x2f",
    b"*1\r\n$4\r\n",
    b"\0",
    b"\xc3\xbc\xc3\xbc",
    b"\x80\x2e\2",
    b"\x80\x2e\1\2",
    b"\x80\x2e\1\3\4",
    b"\x15\3\1\0\2\2\x28",
    b"\x17\3\3\0\1x",
    b"\x16\2",
    b"\x16GET",
]


@pytest.mark.parametrize(("data", "expected"), GOOD.values(), ids=GOOD)
def test_good_hellos_whole_byte_by_byte_and_with_more_behind(data: bytes, expected: ClientHello) -> None:
    assert parse(data) == expected
    assert parse(data + record(b"early", kind=23)) == expected
    steps = range(len(data)) if len(data) < 2000 else range(0, len(data), 97)
    assert {parse(data[:end]) for end in steps} == {None}


@pytest.mark.parametrize(("data", "reason"), BAD.values(), ids=BAD)
def test_bad_hellos_have_their_reason(data: bytes, reason: str) -> None:
    assert outcome(data) == reason
    assert outcome(data + bytes(50)) == reason


def test_every_reason_is_met_and_written_down() -> None:
    assert {reason for _, reason in BAD.values()} == set(REASONS)
    table = [line.split()[0] for line in (client_hello.__doc__ or "").splitlines() if line.startswith("    ")]
    assert tuple(table[1:]) == REASONS


@pytest.mark.parametrize("data", PLAIN)
def test_what_was_never_meant_to_be_tls_shows_within_five_bytes(data: bytes) -> None:
    outcomes = [outcome(data[:end]) for end in range(len(data) + 1)]
    assert set(outcomes[5:]) <= {"not TLS"}
    assert outcomes[-1] == "not TLS"
    if data[0] < 0x80 and data[0] != 0x16:
        assert outcomes[1] == "not TLS"


def test_until_a_hello_is_whole_next_to_nothing_is_copied() -> None:
    class Counted(bytes):
        copied = 0

        def __getitem__(self, at: Any) -> Any:
            found = super().__getitem__(at)
            Counted.copied += len(found) if isinstance(at, slice) else 1
            return found

    for data in (hello(SHARE * 10), cut(message(SHARE * 10), *[512] * 25)):
        Counted.copied = 0
        assert {parse(Counted(data[:end])) for end in range(len(data))} == {None}
        assert Counted.copied < 10 * len(data)


# What others send


def client(alpn: list[str], newest: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = newest
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def first_flight(context: ssl.SSLContext, name: str) -> bytes:
    outgoing = ssl.MemoryBIO()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name or None).do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("alpn", [[], ["h2", "http/1.1"], ["x" * 255] * 3])
@pytest.mark.parametrize("name", ["", "localhost", "Books.shop", "a-b_c." * 20 + "shop"])
def test_pythons_own_hello_split_at_every_byte(name: str, alpn: list[str], newest: ssl.TLSVersion) -> None:
    data = first_flight(client(alpn, newest), name)
    expected = ClientHello(name.lower() or None, tuple(protocol.encode() for protocol in alpn))
    assert parse(data) == expected
    assert {parse(data[:end]) for end in range(len(data))} == {None}
    content = data[5:]
    assert {outcome(cut(content, size)) for size in range(1, len(content))} == {expected}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_s_client_in_fragments(version: str) -> None:
    """The smallest fragments that it can send are of 512 bytes, and many protocols make several of them."""
    names = [f"protocol-{number:02}" for number in range(MOST_PROTOCOLS)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        port = server.getsockname()[1]
        words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "Books.shop", version]
        words += ["-alpn", ",".join(names), "-max_send_frag", "512"]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                conn, _ = server.accept()
                with conn:
                    conn.settimeout(20)
                    data = conn.recv(4096)
                    while (found := parse(data)) is None:
                        more = conn.recv(4096)
                        assert more
                        data += more
            finally:
                process.kill()
    assert found == ClientHello("books.shop", tuple(name.encode() for name in names))
    assert struct.unpack_from("!H", data, 3)[0] == 512


def test_openssl_would_see_the_name_that_we_see() -> None:
    """Whatever we accept of damaged hellos: who routes by one name and serves by another can be led astray."""
    seen: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _connection, name, _context: seen.append(name)
    whole = first_flight(client(["h2"], ssl.TLSVersion.TLSv1_3), "books.shop")
    reached: list[str | None] = []

    @fuzz
    @given(
        st.lists(st.tuples(st.integers(5, len(whole) - 1), st.integers(0, 255)), min_size=1, max_size=3),
        st.lists(st.integers(1, 200), max_size=4),
    )
    def check(damage: list[tuple[int, int]], sizes: list[int]) -> None:
        data = bytearray(whole)
        for at, byte in damage:
            data[at] = byte
        content = bytes(data[5:])
        try:
            ours = parse(cut(content, *[size for size in sizes if sum(sizes) < len(content)]))
        except Malformed:
            return
        if ours is None:
            return
        incoming = ssl.MemoryBIO()
        incoming.write(record(content))
        seen.clear()
        with suppress(ssl.SSLError):
            context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
        reached.extend(seen)
        assert not seen or (seen[0] or "").lower().removesuffix(".") == (ours.name or "")

    check()
    assert "books.shop" in reached


# What nobody should send


def steadily(data: bytes) -> None:
    """Byte by byte: nothing for a while, and then one outcome that stays, within bounds."""
    outcomes = [outcome(data[:end]) for end in range(len(data) + 1)]
    last = outcomes[-1]
    decided = [found for found in outcomes if found is not None]
    assert decided == [last] * len(decided)
    if last is None:
        assert len(data) < MOST


BEGINNINGS = [b"", b"\x16", b"\x16\3\0", b"\x16\3\1\0", b"\x16\3\1\0\x40\1\0\0\x3c\3\3", b"\x80", b"\x80\x2e\1"]


@fuzz
@given(st.builds(bytes.__add__, st.sampled_from(BEGINNINGS), st.binary(max_size=300)))
def test_any_bytes_have_one_outcome(data: bytes) -> None:
    steadily(data)


EXTENSIONS = st.lists(
    st.one_of(
        st.sampled_from([NAME, H2, GREASE, server_names(b"a", b"b"), protocols(b"")]),
        st.builds(extension, st.sampled_from([0, 16, 43, 51]), st.binary(max_size=12)),
    ),
    max_size=5,
)


@fuzz
@given(
    EXTENSIONS,
    st.lists(st.integers(0, 60), max_size=6),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=2),
)
def test_damaged_hellos_have_one_outcome(
    extensions: list[bytes], sizes: list[int], damage: list[tuple[int, int]]
) -> None:
    data = bytearray(cut(message(*extensions), *sizes))
    for at, byte in damage:
        data[at % len(data)] = byte
    steadily(bytes(data))
