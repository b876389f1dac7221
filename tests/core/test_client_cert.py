"""`X-Forwarded-Client-Cert`: what a certificate says, and cannot say, whoever reads it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.core.client_cert import LONGEST, element
from meshproxy.core.peer import spoken
from meshproxy.wire.h1 import encode
from tests.peers import BOOKBUYER, BOOKTHIEF, peer, shown

Pairs = list[tuple[str, str]]
HASH = "ab" * 32


def test_an_element_as_envoy_writes_it() -> None:
    said = peer(BOOKBUYER, dns=("a.shop", "b.shop"), subject="CN=bookbuyer,O=Shop", own="spiffe://cluster.local/ns/a/sa/b")
    assert element(said) == (
        f'By=spiffe://cluster.local/ns/a/sa/b;Hash={HASH};Subject="CN=bookbuyer,O=Shop";URI={BOOKBUYER};'
        "DNS=a.shop;DNS=b.shop"
    ).encode()


def test_who_has_shown_nothing_has_none() -> None:
    assert element(shown(None, own="spiffe://a")) == b""


def as_documented(text: str) -> Pairs:
    """Quotes, and `\\"` within them."""
    assert re.fullmatch(r'(?:[^,";=]+=(?:"(?:\\"|[^"])*"|[^",;=]*)(?:;|\Z))*', text), text
    return [(key, value.strip('"')) for key, value in re.findall(r'([^,";=]+)=("(?:\\"|[^"])*"|[^",;]*)', text)]


def with_escapes(text: str) -> Pairs:
    """A backslash takes the meaning from whatever follows."""
    return [(key, value.strip('"')) for key, value in re.findall(r'([^,";=]+)=("(?:\\.|[^"\\])*"|[^",;]*)', text)]


def by_quotes_alone(text: str) -> Pairs:
    """Every quote begins or ends one."""
    parts, quoted = [""], False
    for sign in text:
        quoted ^= sign == '"'
        if sign in ";," and not quoted:
            parts.append("")
        else:
            parts[-1] += sign
    return [(key, value.strip('"')) for key, _, value in (part.partition("=") for part in parts)]


READERS = [as_documented, with_escapes, by_quotes_alone]
FORGED = f"URI={BOOKTHIEF}"


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "subject",
    [
        f'CN=a";{FORGED}', f"CN=a;{FORGED}", f"CN=a,By=x;{FORGED}", f'CN=a",{FORGED};Subject="', "CN=a\\", "CN=a\\\\",
        f'CN=a\\";{FORGED};X="', f'CN=a\\\\";{FORGED}', f"CN=a\r\nX-Forwarded-Client-Cert: {FORGED}", f"CN=a\n{FORGED}",
        "CN=a\0b", "CN=\u202e", "CN=ü", "CN=\udc80", "CN=%22;", "", '"', "CN=a\tb", "CN= a ",
    ],
)  # fmt: skip
def test_no_subject_gets_out_of_its_quotes(subject: str, read: Callable[[str], Pairs]) -> None:
    line = encode.line(b"X-Forwarded-Client-Cert", element(peer(BOOKBUYER, subject=subject))).decode("ascii")
    assert line.count("\r") == line.count("\n") == 1
    found = read(line[:-2].partition(": ")[2])
    assert [key for key, _ in found] == ["Hash", "Subject", "URI"]
    assert dict(found)["URI"] == BOOKBUYER
    assert not re.search(r'[^ -~]|["\\]', dict(found)["Subject"])


@given(st.text(), st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3), st.text())
def test_whatever_stands_in_a_certificate(subject: str, uris: list[str], dns: list[str], own: str) -> None:
    said = element(peer(*uris, subject=subject, dns=tuple(dns), own=own)).decode("ascii")
    keys = ["By"] * bool(own) + ["Hash", "Subject"] + ["URI"] * len(uris) + ["DNS"] * len(dns)
    for read in READERS:
        assert [key for key, _ in read(said)] == keys


def test_two_subjects_are_never_written_alike() -> None:
    subjects = ["a", 'a"', "a%22", "a\\", "a%5C", "a%2522", "a\n"]
    assert len({element(peer(subject=subject)) for subject in subjects}) == len(subjects)


def test_it_is_bounded_and_what_is_left_out_is_a_whole_name() -> None:
    said = peer(BOOKBUYER, subject="CN=" + "x" * LONGEST, dns=tuple(f"{number}.shop" for number in range(1000)))
    text = element(said).decode("ascii")
    assert LONGEST - 20 < len(text) <= LONGEST
    keys = [key for key, _ in as_documented(text)]
    assert keys[:2] == ["Hash", "URI"]
    assert set(keys[2:]) == {"DNS"}
    assert all(re.fullmatch(r"[0-9]+\.shop", value) for key, value in as_documented(text) if key == "DNS")


@given(st.text())
def test_an_identity_in_a_header_is_what_can_be_seen(identity: str) -> None:
    said = spoken(identity)
    assert re.fullmatch(rb'[!-~]*', said)
    assert b'"' not in said
    assert bool(said) == bool(identity)


def test_an_identity_of_usual_signs_is_as_it_is() -> None:
    assert spoken(BOOKBUYER) == BOOKBUYER.encode()
    assert spoken("a b\r\n%") == b"a%20b%0D%0A%25"
