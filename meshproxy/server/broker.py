"""The broker beside the proxy: a process of its own, started again when it ends, and ended with the proxy.

    broker = Broker(config.broker.listen, log, clock)
    broker.start()
    broker.close()

It holds the other end of two pipes.  It ends when its standard input does, however the proxy came to its end; that it
has ended is seen by its standard output.  It begins again at once, or more and more slowly if it does not live long.
"""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys

from meshproxy.errors import Invalid, Problem
from meshproxy.model import Address
from meshproxy.net.clock import Clock, Timer
from meshproxy.observe.log import Log

STEADY_AFTER = 10.0
FIRST_BACK_OFF = 0.1
LONGEST_BACK_OFF = 10.0
ENDS_WITHIN = 2.0


class Broker:
    def __init__(self, listen: Address, log: Log, clock: Clock) -> None:
        """Raises Invalid where there is nothing to run."""
        if importlib.util.find_spec("amqtt") is None:
            message = "`broker` needs the package amqtt, which is not there: install meshproxy[broker]"
            raise Invalid([Problem("broker", message)])
        self._listen, self._log, self._clock = listen, log, clock
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._again: Timer | None = None
        self._began = 0.0
        self._back_off = 0.0

    def start(self) -> None:
        self._again = None
        self._began = self._clock.now()
        command = [sys.executable, "-m", "meshproxy.server.amqtt_process", self._listen.host, str(self._listen.port)]
        self._process = process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout
        self._loop.add_reader(process.stdout, self._hear)
        self._log.info("broker-started", pid=process.pid, address=self._listen)

    def _hear(self) -> None:
        """It says nothing, so it has ended."""
        process = self._process
        assert process
        self._let_go(process)
        status = process.wait()
        lived = self._clock.now() - self._began
        self._back_off = 0.0 if lived > STEADY_AFTER else min(max(self._back_off * 2, FIRST_BACK_OFF), LONGEST_BACK_OFF)
        self._log.error("broker-ended", pid=process.pid, status=status, again_after=self._back_off)
        self._again = self._clock.after(self._back_off, self.start)

    def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        process = self._process
        if process is not None:
            self._let_go(process)
            try:
                process.wait(ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _let_go(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        assert process.stdin
        assert process.stdout
        self._loop.remove_reader(process.stdout)
        process.stdin.close()
        process.stdout.close()
