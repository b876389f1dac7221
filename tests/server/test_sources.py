"""Sources put together: names resolved, TLS as it is said, rows without what is secret; layers know their version."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from meshproxy.admin.reload import Reloader
from meshproxy.dialects import read
from meshproxy.observe.log import Log
from meshproxy.server.sources import Sources
from meshproxy.server.tasks import Tasks
from meshproxy.sources.store import Store
from tests.conftest import World, _opened
from tests.pki import Pki

Run = Callable[[Coroutine[Any, Any, None]], None]

ONE = b'{"clusters": {"a": {"endpoints": ["127.0.0.1:1"]}}}'
TWO = b'{"clusters": {"a": {"endpoints": ["127.0.0.1:2"]}}}'


class Scene:
    """A process without its loops, and with a real fleet."""

    def __init__(self, world: World, store: Store | None = None) -> None:
        self.lines: list[str] = []
        self.world = world
        log = Log(self.lines.append, clock=world.clock.wall)
        self.log = log
        self.reloader = Reloader(world.fleet, store or Store(None), world.process, log, world.clock)

    async def begin(self, *sources: dict[str, Any]) -> Sources:
        files = json.dumps({"sources": sources}).encode()
        await self.reloader.begin(lambda: [read(files, "file", {})], "files")
        return Sources(self.reloader, self.world.fleet, self.world.process, self.log)


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what is watched are plain values
        await asyncio.sleep(0.001)


async def listening(context: ssl.SSLContext | None = None, body: bytes = ONE, fields: bytes = b"") -> int:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            head = b"HTTP/1.1 200 OK\r\netag: 1\r\n%bcontent-length: %d\r\n\r\n" % (fields, len(body))
            writer.write(head + body)
            await reader.read()
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    _opened.append(server.close)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def first_row(sources: Sources) -> dict[str, Any]:
    tasks = Tasks()
    sources.begin(tasks)
    _opened.append(tasks.cancel)
    await until(lambda: sources.states()["mesh"] != "waiting")
    found: dict[str, Any] = sources.rows()[0]
    return found


def test_a_name_is_resolved_and_a_row_keeps_secrets(run: Run, world: Callable[[], World]) -> None:
    async def scenario() -> None:
        scene = Scene(world())
        port = await listening()
        url = f"http://localhost:{port}/mesh.json?key=s3cret"
        sources = await scene.begin({"name": "mesh", "url": url, "token": "t0ken"})
        assert sources.missing == ["mesh"]
        row = await first_row(sources)
        assert row == {
            "name": "mesh",
            "url": f"http://localhost:{port}/mesh.json?...",
            "kind": "document",
            "state": "serving",
            "version": "1",
            "answered": scene.world.clock.wall(),
            "next_in": row["next_in"],
            "push": None,
            "error": None,
        }
        assert sources.missing == []
        assert scene.world.process.sources["mesh"].up == 1

    run(scenario())


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (gzip.compress(ONE), "serving"),
        (gzip.compress(ONE)[:-9], "refused"),
        (gzip.compress(bytes(64 << 20)), "refused"),
        (b"\x1f\x8b garbage", "refused"),
        (ONE, "serving"),
    ],
)
def test_what_was_packed_for_the_way_is_unpacked_within_bounds(
    run: Run, world: Callable[[], World], body: bytes, state: str
) -> None:
    async def scenario() -> None:
        scene = Scene(world())
        port = await listening(body=body, fields=b"Content-Encoding: gzip\r\n")
        row = await first_row(await scene.begin({"name": "mesh", "url": f"http://127.0.0.1:{port}/mesh.json"}))
        assert row["state"] == state
        assert (scene.reloader.refusal is not None) == (state == "refused")

    run(scenario())


def test_a_name_that_is_none_is_told(run: Run, world: Callable[[], World]) -> None:
    async def scenario() -> None:
        sources = await Scene(world()).begin({"name": "mesh", "url": f"http://{'a' * 64}.local/"})
        row = await first_row(sources)
        assert (row["state"], row["kind"]) == ("failed", "repo")
        assert row["error"].startswith("its name: ")

    run(scenario())


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({}, None),
        ({"names": ["shop/plane"]}, None),
        ({"names": ["shop/other"]}, "TLS: wrong name"),
        ({"sni": "other.local"}, "TLS: wrong name"),
        ({"sni": "other.local", "verify": "chain"}, None),
        ({"ca": "foreign"}, "TLS: unknown ca"),
        ({"ca": "foreign", "verify": "name", "sni": "localhost"}, "TLS: unknown ca"),
        ({"ca": None, "verify": "off"}, None),
    ],
)
def test_tls_is_spoken_as_it_is_said(
    run: Run, world: Callable[[], World], pki: Pki, said: dict[str, Any], error: str | None
) -> None:
    ca = pki.ca()
    roots = {"own": str(ca.root), "foreign": str(pki.ca().root), None: None}
    pair = ca.issue("shop/plane", dns=["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)

    async def scenario() -> None:
        port = await listening(context)
        tls = {**said, "ca": roots[said.get("ca", "own")]}
        row = await first_row(
            await Scene(world()).begin({"name": "mesh", "url": f"https://localhost:{port}/mesh.json", "tls": tls})
        )
        assert row["state"] == ("serving" if error is None else "failed")
        assert (row["error"] or "").startswith(error or "")

    run(scenario())


def test_what_was_kept_serves_and_its_version_is_not_known(
    run: Run, world: Callable[[], World], tmp_path: Path
) -> None:
    async def scenario() -> None:
        mesh = {"name": "mesh", "url": "http://127.0.0.1:1/mesh.json"}
        scene = Scene(world(), Store(tmp_path))
        await scene.begin(mesh)
        await scene.reloader.put("mesh", ONE, source="source mesh", revision="1")
        assert scene.reloader.revision("mesh") == "1"
        again = Scene(world(), Store(tmp_path))
        sources = await again.begin(mesh)
        assert sources.missing == []
        assert again.reloader.revision("mesh") == ""
        (cluster,) = again.reloader.config.clusters
        assert [str(endpoint.address) for endpoint in cluster.endpoints or ()] == ["127.0.0.1:1"]

    run(scenario())


def test_a_layer_keeps_its_version_through_changes_of_others_and_loses_it_with_its_words(
    run: Run, world: Callable[[], World]
) -> None:
    async def scenario() -> None:
        scene = Scene(world())
        await scene.begin()
        reloader = scene.reloader
        assert reloader.revision("mesh") is None
        await reloader.put("mesh", ONE, source="source mesh", revision="1")
        first = reloader.generation
        await reloader.put("other", ONE.replace(b'"a"', b'"b"'), source="PUT")
        assert (reloader.revision("mesh"), reloader.revision("other")) == ("1", "")
        await reloader.called("mesh", "1", "1a")
        await reloader.called("mesh", "something else", "1b")
        await reloader.called("nothing", "", "1c")
        assert reloader.revision("mesh") == "1a"
        await reloader.put("mesh", TWO, source="source mesh", revision="2")
        await reloader.put("mesh", TWO, source="source mesh", revision="3")
        assert reloader.revision("mesh") == "3"
        await reloader.rollback(first, source="POST")
        assert reloader.revision("mesh") == ""
        await reloader.put("mesh", TWO, source="PUT /config/mesh")
        assert reloader.revision("mesh") == ""

    run(scenario())
