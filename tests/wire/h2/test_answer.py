"""An answer that is said at once is said as its head and its body would be, one after the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshproxy.wire.h2 import Engine, Limits, Role, response_block

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REQUEST = b"\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x01x"
OK = response_block(b"HTTP/1.1 200 OK\r\na: b\r\n")
LONG = response_block(b"HTTP/1.1 200 OK\r\na: %b\r\n" % (b"b" * 20_000))


class Owner:
    def __init__(self) -> None:
        self.held = 0

    def opened(self, *_: object) -> Owner:
        return self

    def hold(self) -> None:
        self.held += 1

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def engine(owner: Owner, window: int, table: int) -> Engine:
    made = Engine(Role.SERVER, owner, Limits(), lambda: 0.0)
    settings = b"\x00\x01" + table.to_bytes(4, "big") + b"\x00\x04" + window.to_bytes(4, "big")
    made.feed(PREFACE + b"\x00\x00\x0c\x04\x00\x00\x00\x00\x00" + settings + REQUEST)
    made.out.clear()
    return made


@pytest.mark.parametrize("size", [0, 1, 12, 2048, 2049, 20_000])
@pytest.mark.parametrize("window", [0, 1, 2048, 65535])
@pytest.mark.parametrize("block", [OK, LONG], ids=["short", "long"])
@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("table", [0, 4096])
def test_all_at_once_or_one_after_the_other(size: int, window: int, block: bytes, blocked: bool, table: int) -> None:
    owners = Owner(), Owner()
    together, apart = [engine(owner, window, table) for owner in owners]
    if blocked:
        together.block()
        apart.block()
    data = bytes(size)
    out = together.answer(1, block, data)
    apart.head(1, block, not data)
    assert out == (not data or apart.data(1, data, True))
    assert b"".join(together.out) == b"".join(apart.out)
    assert owners[0].held == owners[1].held
    for each in (together, apart):
        each.out.clear()
        each.unblock()
        each.feed(b"\x00\x00\x04\x08\x00\x00\x00\x00\x01\x00\x01\x00\x00" * 2)
    assert b"".join(together.out) == b"".join(apart.out)
    assert together.streams.keys() == apart.streams.keys()
    assert together._window == apart._window
