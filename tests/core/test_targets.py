"""Where clients may go: what is admitted, and all the ways to write something that is not."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from meshproxy.core.targets import Refused, Targets, is_public, read
from meshproxy.errors import Invalid
from meshproxy.model import decode, encode
from meshproxy.model.forward import Forward


def targets(*allow: str) -> Targets:
    said: Any = decode(Forward, {"allow": list(allow)})
    return Targets(said.allow)


def admits(allow: str, host: str, port: int) -> bool:
    return targets(allow).admits(read(host, port))


@pytest.mark.parametrize(
    ("allow", "host", "port"),
    [
        ("db.shop:5432", "db.shop", 5432),
        ("db.shop:5432", "DB.Shop.", 5432),
        ("DB.shop.:5432", "db.shop", 5432),
        ("*.example.com:443", "a.example.com", 443),
        ("*.example.com:443", "a.b.example.com", 443),
        ("*:80-443", "anything.at.all", 80),
        ("*:*", "anything", 65535),
        ("10.0.0.0/8:443", "10.255.0.1", 443),
        ("10.0.0.0/8:443", "::ffff:10.0.0.1", 443),
        ("10.0.0.7:1-1024", "10.0.0.7", 1024),
        ("[fd00::]/8:443", "[fd00::1]", 443),
        ("[::1]:443", "::1", 443),
        ("127.0.0.0/8:*", "127.1.2.3", 1),
    ],
)
def test_what_is_admitted(allow: str, host: str, port: int) -> None:
    assert admits(allow, host, port)


@pytest.mark.parametrize(
    ("allow", "host", "port"),
    [
        ("db.shop:5432", "db.shop", 5433),
        ("db.shop:5432", "xdb.shop", 5432),
        ("db.shop:5432", "db.shop.evil", 5432),
        ("*.example.com:443", "example.com", 443),
        ("*.example.com:443", "evilexample.com", 443),
        ("*.example.com:443", "a.example.com.evil", 443),
        ("*:*", "10.0.0.1", 80),
        ("*:*", "[2600::1]", 80),
        ("10.0.0.0/8:443", "11.0.0.1", 443),
        ("10.0.0.0/8:443", "db.shop", 443),
        ("[fd00::]/8:443", "[fe80::1]", 443),
        ("10.0.0.7:80", "10.0.0.8", 80),
    ],
)
def test_what_is_not(allow: str, host: str, port: int) -> None:
    assert not admits(allow, host, port)


@pytest.mark.parametrize(
    "host",
    [
        "", ".", "127.1", "0x7f.1", "0x7f000001", "2130706433", "127.0.0.1.", "0177.0.0.1", "1.2.3.4.5", "a b", "a..b",
        "fe80::1%lo", "[fe80::1%25lo]", "::", "0.0.0.0", "0.1.2.3", "::ffff:0.0.0.0", "::7f00:1", "224.0.0.1",
        "ff02::1", "255.255.255.255", "[::1", "1:2", "user@host", "a/b", "a%2eb", "b\xfccher.example", "a" * 64,
        "a." * 127 + "a",
        "-a.b", "a\0b",
    ],
)  # fmt: skip
def test_what_is_nobodys_is_refused_whatever_is_written(host: str) -> None:
    with pytest.raises(Refused):
        read(host, 80)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_port_is_one_of_those_there_are(port: int) -> None:
    with pytest.raises(Refused):
        read("a.b", port)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "::1",
        "fd00::1", "fe80::1", "fec0::1", "64:ff9b::a00:1", "2002:a00:1::1", "2001::1", "2001:db8::1", "100::1",
        "::ffff:127.0.0.1",
        "0.0.0.0", "::", "240.0.0.1",
    ],
)  # fmt: skip
def test_a_name_does_not_lead_inside(address: str) -> None:
    everything = targets("*:*")
    target = read("rebound.example", 80)
    assert everything.admits(target)
    assert everything.reachable(target, [address]) == ()
    assert everything.reachable(target, [address, "93.184.216.34"]) == ("93.184.216.34",)


def test_a_name_leads_inside_where_a_network_says_so() -> None:
    inside = targets("db.shop:5432", "10.0.0.0/8:5432", "127.0.0.1:80")
    target = read("db.shop", 5432)
    assert inside.reachable(target, ["10.0.0.1", "127.0.0.1", "::ffff:10.0.0.2", "2600::1", "10.0.0.1"]) == (
        "10.0.0.1", "10.0.0.2", "2600::1",
    )  # fmt: skip


@pytest.mark.parametrize("address", ["1.1.1.1", "2600::1", "2a00:1450::1"])
def test_who_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("place", ["a.b:1", "*.b:1-2", "*:*", "10.0.0.0/8:443", "[fd00::]/8:1-1024", "[::1]:80"])
def test_a_place_is_shown_as_it_is_written(place: str) -> None:
    said = decode(Forward, {"allow": [place]})
    assert encode(said)["allow"] == [place]


@pytest.mark.parametrize(
    "place",
    ["a.b", "a.b:", "a.b:0", "a.b:65536", "a.b:2-1", "10.0.0.1/8:80", "fd00::/8:80", "*.*.b:1", "*b:1", "a*.b:1", ":80",
     "http://a:80", "[fe80::1%lo]:80", "10.1:80", "a b:80", 80],
)  # fmt: skip
def test_a_place_that_is_none(place: object) -> None:
    with pytest.raises(Invalid, match="allow"):
        decode(Forward, {"allow": [place]})


@given(some.text(alphabet="0123456789abcdefx.:[]%-*@/", max_size=40), some.integers(-1, 70000))
def test_nothing_but_what_is_read_comes_of_anything(host: str, port: int) -> None:
    try:
        target = read(host, port)
    except Refused:
        return
    assert (target.ip is None) != (target.name == "")
    again = read(str(target.ip or target.name), target.port)
    assert again == target
