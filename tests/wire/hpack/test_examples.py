"""The examples of RFC 7541, appendix C: bytes in, fields and the state of the table out."""

from __future__ import annotations

import pytest

from meshproxy.wire.hpack import Decoder, huffman, integers
from meshproxy.wire.hpack.table import STATIC

Fields = list[tuple[bytes, bytes]]

FIRST: Fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
SECOND: Fields = [*FIRST, (b"cache-control", b"no-cache")]
THIRD: Fields = [
    (b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"), (b":authority", b"www.example.com"),
    (b"custom-key", b"custom-value"),
]
OK_AT_21: Fields = [
    (b":status", b"200"), (b"cache-control", b"private"), (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
    (b"location", b"https://www.example.com"),
]
REDIRECT: Fields = [(b":status", b"302"), *OK_AT_21[1:]]
NOT_MODIFIED: Fields = [(b":status", b"307"), *OK_AT_21[1:]]
LAST: Fields = [
    (b":status", b"200"), (b"cache-control", b"private"), (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
    (b"location", b"https://www.example.com"), (b"content-encoding", b"gzip"),
    (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
]

CONVERSATIONS: dict[str, list[tuple[str, Fields, int]]] = {
    "C.3 requests": [
        ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", FIRST, 57),
        ("8286 84be 5808 6e6f 2d63 6163 6865", SECOND, 110),
        ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", THIRD, 164),
    ],
    "C.4 requests in Huffman": [
        ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", FIRST, 57),
        ("8286 84be 5886 a8eb 1064 9cbf", SECOND, 110),
        ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", THIRD, 164),
    ],
    "C.5 responses": [
        (
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120"
            "474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            REDIRECT, 222,
        ),
        ("4803 3330 37c1 c0bf", NOT_MODIFIED, 222),
        (
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738"
            "666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33"
            "3630 303b 2076 6572 7369 6f6e 3d31",
            LAST, 215,
        ),
    ],
    "C.6 responses in Huffman": [
        (
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718"
            "63c7 8f0b 97c8 e9ae 82ae 43d3",
            REDIRECT, 222,
        ),
        ("4883 640e ffc1 c0bf", NOT_MODIFIED, 222),
        (
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7"
            "b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
            LAST, 215,
        ),
    ],
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversations(name: str) -> None:
    decoder = Decoder()
    if "responses" in name:
        # These examples are of a table that holds 256 bytes
        decoder.decode(bytes.fromhex("3f e1 01"))
    for data, fields, size in CONVERSATIONS[name]:
        block = decoder.decode(bytes.fromhex(data))
        assert [(name, value) for name, value, _ in block.fields] == fields
        assert [line for _, _, line in block.fields] == [name + b": " + value for name, value in fields]
        assert decoder.table.size == size


@pytest.mark.parametrize(
    ("data", "field", "added"),
    [
        ("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", (b"custom-key", b"custom-header"), 55),
        ("040c 2f73 616d 706c 652f 7061 7468", (b":path", b"/sample/path"), 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", (b"password", b"secret"), 0),
        ("82", (b":method", b"GET"), 0),
    ],
)
def test_each_form_of_a_field(data: str, field: tuple[bytes, bytes], added: int) -> None:
    decoder = Decoder()
    block = decoder.decode(bytes.fromhex(data))
    assert block.fields == [(*field, b"%b: %b" % field)]
    assert decoder.table.size == added


@pytest.mark.parametrize(("value", "prefix", "data"), [(10, 0x1F, "0a"), (1337, 0x1F, "1f9a0a"), (42, 0xFF, "2a")])
def test_integers(value: int, prefix: int, data: str) -> None:
    encoded = bytes.fromhex(data)
    assert integers.encode(value, prefix, 0) == encoded
    if len(encoded) > 1:
        assert integers.decode(encoded, 1, prefix) == (value, len(encoded))


def test_the_static_table() -> None:
    assert len(STATIC) == 61
    assert STATIC[0][:2] == (b":authority", b"")
    assert STATIC[15][:2] == (b"accept-encoding", b"gzip, deflate")
    assert STATIC[60][:2] == (b"www-authenticate", b"")


def test_the_huffman_code() -> None:
    """Some of appendix B, from each end and the middle."""
    codes = {symbol: bits for bits, symbol in huffman.codes().items()}
    assert len(codes) == 257
    assert codes[ord("0")] == "00000"
    assert codes[ord("a")] == "00011"
    assert codes[ord("~")] == "1111111111101"
    assert codes[0] == "1111111111000"
    assert codes[22] == f"{0x3FFFFFFE:030b}"
    assert codes[256] == "1" * 30
