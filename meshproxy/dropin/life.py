"""`wait-pipy` and `gkill`: what kubelet runs in the container after it has started and before it is ended.

Both ask the proxy at its port 15000, and look for no process: in a pod whose containers share their processes there may
be several of one name.
"""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Callable, Sequence

OK, FAILED, WRONG_USAGE = 0, 1, 2
PROXY = "127.0.0.1", 15000
LONGEST_START = 120.0
"""Seconds.  Kubelet ends the container then, and starts another one: its control plane may have been gone."""
LONGEST_END = 60.0
LONGEST_ANSWER = 5.0
POLL_EVERY = 0.05


def wait_pipy(arguments: Sequence[str]) -> int:
    """Until the proxy serves its policy."""
    if arguments:
        return _wrong("wait-pipy", arguments)
    return _until(lambda: _asked("GET", "/ready") == http.client.OK, LONGEST_START, "wait-pipy: the proxy is not ready")


def gkill(arguments: Sequence[str]) -> int:
    """Make the proxy drain, and wait until it has ended."""
    if arguments:
        return _wrong("gkill", arguments)
    status = _asked("POST", "/drain")
    if status not in (None, http.client.OK):
        print(f"gkill: the proxy refuses it ({status}): its front has no `quit: true`", file=sys.stderr)
        return FAILED
    return _until(lambda: _asked("GET", "/ready") is None, LONGEST_END, "gkill: the proxy still drains")


def _asked(method: str, path: str) -> int | None:
    """The status; None: nobody answers."""
    connection = http.client.HTTPConnection(*PROXY, timeout=LONGEST_ANSWER)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _until(done: Callable[[], bool], seconds: float, complaint: str) -> int:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= end:
            print(f"{complaint} after {seconds:g} s", file=sys.stderr)
            return FAILED
        time.sleep(POLL_EVERY)
    return OK


def _wrong(name: str, arguments: Sequence[str]) -> int:
    print(f"{name}: takes no arguments, and was given {len(arguments)}", file=sys.stderr)
    return WRONG_USAGE
