"""zstd for streams: with what both ends know, within the memory that they mean to give, or not at all."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from meshproxy.net.mux.zstd import Zstd, library
from meshproxy.net.tls.context import Unusable
from meshproxy.wire.mux.squeeze import HEAD, LARGEST, SQUEEZED, Garbled, Squeezer, Unsqueezer

WORDS = [f'{{"book": {place}, "title": "The {place * 7919}th", "author": "A. Nobody"}}'.encode() for place in range(99)]
KNOWN = b"".join(WORDS)
TRAINED = b"\x37\xa4\x30\xec"


@pytest.fixture
def zstd() -> Any:
    try:
        return library()
    except Unusable:
        return pytest.skip("zstd is not installed")


def through(writer: Zstd, reader: Zstd, *said: bytes) -> tuple[bytes, int]:
    """What is read, and how much was carried."""
    squeezer, unsqueezer = Squeezer(writer), Unsqueezer(reader)
    found, carried = b"", 0
    for words in said:
        data = squeezer.squeeze(words)
        carried += len(data)
        unsqueezer.feed(data)
        found += unsqueezer.read(1 << 20)
    return found, carried


def test_without_a_library_it_is_said_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("backports", "compression"):
        monkeypatch.setitem(sys.modules, name, None)
    words = r"^needs the library backports.zstd: pip install 'meshproxy\[zstd\]'$"
    with pytest.raises(Unusable, match=words) as caught:
        Zstd()
    assert caught.value.part == "compress"


def test_what_was_said_before_need_not_be_said_again(zstd: Any) -> None:
    found, carried = through(Zstd(), Zstd(), *WORDS)
    assert found == KNOWN
    assert carried < len(KNOWN) // 2


@pytest.mark.parametrize("trained", [False, True])
def test_what_both_know_before_they_begin_is_said_in_few_bytes(zstd: Any, trained: bool) -> None:
    dictionary = zstd.train_dict(WORDS, 2000).dict_content if trained else KNOWN
    coding = Zstd(dictionary)
    found, carried = through(coding, Zstd(dictionary), WORDS[7])
    assert found == WORDS[7]
    assert carried < through(Zstd(), Zstd(), WORDS[7])[1] // (1 if trained else 2)
    assert coding.name == Zstd(dictionary).name != Zstd(dictionary + b".").name
    assert Zstd().name == "zstd"


@pytest.mark.parametrize("dictionary", [b"", b"few", TRAINED + bytes(100), TRAINED + b"?" * 100])
def test_what_is_no_dictionary(zstd: Any, dictionary: bytes) -> None:
    with pytest.raises(Unusable, match="is none for zstd: too short, or damaged") as caught:
        Zstd(dictionary)
    assert caught.value.part == "dictionary"


def test_a_block_is_never_too_large_for_its_head(zstd: Any) -> None:
    noise = b"".join(number.to_bytes(4) for number in range(1 << 31, (1 << 31) + 50_000_000, 7919))[:LARGEST]
    for said in (noise, bytes(LARGEST)):
        assert through(Zstd(), Zstd(), said)[0] == said


def test_nobody_makes_us_remember_more_than_we_mean_to(zstd: Any) -> None:
    wide = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 23})
    data = wide.compress(bytes(1000), wide.FLUSH_BLOCK)
    unsqueezer = Unsqueezer(Zstd())
    unsqueezer.feed(HEAD.pack(SQUEEZED | len(data)) + data)
    with pytest.raises(Garbled):
        unsqueezer.read(1000)


def test_who_knows_something_else_reads_rubbish_and_says_so(zstd: Any) -> None:
    dictionary = zstd.train_dict(WORDS, 2000).dict_content
    with pytest.raises(Garbled):
        through(Zstd(dictionary), Zstd(), WORDS[7])
