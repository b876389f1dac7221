"""Sessions on the buffers that they share: each gets its own bytes, or an error, and leaves nothing for the next."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from meshproxy.model import Address
from meshproxy.net.conn import Conn
from meshproxy.net.deadlines import Deadlines
from meshproxy.net.dial import Dial, Outcome, Way
from meshproxy.net.tls import Broken, Session, TlsConn, TlsDial, secure
from meshproxy.net.tls import session as module
from meshproxy.net.tls.conn import MOST_OWED
from meshproxy.net.tls.context import Pair, Terms, client_context, server_context
from tests.conftest import FakeClock
from tests.examples import examples
from tests.pki import Pki
from tests.tls_records import ALERT, APPLICATION, FATAL, Records

Run = Callable[[Coroutine[Any, Any, None]], None]
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture
def contexts(pki: Pki) -> Contexts:
    """A server's and a client's."""
    ca = pki.ca()
    pair = ca.issue(dns=["books.shop"])
    terms = Terms(Pair(pair.certificate.read_text(), pair.key.read_text()))
    return server_context(terms, required=False), client_context(Terms(ca=ca.root.read_text()))


@pytest.fixture(params=[V12, V13], ids=["1.2", "1.3"])
def version(request: pytest.FixtureRequest, contexts: Contexts) -> ssl.TLSVersion:
    contexts[1].maximum_version = request.param
    found: ssl.TLSVersion = request.param
    return found


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    assert not module._incoming.pending
    assert not module._outgoing.pending


def shaken(contexts: Contexts) -> tuple[Session, Session]:
    """A server and a client that have heard all of each other."""
    server, client = Session(contexts[0], server=True), Session(contexts[1], name="books.shop")
    said = client.advance(b"")
    while not (server.established and client.established):
        answer = server.advance(said)
        said = client.advance(answer)
        if client.established and not server.established:
            answer = server.advance(said)
            if client.established:
                client.decipher(client.early + answer)
                client.early = b""
    return server, client


# Ends ---------------------------------------------------------------------------------------------


def test_pieces_are_deciphered_as_they_were_put_together(contexts: Contexts) -> None:
    one, other = shaken(contexts)
    pieces = [b"a", b"b" * 100, bytes(module.RECORD), b"c", bytes(3 * module.RECORD + 5), b"", b"d"]
    assert other.decipher(one.encipher_all(pieces)) == b"".join(pieces)
    assert one.encipher_all([]) == b""


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize("words", [b"", b"some last words"])
def test_who_has_ended_hears_the_end_of_the_other(contexts: Contexts, words: bytes) -> None:
    server, client = shaken(contexts)
    client.decipher(server.goodbye())
    assert client.ended
    said = (client.encipher(words) + client.encipher(b"!") if words else b"") + client.goodbye()
    assert server.decipher(said + b"what follows is nobody's") == (words + b"!" if words else b"")
    assert server.ended


@pytest.mark.usefixtures("version")
def test_what_follows_an_end_is_nobodys(contexts: Contexts) -> None:
    (server, client), (other, asking) = shaken(contexts), shaken(contexts)
    end = client.goodbye()
    assert server.decipher(end + b"junk") == b""
    assert server.ended
    assert server.decipher(b"more junk") == b""
    assert other.decipher(asking.encipher(b"hello")) == b"hello"


# What is interleaved --------------------------------------------------------------------------------


class Interleaved(RuleBasedStateMachine):
    """Many pairs of sessions.  What was said and is on its way stands in `way`, and may be cut anywhere."""

    contexts: Contexts

    @initialize()
    def begin(self) -> None:
        self.pairs = [shaken(self.contexts) for _ in range(3)]
        self.way = [([b"", b""], [b"", b""]) for _ in self.pairs]
        """For each pair and direction: what was enciphered, and what it says."""
        self.broken: set[tuple[int, int]] = set()
        self.said_goodbye: set[tuple[int, int]] = set()

    which = st.tuples(st.integers(0, 2), st.integers(0, 1))

    @rule(at=which, text=st.binary(min_size=1, max_size=40000))
    def say(self, at: tuple[int, int], text: bytes) -> None:
        pair, side = at
        if at in self.said_goodbye or at in self.broken:
            return
        self.way[pair][side][0] += self.pairs[pair][side].encipher(text)
        self.way[pair][side][1] += text

    @rule(at=which, share=st.just(1.0) | st.floats(0, 1))
    def hear(self, at: tuple[int, int], share: float) -> None:
        pair, side = at
        way, other = self.way[pair][side], (pair, 1 - side)
        session = self.pairs[pair][1 - side]
        size = round(len(way[0]) * share)
        piece, way[0] = way[0][:size], way[0][size:]
        if other in self.broken or not piece:
            return
        text = session.decipher(piece)
        assert way[1].startswith(text)
        way[1] = way[1][len(text) :]
        if session.ended:
            assert not way[0]
            assert not way[1]
            assert at in self.said_goodbye
        session.owed()

    @rule(at=which)
    def end(self, at: tuple[int, int]) -> None:
        pair, side = at
        if at not in self.said_goodbye and at not in self.broken:
            self.said_goodbye.add(at)
            self.way[pair][side][0] += self.pairs[pair][side].goodbye()

    @rule(at=which, junk=st.binary(min_size=1, max_size=64))
    def break_(self, at: tuple[int, int], junk: bytes) -> None:
        """Somebody writes between."""
        pair, side = at
        session = self.pairs[pair][side]
        if at in self.broken or session.ended:
            return
        self.broken.add(at)
        try:
            # Long enough for any record of which there was a beginning
            assert not session.decipher((b"\x17\x03\x03\x00\x40" + junk.ljust(64)) * 600)
        except Broken:
            assert session.goodbye() == b"", "who is broken says nothing any more"
        else:
            pytest.fail("it was taken for the peer's")

    @rule(pair=st.integers(0, 2))
    def begin_anew(self, pair: int) -> None:
        self.pairs[pair] = shaken(self.contexts)
        self.way[pair] = ([b"", b""], [b"", b""])
        for side in (0, 1):
            self.broken.discard((pair, side))
            self.said_goodbye.discard((pair, side))

    @rule(half=st.booleans(), junk=st.binary(max_size=80))
    def fail_to_begin(self, half: bool, junk: bytes) -> None:
        """Half a handshake, and then something else."""
        session = Session(self.contexts[0], server=True)
        if half:
            session.advance(Session(self.contexts[1], name="books.shop").advance(b""))
        try:
            session.advance(b"\x16\x03\x03\x00\x20" + junk.ljust(64, b"x"))
        except Broken:
            return
        pytest.fail("it was taken for a handshake")

    @invariant()
    def nothing_is_left(self) -> None:
        assert not module._incoming.pending
        assert not module._outgoing.pending


@pytest.mark.usefixtures("version")
def test_sessions_that_take_turns_get_their_own_bytes(contexts: Contexts) -> None:
    class Machine(Interleaved):
        pass

    Machine.contexts = contexts
    run_state_machine_as_test(
        Machine,
        settings=examples(40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)),
    )


# On connections -------------------------------------------------------------------------------------


class Told:
    """A handler that notes what it hears, and closes in the end."""

    def __init__(self, conn: Conn) -> None:
        self.conn = conn
        self.data = b""
        self.heard: list[Any] = []
        self.held = 0
        conn.handler = conn.fed_by = self
        conn.read_to(self._take)

    def _take(self, data: bytes) -> None:
        self.data += data

    def on_end(self, conn: Conn) -> None:
        self.heard.append("end")

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self.heard.append(error)
        conn.close()

    def hold(self) -> None:
        self.held += 1

    def release(self) -> None:
        self.held -= 1


def connected(contexts: Contexts) -> tuple[TlsConn, Session, socket.socket]:
    """Ours; the session of the peer, and its socket."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    server, client = shaken(contexts)
    return secure(Conn(asyncio.get_running_loop(), ours), server), client, theirs


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is watched are plain attributes
            await asyncio.sleep(0.001)


@pytest.mark.usefixtures("version")
def test_who_is_told_twice_to_go_on_has_not_lost_anything(run: Run, contexts: Contexts) -> None:
    async def scenario() -> None:
        conn, peer, sock = connected(contexts)
        told = Told(conn)
        conn.session.early = peer.encipher(b"early words")
        conn.start()
        conn.hold()
        conn.release()
        await until(lambda: told.data)
        await asyncio.sleep(0.01)
        assert told.data == b"early words"
        assert told.heard == []
        conn.close()
        sock.close()

    run(scenario())


@pytest.mark.usefixtures("version")
def test_an_end_that_comes_while_it_is_held_is_heard_when_it_is_not(run: Run, contexts: Contexts) -> None:
    async def scenario() -> None:
        conn, peer, sock = connected(contexts)
        told = Told(conn)
        conn.start()
        sock.send(peer.encipher(b"all") + peer.goodbye())

        def take(data: bytes) -> None:
            told.data += data
            conn.hold()

        conn.read_to(take)
        await until(lambda: told.data)
        sock.close()
        await asyncio.sleep(0.01)
        assert told.heard == []
        conn.release()
        await until(lambda: told.heard)
        assert told.heard == ["end"]
        conn.close()

    run(scenario())


def logged(contexts: Contexts, tmp_path: Path) -> tuple[TlsConn, Records, socket.socket]:
    """As `connected`, with the keys to write anything in the place of the client."""
    keylog = tmp_path / "keys"
    contexts[1].keylog_filename = str(keylog)
    conn, peer, sock = connected(contexts)
    cipher = peer.ssl.cipher()
    assert cipher is not None
    return conn, Records(keylog.read_text(), cipher[0]), sock


def test_who_changes_keys_and_does_not_hear_the_answers_is_not_read_for_ever(
    run: Run, contexts: Contexts, tmp_path: Path
) -> None:
    async def scenario() -> None:
        conn, records, sock = logged(contexts, tmp_path)
        told = Told(conn)
        conn.start()
        conn.write(bytes(4 << 20))
        assert conn.full
        for _ in range(50):
            sock.send(records.change_of_keys() + records.change_of_keys())
            await asyncio.sleep(0.001)
        assert conn._backlog is not None
        assert len(conn._backlog) < 4
        # As soon as it listens, it is heard again.
        sock.setblocking(True)
        sock.settimeout(0.01)
        async with asyncio.timeout(10):
            while conn.full or conn._paused:
                try:
                    await asyncio.to_thread(sock.recv, 1 << 20)
                except TimeoutError:
                    await asyncio.sleep(0)
        assert told.heard == []
        conn.close()
        sock.close()

    run(scenario())


def test_nobody_honest_changes_keys_a_hundred_times_at_once(run: Run, contexts: Contexts, tmp_path: Path) -> None:
    async def scenario() -> None:
        conn, records, sock = logged(contexts, tmp_path)
        told = Told(conn)
        sock.send(b"".join(records.change_of_keys() for _ in range(MOST_OWED // 25)) + records.of(APPLICATION, b"x"))
        conn.start()
        await until(lambda: told.heard)
        (error,) = told.heard
        assert isinstance(error, Broken)
        assert error.word == "protocol"
        assert told.data == b""
        sock.close()

    run(scenario())


def test_an_alert_breaks_its_own_connection_and_no_other(run: Run, contexts: Contexts, tmp_path: Path) -> None:
    async def scenario() -> None:
        conn, records, sock = logged(contexts, tmp_path)
        other, peer, wire = connected(contexts)
        told, quiet = Told(conn), Told(other)
        sock.send(records.of(ALERT, FATAL))
        wire.send(peer.encipher(b"hello"))
        conn.start()
        other.start()
        await until(lambda: told.heard and quiet.data)
        (error,) = told.heard
        assert isinstance(error, Broken)
        assert error.word == "alert"
        assert (quiet.data, quiet.heard) == (b"hello", [])
        other.close()
        sock.close()
        wire.close()

    run(scenario())


# Dials --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["made", "refused", "cancelled", "no session"])
def test_a_dial_leaves_nothing_for_the_collector(run: Run, contexts: Contexts, clock: FakeClock, outcome: str) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        address = Address("ipv4", *listening.getsockname())
        told: list[Any] = []
        deadlines = Deadlines(clock)

        def make(_first: bytes) -> Session:
            if outcome == "no session":
                raise Broken("cipher")
            return Session(contexts[1], name="books.shop" if outcome == "made" else "toys.shop")

        async def attempt() -> None:
            def plain(done: Callable[[Outcome], None]) -> Dial:
                return Dial(loop, clock, address, 5.0, done, Way(keepalive=False))

            dial = TlsDial(deadlines, plain, 5.0, told.append, make, lambda _: None)
            at_once = dial.begin()
            if outcome == "no session":
                assert isinstance(at_once, Broken)
                assert not told
                return
            assert at_once is None
            if outcome == "cancelled":
                dial.cancel()
                return
            sock, _ = await loop.sock_accept(listening)
            server = Session(contexts[0], server=True)
            while not told:
                with suppress(Broken):
                    await loop.sock_sendall(sock, server.advance(await loop.sock_recv(sock, 65536)))
                await asyncio.sleep(0.001)
            assert isinstance(told[0], TlsConn if outcome == "made" else Broken)
            if isinstance(told[0], TlsConn):
                told[0].close()
            told.clear()
            sock.close()

        gc.collect()
        gc.disable()
        try:
            await attempt()
            await asyncio.sleep(0.01)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = [each for each in gc.garbage if type(each).__module__.startswith("meshproxy")]
            assert not left
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert not deadlines._watched
        listening.close()

    run(scenario())
