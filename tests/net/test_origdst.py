"""What the kernel says of a redirected connection, in its own bytes."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from meshproxy.net.origdst import is_here, original

# As netfilter fills them in: the family in the order of the machine, everything else in that of the network.
FOUR = int(socket.AF_INET).to_bytes(2, "little") + bytes.fromhex("0050 0a010203") + bytes(8)
SIX = int(socket.AF_INET6).to_bytes(2, "little") + bytes.fromhex("01bb 00000000 fd00") + bytes(13) + b"\x09"


class Redirected:
    """A socket of which the kernel has this to say."""

    def __init__(self, family: int, said: bytes | int, local: tuple[Any, ...] = ("127.0.0.1", 15001)) -> None:
        self.family = family
        self.asked: list[tuple[int, int, int]] = []
        self._said = said
        self._local = local

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        self.asked.append((level, option, size))
        if isinstance(self._said, int):
            raise OSError(self._said, "no")
        return self._said

    def getsockname(self) -> tuple[Any, ...]:
        return self._local


def test_ipv4() -> None:
    sock: Any = Redirected(socket.AF_INET, FOUR)
    assert original(sock) == ("10.1.2.3", 80)
    assert sock.asked == [(0, 80, 16)]


@pytest.mark.parametrize(("scope", "shown"), [(0, "fd00::9"), (2, "fd00::9%2")])
def test_ipv6(scope: int, shown: str) -> None:
    sock: Any = Redirected(socket.AF_INET6, SIX + scope.to_bytes(4, "little"))
    assert original(sock) == (shown, 443)
    assert sock.asked == [(41, 80, 28)]


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENOPROTOOPT, errno.EINVAL])
def test_who_was_not_redirected_went_to_the_local_address(code: int) -> None:
    four: Any = Redirected(socket.AF_INET, code)
    six: Any = Redirected(socket.AF_INET6, code, ("::1", 15001, 0, 0))
    assert (original(four), original(six)) == (("127.0.0.1", 15001), ("::1", 15001))


@pytest.mark.parametrize("host", ["127.0.0.7", "::1"])
def test_a_real_connection_that_nobody_redirects(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        name = server.getsockname()[:2]
        with socket.create_connection(name), server.accept()[0] as accepted:
            assert original(accepted) == name


def test_what_is_here() -> None:
    assert is_here("127.0.0.7")
    assert is_here("::1")
    assert not is_here("192.0.2.1")
    assert not is_here("2001:db8::1")
