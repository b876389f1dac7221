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
from meshproxy.model import Document
from meshproxy.observe.log import Log
from meshproxy.server.fleet import Solo
from meshproxy.server.process import Process
from meshproxy.sources.files import Files
from meshproxy.sources.store import Store, default_directory


def run(arguments: argparse.Namespace) -> int:
    log = Log(level=arguments.log_level, format=arguments.log_format)
    files = Files(arguments.config, os.environ)
    documents = _first_reading(files)
    store = Store(_state_directory(arguments.state_dir, documents))

    async def serve() -> None:
        await Process(files, documents, store, log, Solo.here()).run()

    return _on_loop(serve, arguments.loop)


def demo(arguments: argparse.Namespace) -> int:
    from meshproxy.demo import Demo

    return _on_loop(Demo(arguments.admin, arguments.duration).run, "auto")


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


def _on_loop(work: Callable[[], Coroutine[Any, Any, None]], loop: str) -> int:
    try:
        factory = _loop_factory(loop)
    except ImportError:
        print("meshproxy: uvloop is not installed", file=sys.stderr)
        return USAGE
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(work())
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
