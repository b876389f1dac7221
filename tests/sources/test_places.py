"""Documents and repositories over real sockets, in the bytes that were seen, and with all that may be wrong in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.net.clock import LoopClock
from meshproxy.sources.asking import Asked, Gone, Unanswered
from meshproxy.sources.pace import Pace
from meshproxy.sources.places import Document, Instance, Offer, Repository
from meshproxy.sources.push import Push
from tests.conftest import _opened
from tests.sources.plane import BASE, RELOAD, Plane, doing
from tests.sources.test_asking import Reach

Run = Callable[[Coroutine[Any, Any, None]], None]

WHO = Instance("6a11fe4e-0000", "books-1", 1_700_000_000.5)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b"


@pytest.fixture(autouse=True)
def asked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshproxy.sources.pace.LEAST", 0.001)


def asked(url: str) -> Asked:
    found = Asked(url, within=5.0, reach=Reach())
    _opened.append(found.close)
    return found


def repository(plane: Plane) -> Repository:
    return Repository(asked(plane.url), WHO)


# Documents


def test_a_document_is_asked_for_by_its_etag(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.commit('"7"', b"{}")
        document = Document(asked(f"{plane.url}config.json"))
        assert await document.look("") == Offer('"7"', b"{}")
        assert await document.look('"7"') is None
        assert await document.look('"7"', anew=True) == Offer('"7"', b"{}")
        plane.commit("8", b"[]")
        assert await document.look('"7"') == Offer("8", b"[]")
        assert [heard.headers.get("if-none-match") for heard in plane.asked] == [None, '"7"', None, '"7"']
        plane.version = None
        with pytest.raises(Gone):
            await document.look("8")
        await document.report("8", 0.0)
        assert not plane.statuses

    run(scenario())


def test_nothing_has_changed_is_no_answer_to_who_knows_nothing(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.raw = b"HTTP/1.1 304 Not Modified\r\n\r\n"
        with pytest.raises(Unanswered, match="304"):
            await Document(asked(plane.url)).look("")

    run(scenario())


# Repositories


def test_a_repository_is_read_by_its_manifest_and_then_asked_for_its_version(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.commit("14695981039346656037", b'{"a": 1}')
        place = repository(plane)
        assert await place.look("") == Offer("14695981039346656037", b'{"a": 1}')
        assert await place.look("14695981039346656037") is None
        plane.commit("3", b"{}")
        assert await place.look("14695981039346656037") == Offer("3", b"{}")
        assert await place.look("3", anew=True) == Offer("3", b"{}")
        asked_for = [(heard.method, heard.path.removeprefix(BASE)) for heard in plane.asked]
        whole = [("GET", ""), ("GET", "config.json")]
        assert asked_for == [*whole, ("HEAD", ""), ("HEAD", ""), *whole, *whole]
        assert plane.connections == 1

    run(scenario())


def test_a_packed_configuration_is_taken_where_there_is_no_other(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.commit("1", b"\x1f\x8b...", "config.json.gz")
        assert await repository(plane).look("") == Offer("1", b"\x1f\x8b...")
        plane.files["config.json"] = b"{}"
        assert await repository(plane).look("") == Offer("1", b"{}")

    run(scenario())


def test_a_repository_that_changes_in_between_is_read_again(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.commit("1", b"{}")
        plane.between = ["2"]
        assert await repository(plane).look("") == Offer("2", b"{}")
        plane.between = [str(number) for number in range(100)]
        with pytest.raises(Unanswered, match="changed each time"):
            await repository(plane).look("")
        assert len(plane.between) == 91

    run(scenario())


def test_files_may_have_etags_of_their_own(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.commit("1", b"{}")
        plane.etags["config.json"] = '"of the file"'
        assert await repository(plane).look("") == Offer("1", b"{}")
        assert [heard.method for heard in plane.asked] == ["GET", "GET", "HEAD"]

    run(scenario())


def test_a_date_that_changes_means_nothing(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        for second in range(3):
            plane.raw = b"HTTP/1.1 200 OK\r\netag: 7\r\ndate: Mon, 01 Jan 2024 00:00:0%d GMT\r\n\r\n" % second
            assert await repository(plane).look("7") is None

    run(scenario())


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (b"", "no list of files"),
        (b"{}", "no list of files"),
        (b"// a script\npipy()", "no list of files"),
        (b"/* a script */ pipy()", "no list of files"),
        (b"((a) => pipy())()", "no list of files"),
        (b"/main.js\n/plugins/config.json", "lists no config.json"),
        (b"/" + b"x" * (1 << 20), "more than 1 MiB"),
    ],
)
def test_what_is_no_manifest_is_told(run: Run, manifest: bytes, words: str) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.raw = OK % (len(manifest), manifest)
        with pytest.raises(Unanswered, match=words):
            await repository(plane).look("")

    run(scenario())


def test_a_file_that_is_listed_and_not_there_ends_the_look(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.commit("1", b"{}")
        place = repository(plane)
        plane._body = lambda path: b"/config.json" if path == BASE else None  # type: ignore[method-assign]
        with pytest.raises(Gone):
            await place.look("")

    run(scenario())


def test_a_report_has_all_that_is_required_of_it(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.commit("42", b"{}")
        place = repository(plane)
        await place.look("")
        await place.report("42", 1_700_000_007.25)
        assert plane.statuses == [
            {
                "timestamp": 1_700_000_007_250,
                "since": 1_700_000_000_500,
                "uuid": "6a11fe4e-0000",
                "name": "books-1",
                "ip": "127.0.0.1",
                "version": "42",
                "modules": {},
                "logs": [],
            }
        ]
        assert plane.asked[-1].headers["content-type"] == "application/json"

    run(scenario())


# What is said at once


class Listening:
    """A push, and how often it has been told something."""

    def __init__(self, plane: Plane) -> None:
        self.calls = 0
        clock = LoopClock(asyncio.get_running_loop())
        pace = Pace(clock, lambda: 0.001)
        self.push = Push(asked(plane.url), f"{BASE}6a11fe4e-0000", self._told, clock, pace)

    def _told(self) -> None:
        self.calls += 1


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what is watched are plain values
        await asyncio.sleep(0.001)


def test_reload_is_heard_and_pings_are_answered(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        listening = Listening(plane)
        async with doing(listening.push.run()):
            await until(lambda: plane.listening)
            assert plane.asked[0].path == f"{BASE}6a11fe4e-0000"
            plane.push(b"\x81\x07metrics" + RELOAD + b"\x89\x02hi" + b"\x82\x06reload" + RELOAD)
            await until(lambda: listening.calls == 2)
            assert listening.push.connected
            await until(lambda: plane.heard_frames)
            pong = plane.heard_frames[0]
            mask, data = pong[2:6], pong[6:]
            assert pong[:2] == b"\x8a\x82"
            assert bytes(byte ^ mask[place] for place, byte in enumerate(data)) == b"hi"

    run(scenario())


@pytest.mark.parametrize(
    "frames",
    [
        b"\x88\x02\x03\xe8",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x81\x86maskreload",
        b"\x81\x7f" + b"\xff" * 8,
        b"\x81\x01\xff",
    ],
)
def test_a_websocket_that_breaks_is_opened_again(run: Run, frames: bytes) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        listening = Listening(plane)
        async with doing(listening.push.run()):
            for number in range(1, 4):
                await until(lambda number=number: len(plane.asked) == number and plane.listening)  # type: ignore[misc]
                plane.push(frames)
            await until(lambda: len(plane.asked) == 4 and plane.listening)
            plane.push(RELOAD)
            await until(lambda: listening.calls == 1)

    run(scenario())


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + RELOAD,
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" + RELOAD,
        b"garbage",
        b"",
    ],
)
def test_who_speaks_no_websocket_is_not_believed_and_asked_again_later(run: Run, raw: bytes) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.speaks_websocket, plane.raw = False, raw
        listening = Listening(plane)
        async with doing(listening.push.run()):
            await until(lambda: len(plane.asked) >= 3)
            assert not listening.push.connected
            plane.speaks_websocket = True
            await until(lambda: plane.listening)
            assert listening.calls == 0

    run(scenario())
