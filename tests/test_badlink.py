"""The bad link of the benchmarks: what one direction does with packets, and that two hosts see the same of it."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from benchmarks import badlink
from benchmarks.badlink import V4, V6, BadLink, Carrier, Terms, Way
from benchmarks.hosts import Lab

SIZE = 1000
PATIENCE = 5.0


def test_a_packet_takes_its_time_and_the_next_one_waits_for_it() -> None:
    way = Way(Terms(delay=0.1, rate=100_000), seed=1)
    assert [way.take(SIZE, 5.0) for _ in range(3)] == pytest.approx([5.11, 5.12, 5.13])
    assert way.take(SIZE, 6.0) == pytest.approx(6.11)


def test_what_finds_the_queue_full_is_dropped() -> None:
    way = Way(Terms(rate=100_000, queue=3 * SIZE), seed=1)
    assert [way.take(SIZE, 5.0) is not None for _ in range(5)] == [True, True, True, False, False]
    assert way.take(SIZE, 5.011) is not None
    assert way.counted == {"carried": 4, "dropped": 2}


@pytest.mark.parametrize(("burst", "mean"), [(1.0, 1 / 0.95), (4.0, 4.0)])
def test_so_many_are_lost_and_so_many_in_a_row(burst: float, mean: float) -> None:
    way = Way(Terms(loss=0.05, burst=burst), seed=3)
    fate = "".join("-x"[way.take(SIZE, 5.0) is None] for _ in range(60_000))
    assert fate.count("x") / len(fate) == pytest.approx(0.05, rel=0.1)
    assert statistics.mean(map(len, fate.replace("-", " ").split())) == pytest.approx(mean, rel=0.1)


def test_chance_is_that_of_the_seed() -> None:
    one, same, other = (Way(Terms(loss=0.5), seed) for seed in (1, 1, 2))
    fates = [[way.take(SIZE, 1.0) is None for _ in range(100)] for way in (one, same, other)]
    assert fates[0] == fates[1] != fates[2]


def test_all_is_lost_where_all_is_to_be_lost() -> None:
    way = Way(Terms(loss=1.0), seed=1)
    assert [way.take(SIZE, 1.0) for _ in range(20)] == [None] * 20


@pytest.mark.parametrize("ordered", [True, False])
def test_jitter_keeps_the_order_if_it_is_to(ordered: bool) -> None:
    way = Way(Terms(delay=0.1, jitter=0.05, ordered=ordered), seed=1)
    due = [at for tick in range(1000) if (at := way.take(SIZE, tick / 1000)) is not None]
    assert (due == sorted(due)) is ordered
    waits = [at - tick / 1000 for tick, at in enumerate(due)]
    assert min(waits) >= 0.05
    assert max(waits) <= 0.15
    assert max(waits) - min(waits) > 0.04


def test_a_carrier_loses_what_is_under_way_when_it_is_cut() -> None:
    a, to_a = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    b, to_b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    orders, ordering = socket.socketpair()
    with a, to_a, b, to_b, orders, ordering:
        for end in (to_a, to_b):
            end.setblocking(False)
        b.settimeout(PATIENCE)
        carrier = Carrier((to_a.fileno(), to_b.fileno()), Terms(delay=0.05))
        thread = threading.Thread(target=carrier.run, args=(orders.fileno(),))
        thread.start()
        a.send(b"under way")
        until(lambda: carrier.ways[0].counted["carried"] == 1)
        ordering.sendall(b"down\n")
        until(lambda: not carrier.up)
        a.send(b"into nothing")
        until(lambda: carrier.ways[0].counted["cut"] == 1)
        ordering.sendall(b"up\ndelay 0\n")
        until(lambda: carrier.up and carrier.ways[0].terms.delay == 0)
        a.send(b"arrives")
        assert b.recv(100) == b"arrives"
        ordering.close()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if why := badlink.missing():
        pytest.skip(why)
    with Lab("a", "b") as hosts:
        yield hosts


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, V4[1]), (socket.AF_INET6, V6[1])])
def test_a_datagram_comes_back_after_both_delays(lab: Lab, family: socket.AddressFamily, address: str) -> None:
    with BadLink(lab["a"], lab["b"], delay=0.02), bound(lab, family, address) as (near, far):
        took = []
        for _ in range(10):
            began = time.monotonic()
            near.send(b"ping")
            data, who = far.recvfrom(100)
            far.sendto(data, who)
            assert near.recv(100) == b"ping"
            took.append(time.monotonic() - began)
    assert min(took) >= 0.0395
    assert statistics.median(took) == pytest.approx(0.04, abs=0.015)


def test_the_share_that_is_lost_is_that_of_the_terms_and_nothing_comes_while_it_is_cut(lab: Lab) -> None:
    many = 2000
    with BadLink(lab["a"], lab["b"], loss=0.1, seed=7) as link, bound(lab, socket.AF_INET, V4[1]) as (near, far):
        for _ in range(many):
            near.send(bytes(10))
            time.sleep(0)  # the device has room for 500
        until(lambda: sum(link.counted()[0].values()) == many)
        came = drained(far)
        assert link.counted()[0] == {"carried": came, "lost": many - came}
        assert came / many == pytest.approx(0.9, abs=0.025)
        link.cut()
        near.send(b"into nothing")
        until(lambda: link.counted()[0].get("cut") == 1)
        link.change(loss=0.0)
        link.mend()
        near.send(b"arrives")
        assert far.recv(100) == b"arrives"


def test_tcp_gets_the_rate_and_no_more(lab: Lab) -> None:
    rate, seconds = 1_250_000, 1.0
    with (
        BadLink(lab["a"], lab["b"], delay=0.005, rate=rate, queue=64 * 1024),
        lab["b"].inside(),
        socket.create_server((V4[1], 0)) as listener,
    ):
        sender = threading.Thread(target=pour, args=(lab, listener.getsockname()))
        sender.start()
        with listener.accept()[0] as connection:
            connection.settimeout(PATIENCE)
            # until the queue is full
            began = time.monotonic()
            while time.monotonic() - began < 0.3:
                connection.recv(1 << 16)
            began, got = time.monotonic(), 0
            while (took := time.monotonic() - began) < seconds:
                got += len(connection.recv(1 << 16))
        sender.join(PATIENCE)
    # of each packet of 1500 bytes 1448 are its own
    assert 0.75 * rate < got / took <= rate


def pour(lab: Lab, address: tuple[str, int]) -> None:
    with lab["a"].inside(), socket.create_connection(address, PATIENCE) as connection:
        with suppress(OSError):
            while True:
                connection.sendall(bytes(1 << 16))


@contextmanager
def bound(lab: Lab, family: socket.AddressFamily, address: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets, of which the one on the first host is connected to the other."""
    with lab["b"].inside():
        far = socket.socket(family, socket.SOCK_DGRAM)
    with lab["a"].inside():
        near = socket.socket(family, socket.SOCK_DGRAM)
    with near, far:
        for end in (near, far):
            end.settimeout(PATIENCE)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        far.bind((address, 0))
        near.connect(far.getsockname())
        yield near, far


def drained(far: socket.socket) -> int:
    far.setblocking(False)
    came = 0
    with suppress(BlockingIOError):
        while far.recv(100):
            came += 1
    far.settimeout(PATIENCE)
    return came
