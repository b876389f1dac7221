"""Who owns a socket: the cost of a message, of a GiB and of an idle connection, by engine and loop."""

from __future__ import annotations

import importlib.util
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load, pki, process, upstream
from benchmarks.harness import Plan, Result, interleave, note

IDLE = 400
PRIVATE = ("Private_Clean", "Private_Dirty")


@dataclass(frozen=True, slots=True)
class Engine:
    loop: str
    engine: str
    tls: bool

    @property
    def name(self) -> str:
        own = " + own TLS" if self.tls and self.engine != "loop-tls" else ""
        return f"{self.loop} {self.engine}{own}"


KINDS = (
    ("transport", False),
    ("readiness", False),
    ("splice", False),
    ("transport", True),
    ("readiness", True),
    ("loop-tls", True),
)


def run(plan: Plan) -> list[Result]:
    loops = ["asyncio"]
    if importlib.util.find_spec("uvloop"):
        loops.insert(0, "uvloop")
    else:
        note("uvloop skipped: not installed")
    with ExitStack() as stack:
        certificate = stack.enter_context(certified())
        ports = stack.enter_context(upstream.running(plan.cores.load))
        engines = [Engine(loop, *kind) for loop in loops for kind in KINDS if certificate or not kind[1]]
        subjects = {engine.name: engine for engine in engines}
        note(f"micro conn: {plan.rounds} rounds of {plan.seconds:g} s, twice, on {len(engines)} engines")

        def message(engine: Engine) -> float:
            with running(engine, ports["echo"], certificate, plan.cores.proxy) as (port, pid):
                sample = load.run("echo", port, [pid], plan.seconds, plan.cores.load, tls=engine.tls)
                return sample.cpu_ns / sample.work / 1e3

        def gibibyte(engine: Engine) -> float:
            with running(engine, ports["source"], certificate, plan.cores.proxy) as (port, pid):
                sample = load.run("download", port, [pid], plan.seconds, plan.cores.load, tls=engine.tls)
                return sample.cpu_ns / sample.work * 2**30 / 1e6

        def idle(engine: Engine) -> float:
            with running(engine, ports["echo"], certificate, plan.cores.proxy) as (port, pid):
                return idle_kib(port, pid, tls=engine.tls)

        return [
            Result("micro conn: 64-byte message", "CPU µs", interleave(subjects, plan.rounds, message)),
            Result("micro conn: bulk", "CPU ms/GiB", interleave(subjects, plan.rounds, gibibyte)),
            Result("micro conn: idle connection", "private KiB", interleave(subjects, 1, idle)),
        ]


def idle_kib(port: int, pid: int, *, tls: bool) -> float:
    """Private memory for each of many connections that have said one thing and are silent."""
    dial = load.dialler(port, tls=tls)
    with ExitStack() as stack:
        greet(stack.enter_context(dial()))
        before = process.memory_kib([pid], *PRIVATE)
        for _ in range(IDLE):
            greet(stack.enter_context(dial()))
        return (process.memory_kib([pid], *PRIVATE) - before) / IDLE


def greet(connection: socket.socket) -> None:
    connection.sendall(load.MESSAGE)
    left = len(load.MESSAGE)
    while left:
        got = len(connection.recv(left))
        if not got:
            raise ConnectionError("the engine closed an idle connection")
        left -= got


@contextmanager
def running(engine: Engine, upstream: int, certificate: Path | None, core: int) -> Iterator[tuple[int, int]]:
    """An engine as its own process on `core`: its port and its id.  The socket listens before the process does."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener, tempfile.TemporaryFile("w+") as log:
        descriptor = listener.fileno()
        command = process.module(
            "benchmarks.micro.conn_engines", engine.loop, engine.engine,
            "--listener", descriptor, "--upstream", upstream,
        )
        if engine.tls:
            command += ["--certificate", str(certificate)]
        child = process.start(command, core, output=log, log=log, inherit=descriptor)
        try:
            yield listener.getsockname()[1], child.pid
        except BaseException as error:
            log.seek(0)
            error.add_note(f"{engine.name}: {log.read()[-2000:]}")
            raise
        finally:
            process.end(child)


@contextmanager
def certified() -> Iterator[Path | None]:
    """A certificate and its key for as long as the run lasts; None where there is nothing to make one with."""
    if reason := pki.missing():
        note(f"TLS skipped: {reason}")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="benchmark-certificate-") as directory:
        both, certificate = Path(directory, "both.pem"), Path(directory, "certificate.pem")
        pki.made(certificate, both, pki.ECDSA, ())
        with both.open("a") as file:
            file.write(certificate.read_text())
        yield both
