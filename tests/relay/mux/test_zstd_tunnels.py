"""Two proxies and a tunnel between them that is compressed, from the configuration to the last byte."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from meshproxy.cli.papers import look
from meshproxy.dialects import read
from meshproxy.errors import Invalid
from meshproxy.net.clock import LoopClock
from meshproxy.net.mux.zstd import library
from meshproxy.net.tls.context import Unusable
from tests.conftest import World
from tests.pki import Ca
from tests.relay.conversation import heard
from tests.relay.mux.test_tunnels import Upstream, centre, edge, through_and_back, tunnel_of

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]
KNOWN = b"GET /api/v1/books HTTP/1.1\r\nHost: books.shop.example\r\nAccept: application/json\r\n\xff\x00\r\n" * 4


@pytest.fixture
def _zstd() -> None:
    try:
        library()
    except Unusable:
        pytest.skip("zstd is not installed")


def compressed(said: dict[str, Any], dictionary: Path | None) -> dict[str, Any]:
    known = {} if dictionary is None else {"dictionary": str(dictionary)}
    return {**said, "tunnels": {"edge-7": {**said["tunnels"]["edge-7"], "compress": "zstd", **known}}}


def carried(w: World) -> int:
    found: int = w.stats.tunnels["edge-7"].compressed_sent["carried"]
    return found


@pytest.mark.usefixtures("_zstd")
def test_what_both_know_is_carried_in_few_bytes_and_what_one_knows_is_carried_all_the_same(
    run: Run, upstream: Upstream, ca: Ca, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.write_bytes(KNOWN)
    there.write_bytes(KNOWN)

    async def scenario() -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        near, far, up, app = World(clock), World(clock), upstream(), upstream()
        await far.apply(compressed(centre(ca), there))
        host, port = far.address("tunnels")
        far_away = {"endpoints": [up.address], "via": "edge-7"}
        said = edge(ca, f"{host}:{port}", far=far_away, app={"endpoints": [app.address]})

        async def sent() -> int:
            """Of what it knows, by a stream of its own."""
            await near.until(lambda: tunnel_of(near).carriers)
            before = carried(near)
            peer = await near.connect()
            await peer.send(KNOWN)
            await heard(await up.accept(), KNOWN)
            peer.close()
            return carried(near) - before

        await near.apply(compressed(said, here))
        await near.until(lambda: tunnel_of(near).carriers)
        await through_and_back(near, far, up, app)
        assert 0 < await sent() < 32
        # >> another one at this end
        here.write_bytes(b"nothing that was ever said in a tunnel")
        await near.apply(compressed(said, here))
        assert 64 < await sent() < len(KNOWN)
        # >> and none
        await near.apply(said)
        assert await sent() == 0

    run(scenario())


@pytest.mark.usefixtures("_zstd")
def test_what_is_no_dictionary_is_refused(run: Run, ca: Ca, tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_bytes(b"few")
    said = compressed(centre(ca), words)

    async def scenario() -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        with pytest.raises(Invalid, match=r"tunnels\.edge-7\.dictionary.*is none for zstd: too short, or damaged"):
            await World(clock).apply(said)

    run(scenario())
    problems, _ = look([read(json.dumps(said).encode(), "centre.json", {})], 0.0)
    (problem,) = problems
    assert problem.message == f"`dictionary` {words} is none for zstd: too short, or damaged"


def test_without_a_library_it_is_said_what_is_needed(run: Run, ca: Ca, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("backports", "compression"):
        monkeypatch.setitem(sys.modules, name, None)

    async def scenario() -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        with pytest.raises(Invalid, match=r"tunnels\.edge-7\.compress.*needs the library backports\.zstd"):
            await World(clock).apply(compressed(centre(ca), None))

    run(scenario())
