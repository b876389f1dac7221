"""Sockets that one owner opens and workers share: what is free, what is shared, what is left behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshproxy.model import Address
from meshproxy.net.bound import bind
from meshproxy.net.doors import Doors, Inherited, Place

LOCAL = Place(Address("ipv4", "127.0.0.1"), socket.SOCK_STREAM)


@pytest.fixture(params=[1, 3])
def doors(request: pytest.FixtureRequest) -> Iterator[Doors]:
    opened = Doors(request.param)
    yield opened
    opened.close()


def port_of(doors: Doors, place: Place) -> int:
    return int(doors.local(place).rpartition(":")[2])


def open_and_commit(doors: Doors, *places: Place) -> None:
    for place in places:
        doors.open(place)
    doors.commit()


def test_what_an_aborted_generation_opened_is_free_again_and_what_was_held_is_not(doors: Doors) -> None:
    open_and_commit(doors, LOCAL)
    port = port_of(doors, LOCAL)
    other = bind(Address("ipv4", "127.0.0.1"), socket.SOCK_STREAM)
    free = other.sockets[0].getsockname()[1]
    other.release()
    fresh = Place(Address("ipv4", "127.0.0.1", free), socket.SOCK_STREAM)
    doors.open(LOCAL)
    doors.open(fresh)
    doors.abort()
    bind(fresh.address, fresh.kind).release()
    with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
        bind(Address("ipv4", "127.0.0.1", port), socket.SOCK_STREAM)


def test_every_worker_has_its_share_and_the_kernel_finds_all_of_them() -> None:
    doors = Doors(3)
    open_and_commit(doors, LOCAL)
    shares = [doors.share(LOCAL, worker) for worker in range(3)]
    address = shares[0][0].getsockname()
    assert [len(share) for share in shares] == [1, 1, 1]
    assert {share[0].getsockname() for share in shares} == {address}
    clients = [socket.create_connection(address, 5) for _ in range(60)]
    met = [0, 0, 0]
    for worker, (sock,) in enumerate(shares):
        while True:
            try:
                sock.accept()[0].close()
            except BlockingIOError:
                break
            met[worker] += 1
    assert sum(met) == 60
    assert min(met) > 0, met
    for sock in (*clients, *(sock for share in shares for sock in share)):
        sock.close()
    doors.close()


def test_a_unix_socket_is_one_for_all_workers(tmp_path: Path) -> None:
    doors = Doors(2)
    place = Place(Address("unix", path=str(tmp_path / "door")), socket.SOCK_STREAM)
    open_and_commit(doors, place)
    shares = [doors.share(place, worker) for worker in range(2)]
    assert len({os.fstat(share[0].fileno()).st_ino for share in shares}) == 1
    for share in shares:
        share[0].close()
    doors.close()
    assert not os.path.exists(place.address.path)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_what_one_worker_serves_alone_is_all_its_own_whoever_was_there_before(kind: int) -> None:
    """Those of several workers, of a predecessor or of the generation before."""
    before = Doors(3)
    local = LOCAL._replace(kind=kind)
    open_and_commit(before, local)
    at = local._replace(address=Address("ipv4", "127.0.0.1", port_of(before, local)))
    inherited = Inherited()
    for sock in (*before.share(local, 0), *before.share(local, 1), *before.share(local, 2)):
        inherited.add(at, sock)
    before.close()
    doors = Doors(2, inherited)
    open_and_commit(doors, at._replace(alone=True))
    shares = [doors.share(at._replace(alone=True), worker) for worker in range(2)]
    assert [len(share) for share in shares] == [3, 0]
    open_and_commit(doors, at)
    shares += [doors.share(at, worker) for worker in range(2)]
    open_and_commit(doors, at._replace(alone=True))
    shares += [doors.share(at._replace(alone=True), worker) for worker in range(2)]
    assert [len(share) for share in shares[2:]] == [1, 1, 1, 0]
    assert {sock.getsockname() for share in shares for sock in share} == {("127.0.0.1", at.address.port)}
    for share in shares:
        for sock in share:
            sock.close()
    doors.close()


def test_a_move_to_a_narrower_address_leaves_the_port_taken_for_others(doors: Doors) -> None:
    everywhere = Place(Address("ipv4", "0.0.0.0"), socket.SOCK_STREAM)
    open_and_commit(doors, everywhere)
    one = Place(Address("ipv4", "127.0.0.1", port_of(doors, everywhere)), socket.SOCK_STREAM)
    open_and_commit(doors, one)
    with pytest.raises(OSError, match="in use"):
        bind(one.address, one.kind)


def test_a_full_queue_of_somebody_else_is_in_use_and_nothing_waits_for_it(tmp_path: Path) -> None:
    address = Address("unix", path=str(tmp_path / "busy"))
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(address.path)
        other.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(address.path)
        with pytest.raises(OSError, match="in use"):
            bind(address, socket.SOCK_STREAM)
        assert os.path.exists(address.path)
        for sock in waiting:
            sock.close()


def test_a_file_that_somebody_else_has_made_in_the_meantime_stays(tmp_path: Path) -> None:
    address = Address("unix", path=str(tmp_path / "door"))
    ours = bind(address, socket.SOCK_STREAM)
    os.unlink(address.path)
    theirs = bind(address, socket.SOCK_STREAM)
    ours.release()
    assert os.path.exists(address.path)
    theirs.release()
    assert not os.path.exists(address.path)
