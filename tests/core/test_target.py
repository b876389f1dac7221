"""Paths made regular: what they become, what is refused, and that it is stable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.core.target import Irregular, normaliser
from meshproxy.model import PathRules

SAFE = normaliser(PathRules())
LAX = normaliser(PathRules(slashes="keep", escaped_slashes="keep"))
HARD = normaliser(PathRules(dot_segments="refuse", slashes="refuse"))


@pytest.mark.parametrize(
    ("path", "regular"),
    [
        (b"/", b"/"),
        (b"*", b"*"),
        (b"/a/b.c/d-e", b"/a/b.c/d-e"),
        (b"/a/", b"/a/"),
        (b"/%7Euser/%41%2d%5F", b"/~user/A-_"),
        (b"/%e9%20", b"/%E9%20"),
        (b"/a//b///c", b"/a/b/c"),
        (b"//", b"/"),
        (b"/a/./b", b"/a/b"),
        (b"/a/.", b"/a/"),
        (b"/a/..", b"/"),
        (b"/a/../b", b"/b"),
        (b"/a/%2e%2E/b", b"/b"),
        (b"/a//../b", b"/b"),
        (b"/.hidden/...", b"/.hidden/..."),
        (b"/a;x=1/b", b"/a;x=1/b"),
        (b"/%252F", b"/%252F"),
        (b"/%e0%a4%a1", b"/%E0%A4%A1"),
    ],
)
def test_what_a_path_becomes(path: bytes, regular: bytes) -> None:
    assert SAFE(path) == regular


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"/..", "dot_segment"),
        (b"/a/../../b", "dot_segment"),
        (b"/%2e%2e/b", "dot_segment"),
        (b"/a/..;/b", "dot_segment"),
        (b"/a/.;x/b", "dot_segment"),
        (b"/a%2Fb", "escaped_slash"),
        (b"/a%2fb", "escaped_slash"),
        (b"/a%5Cb", "escaped_slash"),
        (b"/a\\b", "escaped_slash"),
        (b"/%c0%ae%c0%ae/", "overlong_utf8"),
        (b"/%e0%80%af", "overlong_utf8"),
        (b"/%f0%80%80%af", "overlong_utf8"),
        (b"/%f8%80%80%80%af", "overlong_utf8"),
    ],
)
def test_what_is_refused(path: bytes, reason: str) -> None:
    with pytest.raises(Irregular, match=reason):
        SAFE(path)


def test_what_an_operator_may_choose() -> None:
    assert LAX(b"/a//b%2fc") == b"/a//b%2Fc"
    for path in (b"/a%2F..%2Fb", b"/a/..%5Cb", b"/a%2f%2e%2e"):
        with pytest.raises(Irregular, match="dot_segment"):
            LAX(path)
    with pytest.raises(Irregular, match="dot_segment"):
        HARD(b"/a/./b")
    with pytest.raises(Irregular, match="double_slash"):
        HARD(b"/a//b")


pieces = st.sampled_from([b"/", b"/", b".", b"..", b"a", b"%2e", b"%2E", b"%41", b"%e9", b"%20", b";", b"~"])


@given(st.lists(pieces, max_size=12))
def test_what_is_regular_stays_as_it_is(parts: list[bytes]) -> None:
    try:
        once = SAFE(b"/" + b"".join(parts))
    except Irregular:
        return
    assert SAFE(once) == once
    segments = once.split(b"/")[1:]
    assert not {b".", b".."} & set(segments)
    assert b"" not in segments[:-1]
