"""What compares tunnels: two proxies and what is between them, streams that are checked, and works, briefly."""

from __future__ import annotations

import asyncio
import socket
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest

from benchmarks import badlink, pki, process
from benchmarks.harness import Plan
from benchmarks.tunnel import checked, flaps, recovery
from benchmarks.tunnel import run as tunnel
from benchmarks.tunnel.checked import PIECE, Crowd, Wish, Wrong
from benchmarks.tunnel.pairs import OVER_A_LINK
from benchmarks.tunnel.peers import Meshproxies, Pair, Site, TlsPair, TunnelPair
from meshproxy.dialects import read
from meshproxy.model import combine

CORES = process.Cores.of_this_machine()
SHORT = 0.1
ROLES = {"echo": 7001, "source": 7002}
Bend = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def mesh() -> Iterator[pki.Mesh]:
    if reason := pki.missing():
        pytest.skip(reason)
    with pki.mesh() as each:
        yield each


def here(kind: type[Pair]) -> None:
    if reason := kind.missing():
        pytest.skip(reason)


@pytest.mark.parametrize(
    "kind", [each for each in OVER_A_LINK if issubclass(each, Meshproxies)], ids=lambda kind: kind.__name__
)
def test_both_ends_are_told_what_meshproxy_understands(kind: type[Pair], mesh: pki.Mesh) -> None:
    pair = kind(Site(), ROLES, mesh, CORES.proxy)
    near, far = pair.ends
    for end in (near, far):
        combine([read(end.config().encode(), "f")])
    # each proves who it is, and asks the other to
    assert all(each in near.config() for each in (str(mesh.client.certificate), str(mesh.client.ca), pki.SERVER))
    assert all(each in far.config() for each in (str(mesh.ecdsa.certificate), f'"client_ca": "{mesh.ecdsa.ca}"'))
    assert all(str(port) in near.config() for port in pair.ports.values())


@pytest.mark.parametrize("kind", OVER_A_LINK, ids=lambda kind: kind.__name__)
def test_each_pair_carries_streams_of_every_kind(kind: type[Pair], mesh: pki.Mesh) -> None:
    here(kind)
    with checked.serving(CORES.load) as ports, kind(Site(), ports, mesh, CORES.proxy) as pair:
        for number, what in enumerate(checked.KINDS):
            asyncio.run(Crowd(pair.ports["checked"], 1).once(Wish(what, number, 3 * PIECE + 1)))


# Streams that are checked -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served() -> Iterator[int]:
    with checked.serving(CORES.load) as ports:
        yield ports["checked"]


def bent(served: int, wish: Wish, *, forth: Bend | None = None, back: Bend | None = None) -> None:
    """The stream by way of somebody who changes the first bytes; raises what its client makes of that."""

    async def carry(reader: StreamReader, writer: StreamWriter, bend: Bend | None) -> None:
        while data := await reader.read(PIECE):
            writer.write(bend(data) if bend else data)
            bend = None
        writer.write_eof()

    async def between(reader: StreamReader, writer: StreamWriter) -> None:
        there, onward = await asyncio.open_connection("127.0.0.1", served)
        onward.write(await reader.readline())
        try:
            await asyncio.gather(carry(reader, onward, forth), carry(there, writer, back))
        except OSError:
            writer.transport.abort()
        finally:
            onward.close()
            writer.close()

    async def conversation() -> None:
        async with await asyncio.start_server(between, "127.0.0.1", 0) as server, asyncio.timeout(process.DEADLINE):
            await Crowd(server.sockets[0].getsockname()[1], 1).once(wish)

    asyncio.run(conversation())


@pytest.mark.parametrize("what", checked.KINDS)
def test_a_stream_that_nobody_changes_is_right(what: str, served: int) -> None:
    bent(served, Wish(what, 5, 2 * PIECE))


BENDS: dict[str, Bend] = {
    "flipped": lambda data: bytes((data[0] ^ 1,)) + data[1:],
    "doubled": lambda data: data[:1] + data,
    "dropped": lambda data: data[1:],
}


@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize(
    ("what", "way"), [("upload", "forth"), ("download", "back"), ("echo", "forth"), ("echo", "back"), ("half", "forth")]
)
def test_one_byte_that_is_changed_is_seen(what: str, way: str, bend: str, served: int) -> None:
    with pytest.raises((Wrong, OSError)):
        bent(served, Wish(what, 5, 2 * PIECE), **{way: BENDS[bend]})


def test_what_ends_early_and_what_goes_on_is_seen() -> None:
    (piece,) = checked.pieces(5, 100)

    async def compared(sent: bytes) -> None:
        reader = StreamReader()
        reader.feed_data(sent)
        reader.feed_eof()
        await checked.compare(reader, 5, 100)
        await checked.ended(reader)

    asyncio.run(compared(piece))
    for sent, said in (
        (piece[:-1], "it ended after 99 bytes of 100"),
        (piece + b"x", "1 bytes more than there are"),
        (piece[:-1] + bytes((piece[-1] ^ 1,)), "byte 99 of 100 differs"),
    ):
        with pytest.raises(Wrong, match=said):
            asyncio.run(compared(sent))


def test_a_crowd_tells_what_was_right_and_what_was_wrong(served: int) -> None:
    with checked.asking(served, 4, PIECE, 1, CORES.load) as child:
        time.sleep(SHORT)
        account = checked.told(child)
    assert account.right.total() >= 4
    assert (account.wrong, account.examples) == (0, [])
    with checked.asking(process.free_port(), 1, PIECE, 1, CORES.load) as child:
        account = checked.told(child)
    assert account.wrong == len(account.examples) == 1
    assert "ConnectionRefusedError" in account.examples[0]


# A cut ------------------------------------------------------------------------------------------------


def test_a_pulse_takes_nothing_but_what_it_sent() -> None:
    for answer, right in ((lambda data: data, True), (BENDS["doubled"], False), (BENDS["dropped"], False)):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            pulse = recovery.Pulse(listener.getsockname()[1])
            with pulse.sock, listener.accept()[0] as echo:
                assert pulse.beat(time.monotonic() + 3 * recovery.BEAT) is None
                echo.sendall(answer(echo.recv(1000)))
                if right:
                    began = time.monotonic()
                    assert began <= (pulse.beat(began + process.DEADLINE, first=True) or 0) < began + process.DEADLINE
                else:
                    with pytest.raises(ConnectionError, match="not what was sent"):
                        pulse.beat(time.monotonic() + process.DEADLINE, first=True)


@pytest.fixture
def linked() -> None:
    if reason := badlink.missing():
        pytest.skip(reason)


@pytest.mark.usefixtures("linked")
def test_streams_are_right_over_a_link_that_comes_and_goes(monkeypatch: pytest.MonkeyPatch, mesh: pki.Mesh) -> None:
    monkeypatch.setattr(flaps, "UP", (0.3, 0.4))
    monkeypatch.setattr(flaps, "AWAY", (0.1, 0.2))
    monkeypatch.setattr(pki, "mesh", lambda: nullcontext(mesh))
    account, problems = flaps.run(TunnelPair, 1.0, streams=8, largest=100, loss=0.01, seed=1)
    assert problems == []
    assert account.right.total() >= 8


# The works --------------------------------------------------------------------------------------------


# One on a host and one over a link; all of them run, briefly, by `tox -e bench`.
@pytest.mark.parametrize("work", ["streams", "recovery"])
def test_a_work_is_measured(work: str, monkeypatch: pytest.MonkeyPatch, mesh: pki.Mesh) -> None:
    for pairs in ("PAIRS", "CARRYING", "OVER_A_LINK"):
        monkeypatch.setattr(tunnel, pairs, (TunnelPair,))
    monkeypatch.setattr(tunnel, "STREAMS", 20)
    monkeypatch.setattr(tunnel, "SETTLE", 0.1)
    monkeypatch.setattr(recovery, "AWAY", 0.2)
    monkeypatch.setattr(pki, "mesh", lambda: nullcontext(mesh))
    if work == "recovery" and (reason := badlink.missing()):
        pytest.skip(reason)
    (result,) = tunnel.run(Plan(rounds=1, seconds=SHORT, only=frozenset({work})))
    (figure,) = result.samples[TunnelPair.name]
    assert figure > 0


def test_what_needs_a_link_is_skipped_with_a_reason_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mesh: pki.Mesh
) -> None:
    monkeypatch.setattr(badlink, "missing", lambda: "no link here")
    monkeypatch.setattr(pki, "mesh", lambda: nullcontext(mesh))
    assert tunnel.run(Plan(rounds=1, seconds=SHORT, only=frozenset({"goodput", "recovery"}))) == []
    said = [line for line in capsys.readouterr().err.splitlines() if "link" in line]
    assert said == ["tunnel goodput skipped: no link here", "tunnel recovery skipped: no link here"]


def test_requests_that_were_alone_are_no_figure(mesh: pki.Mesh) -> None:
    """Bulk that has ended is not in the way of anything."""
    nobody = TlsPair(Site(), {"source": 7001, "sink": 7002}, mesh, CORES.proxy)
    plan = Plan(rounds=1, seconds=SHORT)
    with pytest.raises(RuntimeError, match="bulk ended"), tunnel.bulk(nobody, plan) as children:
        process.wait_until(lambda: all(child.poll() is not None for child in children), "the end of bulk")
