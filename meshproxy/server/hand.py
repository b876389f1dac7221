"""A worker process: a worker that does what the supervisor says, and ends when that is gone."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections import defaultdict
from collections.abc import Callable, MutableSequence, Sequence
from functools import partial
from typing import Any

from meshproxy.cluster.outlier import Ejection
from meshproxy.core.buckets import Shelves
from meshproxy.core.limit import Said
from meshproxy.errors import Invalid, Problem
from meshproxy.model import Config, decode
from meshproxy.model.address import parse
from meshproxy.net.channel import Channel, Message
from meshproxy.net.clock import SWITCH_INTERVAL, LoopClock, in_slices
from meshproxy.net.collector import settling
from meshproxy.net.doors import Place, Sockets
from meshproxy.net.listener import Elsewhere
from meshproxy.observe.log import Log
from meshproxy.server.board import better_off
from meshproxy.server.ejections import ejections
from meshproxy.server.line import Line, heard
from meshproxy.server.nursery import ORPHANS_MAY_TAKE
from meshproxy.server.peer import Gone, Peer, placed
from meshproxy.server.sums import written
from meshproxy.server.taps import open_tap
from meshproxy.server.worker import Worker

READ_AT_ONCE = 16 * 1024
"""Bytes of configuration that may be read between two events of the traffic."""
TAPPED_WITHIN = 5.0


def hand(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], board: MutableSequence[int], shelves: Shelves, log: Log
) -> Callable[[socket.socket, int], None]:
    """What the nursery lets a new process do."""

    def serve(sock: socket.socket, number: int) -> None:
        async def work() -> None:
            await Hand(sock, number, board, shelves, log).run()

        sys.setswitchinterval(SWITCH_INTERVAL)
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(work())

    return serve


class Hand:
    def __init__(
        self, sock: socket.socket, number: int, board: MutableSequence[int], shelves: Shelves, log: Log
    ) -> None:
        loop = asyncio.get_running_loop()
        self._log = log
        self._board = board
        self._number = number
        self._worker = Worker(
            loop, LoopClock(loop), board, shelves, number, self._say, log, self._elsewhere, self._eject,
            self._ask_first,
        )
        self._ejected: dict[str, Ejection] = {}
        """Since the supervisor was told of any."""
        self._worker.measure_lag()
        self._worker.seconds.begin()
        self._sockets: defaultdict[Place, list[socket.socket]] = defaultdict(list)
        self._preparing = asyncio.Lock()
        self._wanted = False
        """What is being prepared has not been given up meanwhile."""
        self._taps: dict[int, Callable[[], None]] = {}
        """What closes each."""
        self._over = asyncio.Event()
        self._leaving: asyncio.Task[None] | None = None
        self._supervisor = Peer(
            Channel(loop, sock),
            {
                "sockets": self._take_sockets,
                "addresses": self._hear_of_addresses,
                "plans": lambda message: self._worker.plans(json.loads(message.body)),
                "health": self._hear_of_health,
                "ejected": self._hear_of_ejections,
                "prepare": self._prepare,
                "commit": self._commit,
                "abort": self._abort,
                "adopt": self._adopt,
                "lead_in": lambda message: self._worker.lead_in(*message.sockets),
                "limits": self._hear_of_limits,
                "stats": self._stats,
                "recent": self._recent,
                "tap": self._tap,
                "untap": self._untap,
                "history": lambda message: self._worker.seconds.told(message.fields["seconds"]),
                "ping": self._pong,
                "level": self._set_level,
                "reopen": lambda _: self._worker.reopen(),
                "drain": lambda message: self._leave(message.fields["within"]),
            },
            self._orphaned,
        )
        self._line = Line(self._supervisor)

    async def run(self) -> None:
        await self._over.wait()
        self._worker.close()
        self._supervisor.close()

    def _say(self, said: Said) -> None:
        self._line.say(said)

    def _hear_of_limits(self, message: Message) -> None:
        for said in heard(message):
            self._worker.limits.hear(said)

    def _orphaned(self) -> None:
        self._worker.limits.orphaned()
        self._leave(ORPHANS_MAY_TAKE / 2)

    # Configurations

    def _take_sockets(self, message: Message) -> None:
        for place, sock in placed(message):
            self._sockets[place].append(sock)

    async def _hear_of_addresses(self, message: Message) -> None:
        known = json.loads(message.body)
        self._worker.hear({name: tuple(addresses) for name, addresses in known.items()})

    async def _hear_of_health(self, message: Message) -> None:
        self._worker.hear_health(json.loads(message.body))

    async def _hear_of_ejections(self, message: Message) -> None:
        self._worker.hear_ejected(ejections(message.body))

    def _eject(self, key: str, ejection: Ejection) -> None:
        """Soon: where one is ejected there may be many."""
        if not self._ejected:
            asyncio.get_running_loop().call_soon(self._tell_of_ejections)
        self._ejected[key] = ejection

    def _tell_of_ejections(self) -> None:
        said, self._ejected = self._ejected, {}
        self._supervisor.tell("ejected", body=json.dumps(said).encode())

    async def _prepare(self, message: Message) -> None:
        async with self._preparing:
            self._wanted = True
            await self._prepare_it(message)
            if not self._wanted:
                self._worker.abort()

    async def _prepare_it(self, message: Message) -> None:
        def read() -> tuple[Config, dict[str, str]]:
            said = json.loads(message.body)
            return decode(Config, said["config"]), said["papers"]

        # A thread keeps a megabyte for good, and most configurations are read in a moment.
        if len(message.body) > READ_AT_ONCE:
            with settling(asyncio.get_running_loop()):
                config, papers = await asyncio.to_thread(read)
        else:
            config, papers = read()
        try:
            await self._worker.prepare(config, self._share, papers)
        except BaseException:
            self._close_unused()
            raise

    def _share(self, place: Place) -> Sockets:
        sockets = tuple(self._sockets.pop(place._replace(alone=False), ()))
        # One for datagrams that somebody else has bound is served by one worker.
        if not sockets and place.kind == socket.SOCK_STREAM:
            raise Invalid([Problem("", f"no socket has come for {place.address}")])
        return sockets

    async def _commit(self, message: Message) -> None:
        self._close_unused()
        await self._worker.commit()

    def _abort(self, message: Message) -> None:
        self._wanted = False
        self._close_unused()
        self._worker.abort()

    def _close_unused(self) -> None:
        for sockets in self._sockets.values():
            for sock in sockets:
                sock.close()
        self._sockets.clear()

    # Connections that others serve

    def _elsewhere(self, place: Place) -> Elsewhere:
        def pass_on(sock: socket.socket, peer: Any) -> bool:
            to = better_off(self._board, self._number)
            if to is None:
                return False
            # It will say so itself, unless it hangs: then it must not go on to seem the one that has the fewest.
            self._board[to] += 1
            self._worker.stats.worker.connections_passed_total += 1
            # A peer without a name has bytes for one.
            name = peer if isinstance(peer, tuple) else ""
            self._supervisor.tell("pass", to=to, place=(str(place.address), place.kind), peer=name, sockets=[sock])
            return True

        return pass_on

    def _adopt(self, message: Message) -> None:
        address, kind = message.fields["place"]
        peer = message.fields["peer"]
        (sock,) = message.sockets
        self._worker.adopt(Place(parse(address), kind), sock, tuple(peer) if isinstance(peer, list) else peer)

    def _ask_first(self, sock: socket.socket) -> None:
        self._supervisor.tell("to_first", sockets=[sock])

    # The rest

    async def _stats(self, message: Message) -> bytes:
        return await in_slices(written(await self._worker.counted()))

    async def _recent(self, message: Message) -> bytes:
        return json.dumps(self._worker.watch.shown(message.fields["most"])).encode()

    def _tap(self, message: Message) -> None:
        number = message.fields["number"]
        self._taps[number] = open_tap(self._worker.watch, message.fields["query"], partial(self._tell_tapped, number))

    def _untap(self, message: Message) -> None:
        close = self._taps.pop(message.fields["number"], None)
        if close is not None:
            close()

    async def _tell_tapped(self, number: int, lines: Sequence[bytes], lost: int) -> bool:
        body = b"\n".join(lines)
        try:
            await self._supervisor.ask("tapped", within=TAPPED_WITHIN, body=body, number=number, lost=lost)
        except (TimeoutError, Gone, Invalid):
            return False
        return True

    async def _pong(self, message: Message) -> None:
        """To answer is to be alive, and to be counted with again after a silence."""
        self._worker.show_connections()

    def _set_level(self, message: Message) -> None:
        self._log.level = message.fields["level"]

    def _leave(self, within: float) -> None:
        async def leave() -> None:
            await self._worker.drain(within)
            self._over.set()

        if self._leaving is None:
            self._leaving = asyncio.ensure_future(leave())
