"""Messages between processes: what arrives, what is bounded, and what happens where there is no room."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from meshproxy.net.channel import MOST_WAITING, Channel, Message, pair

Run = Callable[[Coroutine[Any, Any, None]], None]


class Ends:
    """A channel and its other end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = pair()
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self.closed = 0
        self.here, self.there = Channel(loop, ours), Channel(loop, theirs)
        self.here.open(lambda _: None, self._count)
        self.raw = theirs

    def _count(self) -> None:
        self.closed += 1

    def listen(self) -> None:
        self.there.open(self.heard.put_nowait, self._count)

    def close(self) -> None:
        self.here.close()
        self.there.close()


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_fields_bodies_and_sockets_arrive_as_they_were_sent(run: Run) -> None:
    async def scenario() -> None:
        ends = Ends()
        ends.listen()
        large = os.urandom(1_000_000)
        with socket.create_server(("127.0.0.1", 0)) as sock:
            name = sock.getsockname()
            ends.here.send("small", body=b"\x00\xff", number=7)
            ends.here.send("large", body=large)
            ends.here.send("socket", sockets=[sock.dup()])
        small, whole, given = [await ends.heard.get() for _ in range(3)]
        assert (small.kind, small.fields, small.body) == ("small", {"number": 7}, b"\x00\xff")
        assert whole.body == large
        assert given.sockets[0].getsockname() == name
        assert given.sockets[0].gettimeout() == 0
        given.sockets[0].close()
        ends.close()

    run(scenario())


def test_where_there_is_no_room_for_a_descriptor_the_message_says_so_and_the_channel_lives(run: Run) -> None:
    async def scenario() -> None:
        ends = Ends()
        ends.listen()
        ours, theirs = socket.socketpair()
        ends.here.send("socket", sockets=[theirs], number=1)
        spare = [os.dup(ours.fileno()) for _ in range(2)]
        with no_descriptors_left():
            cut = await ends.heard.get()
        assert (cut.kind, cut.fields, cut.sockets, cut.cut) == ("socket", {"number": 1}, (), True)
        ends.here.send("next")
        assert (await ends.heard.get()).kind == "next"
        for descriptor in spare:
            os.close(descriptor)
        ours.close()
        ends.close()

    run(scenario())


def test_who_leaves_too_much_unread_is_given_up_but_not_in_the_middle_of_a_send(run: Run) -> None:
    async def scenario() -> None:
        ends = Ends()
        for _ in range(MOST_WAITING * 4):
            ends.here.send("more")
        assert ends.closed == 0
        while not ends.closed:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert ends.here.send("late") is False
        assert ends.closed == 1
        ends.raw.close()

    run(scenario())


def test_what_is_no_message_ends_the_channel(run: Run) -> None:
    async def scenario() -> None:
        ends = Ends()
        ends.raw.send(b"[1, 2]")
        while not ends.closed:  # noqa: ASYNC110
            await asyncio.sleep(0)
        ends.raw.close()

    run(scenario())


def test_a_peer_to_which_something_could_not_be_said_is_given_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        ends = Ends()
        no_room = OSError(errno.ENOBUFS, "no buffer space")

        def send_fds(*_: Any) -> int:
            raise no_room

        monkeypatch.setattr(socket, "send_fds", send_fds)
        ends.here.send("first")
        async with asyncio.timeout(5):
            while not ends.closed:  # noqa: ASYNC110 - what is watched is a plain integer
                await asyncio.sleep(0)
        assert ends.here.closed
        ends.close()

    run(scenario())
