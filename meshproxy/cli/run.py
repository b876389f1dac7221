"""`meshproxy run` and `meshproxy demo`: start a process, and say how it ended."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from meshproxy.cli import CANNOT_BIND, FAILED, INVALID, OK, USAGE
from meshproxy.errors import CannotBind, Invalid
from meshproxy.model import Config, Document
from meshproxy.model.source import is_url, sources_of
from meshproxy.net.clock import LoopClock
from meshproxy.net.doors import Doors, Inherited, place_of
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.server import systemd
from meshproxy.server.container import cpus
from meshproxy.server.fleet import Fleet, Solo
from meshproxy.server.pod import Pod
from meshproxy.server.process import Broken, Process, Setting
from meshproxy.server.systemd import Notifier
from meshproxy.sources.files import Files
from meshproxy.sources.store import Store, default_directory

HANDOVER = "handover.sock"
"""In the state directory: where a successor asks for the sockets."""


def run(arguments: argparse.Namespace) -> int:
    log = Log(level=arguments.log_level, format=arguments.log_format)
    urls = [each for each in arguments.config if is_url(each)]
    try:
        beside = [_saying(urls)] if urls else []
    except ValueError as error:
        print(f"meshproxy: {error}", file=sys.stderr)
        return USAGE
    files = Files([each for each in arguments.config if each not in urls], os.environ, beside)
    documents = _first_reading(files)
    directory = _state_directory(arguments.state_dir, documents)
    if arguments.take_over and directory is None:
        print("meshproxy: --take-over needs a state directory: the running proxy waits there", file=sys.stderr)
        return USAGE
    store = Store(directory)
    inherited = Inherited()
    try:
        for sock in systemd.inherited(os.environ):
            inherited.add(place_of(sock), sock)
        loop_factory = _loop_factory(arguments.loop)
    except Invalid as refusal:
        return _refused(refusal, FAILED)
    except ImportError:
        print("meshproxy: uvloop is not installed", file=sys.stderr)
        return USAGE
    fleet = _fleet(_workers(documents, store), loop_factory, log, inherited)
    setting = Setting(
        files,
        documents,
        store,
        log,
        Notifier(os.environ),
        inherited,
        directory / HANDOVER if directory is not None else None,
        arguments.take_over,
        Pod() if arguments.end_with_pod else None,
    )

    async def serve() -> None:
        await Process(setting, fleet).run()

    return _on_loop(serve, loop_factory)


def demo(arguments: argparse.Namespace) -> int:
    from meshproxy.demo import Demo

    return _on_loop(Demo(arguments.admin, arguments.duration).run, _loop_factory("auto"))


def _workers(documents: Callable[[], list[Document]], store: Store) -> int:
    """The number is needed before anything else begins: by what the files say, or else the last good configuration."""
    try:
        said = next((found.config.workers for found in documents() if "workers" in found.said), 1)
    except Invalid:
        last = store.last()
        layers = last.layers.values() if last is not None else ()
        said = next((layer["workers"] for layer in layers if "workers" in layer), 1)
    return cpus() if said == "auto" else said


def _fleet(
    workers: int, loop_factory: Callable[[], asyncio.AbstractEventLoop], log: Log, inherited: Inherited
) -> Callable[[ProcessStats], Fleet]:
    if workers == 1:
        return lambda stats: Solo.here(stats, log, inherited)

    from meshproxy.core.buckets import Shelves
    from meshproxy.server.board import shared_board, shared_memory
    from meshproxy.server.crew import Crew
    from meshproxy.server.hand import hand
    from meshproxy.server.nursery import Nursery

    board, shelves = shared_board(workers), Shelves(shared_memory(Shelves.SIZE))
    nursery = Nursery.begin(hand(loop_factory, board, shelves, log), inherited.sockets)
    doors = Doors(workers, inherited)
    return lambda stats: Crew(nursery, board, shelves, doors, stats, log, LoopClock(asyncio.get_running_loop()))


def _saying(urls: list[str]) -> Document:
    """What asks for policy at these addresses."""
    config = Config(sources=sources_of(urls))
    return Document("the command line", config, frozenset(("sources",)), lambda _: None)


def _first_reading(files: Files) -> Callable[[], list[Document]]:
    """The files are read before there is a place to keep what they say, for they say where that is."""
    try:
        documents = files.read()
    except Invalid as found:
        invalid = found

        def refuse() -> list[Document]:
            raise invalid

        return refuse
    return lambda: documents


def _state_directory(given: str | None, documents: Callable[[], list[Document]]) -> Path | None:
    try:
        said = [document.config.state.dir for document in documents() if document.config.state.dir]
    except Invalid:
        said = []
    if said:
        return Path(said[0])
    return Path(given) if given else default_directory(os.environ)


def _on_loop(
    work: Callable[[], Coroutine[Any, Any, None]], loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> int:
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(work())
    except Broken as broken:
        print(f"meshproxy: {broken}", file=sys.stderr)
        return FAILED
    except CannotBind as refusal:
        return _refused(refusal, CANNOT_BIND)
    except Invalid as refusal:
        return _refused(refusal, INVALID)
    except KeyboardInterrupt:
        return FAILED
    return OK


def _refused(refusal: Invalid, code: int) -> int:
    for problem in refusal.problems:
        print(problem, file=sys.stderr)
    return code


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError:
        if name == "uvloop":
            raise
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
