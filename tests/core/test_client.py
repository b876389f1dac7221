"""Who asks, where some are believed: nobody can say that he is somebody else."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from random import Random
from typing import Any, NamedTuple

import pytest

from meshproxy.core.client import MOST_HOPS, asker, read, within
from meshproxy.core.cookie import cookie
from meshproxy.model.http import Forwarded

TRUSTED = ("10.0.0.0/8", "fd00::/8")


class Peer(NamedTuple):
    address: Any


class Request(NamedTuple):
    hops: bytes | None

    def get(self, name: bytes) -> bytes | None:
        assert name == b"x-forwarded-for"
        return self.hops


class Asking(NamedTuple):
    origin: Peer
    request: Request


def who(peer: str | None, hops: str | None, *trusted: Any) -> str | None:
    believed = tuple(each if each == "unix" else ip_network(each) for each in trusted)
    x = Asking(Peer(None if peer is None else read(peer)), Request(None if hops is None else hops.encode()))
    found = asker(Forwarded(trusted=believed))(x)
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("peer", "hops", "found"),
    [
        ("192.0.2.1", "10.0.0.1", "192.0.2.1"),  # who is not believed says nothing
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "127.0.0.1, 192.0.2.7", "192.0.2.7"),  # what the client has written stands before it
        ("10.0.0.1", "127.0.0.1, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("10.0.0.1", "10.9.9.9, 10.0.0.2", "10.9.9.9"),  # all are believed: the first of them
        ("10.0.0.1", "192.0.2.7, ,,", "192.0.2.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "127.0.0.1, unknown", None),  # nobody knows, and who is before that is not asked
        ("10.0.0.1", "127.0.0.1, 010.0.0.1", None),
        ("10.0.0.1", "127.0.0.1, 10.0.0.256", None),
        ("10.0.0.1", "127.0.0.1, 2130706433", None),
        ("10.0.0.1", "127.0.0.1, \xb9\xb2", None),
        ("10.0.0.1", "192.0.2.7:4711", "192.0.2.7"),
        ("10.0.0.1", "[2001:db8::1]:80", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "192.0.2.7, fd00::1", "192.0.2.7"),
        ("10.0.0.1", "::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:10.0.0.1", "192.0.2.7", "192.0.2.7"),
        (None, "192.0.2.7", None),  # a unix socket that is not believed
    ],
)
def test_the_last_who_is_not_believed(peer: str | None, hops: str | None, found: str | None) -> None:
    assert who(peer, hops, *TRUSTED) == found
    if peer is not None:
        assert who(peer, hops) == str(read(peer)), "where nobody is believed"


def test_a_unix_socket_may_be_believed() -> None:
    assert who(None, "192.0.2.7", "unix") == "192.0.2.7"
    assert who(None, "192.0.2.7, 10.0.0.1", "unix", "10.0.0.0/8") == "192.0.2.7"
    assert who(None, None, "unix") is None
    assert who("10.0.0.1", "192.0.2.7", "unix") == "10.0.0.1"


def test_more_hops_than_anybody_has() -> None:
    assert who("10.0.0.1", ", ".join(["192.0.2.7"] + ["10.0.0.2"] * (MOST_HOPS - 1)), *TRUSTED) == "192.0.2.7"
    assert who("10.0.0.1", ", ".join(["192.0.2.7"] + ["10.0.0.2"] * 5000), *TRUSTED) is None


def test_within_is_what_networks_say() -> None:
    random = Random(1)
    networks = [ip_network((random.randrange(2**32) >> shift << shift, 32 - shift)) for shift in range(33)]
    networks += [ip_network((random.randrange(2**128) >> shift << shift, 128 - shift)) for shift in (0, 8, 64, 120)]
    for some in (networks[5:9], networks[12:30], networks[33:], []):
        inside = within(some)
        near = [network[random.randrange(network.num_addresses)] for network in some]
        far = [ip_address(random.randrange(2**32)) for _ in range(200)]
        for address in (*near, *far, *[address + 1 for address in near if int(address) % 256 < 255]):
            expected = any(address in network for network in some)
            assert inside(address) is expected, address
        assert not inside(None)


class Head(NamedTuple):
    lines: list[bytes]

    def all(self, name: bytes) -> list[bytes]:
        assert name == b"cookie"
        return self.lines


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ([], None),
        ([b"a=1"], b"1"),
        ([b"b=2;a=1 ; a=3"], b"1"),
        ([b"aa=2; a"], None),
        ([b"x=a=1"], None),
        ([b"b=2", b"a=x=y,z"], b"x=y,z"),
        ([b"A=2; a="], b""),
        ([b';;=; a="q"'], b'"q"'),
    ],
)
def test_a_cookie(lines: list[bytes], value: bytes | None) -> None:
    assert cookie(Head(lines), b"a") == value
