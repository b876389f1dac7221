"""gRPC as grpcio speaks it: a server that sends back what it gets, and a load of calls with one message each way.

Both are processes of their own; the load reads the proxy's CPU while it runs, as those of `benchmarks.load` do.  It has
10 calls at a time on each of 10 connections.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from queue import SimpleQueue
from subprocess import PIPE
from typing import Any

from benchmarks import process
from benchmarks.load import STALLED, Sample, measure, sampled

METHOD = "/benchmark.Echo/Unary"
MESSAGE = bytes(range(100))
CONNECTIONS, CALLS = 10, 10
# each channel has a connection of its own
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))


def missing() -> str | None:
    return None if importlib.util.find_spec("grpc") else "no grpcio (pip install 'meshproxy[bench]')"


async def serve(port: int) -> None:
    grpc: Any = importlib.import_module("grpc")

    async def echo(request: bytes, _: Any) -> bytes:
        return request

    _, service, method = METHOD.split("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(echo)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def calls(port: int) -> Generator[int, None, None]:
    """The work done since it was last asked, for ever."""
    grpc: Any = importlib.import_module("grpc")
    channels = [grpc.insecure_channel(f"127.0.0.1:{port}", OPTIONS) for _ in range(CONNECTIONS)]
    over: SimpleQueue[tuple[Any, Any]] = SimpleQueue()

    def ask(method: Any) -> None:
        call = method.future(MESSAGE, timeout=STALLED)
        call.add_done_callback(lambda done: over.put((method, done)))

    try:
        for method in [channel.unary_unary(METHOD) for channel in channels]:
            for _ in range(CALLS):
                ask(method)
        while True:
            method, done = over.get(timeout=2 * STALLED)
            if done.result() != MESSAGE:
                raise ConnectionError("not the message that was sent")
            ask(method)
            yield 1
    finally:
        for channel in channels:
            channel.close()


@contextmanager
def serving(core: int) -> Iterator[int]:
    """The port of a server as its own process on `core`."""
    port = process.free_port()
    child = process.start(process.module("benchmarks.h2.unary", "serve", "--port", port), core, output=PIPE)
    try:
        process.wait_until(lambda: process.accepts(port), "the server of gRPC")
        yield port
    finally:
        process.end(child)


def run(port: int, pids: Sequence[int], seconds: float, core: int) -> Sample:
    """The load as its own process on `core`."""
    told = ("--port", port, "--seconds", seconds, "--pids", *pids)
    return sampled(process.module("benchmarks.h2.unary", "call", *told), seconds, core)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.h2.unary", description=__doc__)
    parser.add_argument("role", choices=["serve", "call"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--pids", type=int, nargs="*", default=[], help="the proxy's processes")
    args = parser.parse_args()
    if args.role == "serve":
        asyncio.run(serve(args.port))
    else:
        with closing(calls(args.port)) as work:
            print(json.dumps(asdict(measure(work, args.pids, args.seconds))))


if __name__ == "__main__":
    main()
