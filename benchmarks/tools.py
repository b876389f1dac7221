"""The loads that everybody knows, wrk, ab and curl, and openssl: run on one core, and read for what they did.

What failed is not work: a run with one refused, broken or unexpected answer is an error and no figure.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from subprocess import PIPE

from benchmarks import process

PATIENCE = 20.0
"""Seconds beyond those asked for."""
TIMED_OUT = 28
"""curl's word for having been told to stop."""


class LoadFailed(RuntimeError):
    """What a tool did cannot be counted."""


@dataclass(frozen=True, slots=True)
class Wrk:
    requests: int
    per_second: float


def missing(tool: str) -> str | None:
    return None if shutil.which(tool) else f"no `{tool}` on this machine"


def versions() -> dict[str, str]:
    """Of those that are here."""
    asked = {
        "wrk": ("-v", r"^wrk (?:\w+/)?(\S+)"),
        "ab": ("-V", r"Version (\S+)"),
        "curl": ("-V", r"^curl (\S+)"),
        "openssl": ("version", r"^OpenSSL (\S+)"),
    }
    found = {}
    for tool, (flag, pattern) in asked.items():
        if not missing(tool):
            answer = subprocess.run([tool, flag], stdin=subprocess.DEVNULL, capture_output=True, text=True)
            said = re.search(pattern, answer.stdout + answer.stderr)
            found[tool] = said[1] if said else "unknown"
    return found


def wrk(url: str, seconds: float, core: int, *options: str) -> Wrk:
    """For whole seconds, since it knows no others."""
    return read_wrk(output(["wrk", *options, f"-d{ceil(seconds)}", url], seconds, core))


def ab(url: str, seconds: float, core: int, requests: int) -> int:
    """As many requests as fit into whole seconds, each on a connection of its own, but no more than `requests`."""
    # -t sets -n, so -n comes after
    return read_ab(output(["ab", "-q", "-c", "10", "-t", str(ceil(seconds)), "-n", str(requests), url], seconds, core))


def curl(url: str, seconds: float, core: int, *options: str) -> int:
    """The bytes of one download, or of as much of it as came in time."""
    told = ("-s", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", "-m", f"{seconds:f}")
    return read_curl(output(["curl", *options, *told, url], seconds, core, (0, TIMED_OUT)))


def handshake(port: int, ca: Path, core: int) -> str:
    """What a client that lets the server choose agrees on with it: version, cipher and key exchange."""
    command = ("s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(ca), "-verify_ip", "127.0.0.1")
    return read_handshake(output(["openssl", *command, "-verify_return_error"], 0, core))


def read_wrk(text: str) -> Wrk:
    if found := re.search(r"^ +Socket errors: .*|^ +Non-2xx or 3xx responses: .*", text, re.MULTILINE):
        raise LoadFailed(f"wrk: {found[0].strip()}")
    done = re.search(r"^ +(\d+) requests in ", text, re.MULTILINE)
    rate = re.search(r"^Requests/sec: +([\d.]+)$", text, re.MULTILINE)
    if not done or not rate or not int(done[1]):
        raise LoadFailed(f"wrk did nothing: {text.strip()[-200:]}")
    return Wrk(int(done[1]), float(rate[1]))


def read_ab(text: str) -> int:
    counts = dict(re.findall(r"^(Complete requests|Failed requests|Non-2xx responses): +(\d+)$", text, re.MULTILINE))
    failed = int(counts.get("Failed requests", 0)) + int(counts.get("Non-2xx responses", 0))
    done = int(counts.get("Complete requests", 0))
    if failed or not done:
        raise LoadFailed(f"ab: {failed} of {done} requests failed")
    return done


def read_curl(text: str) -> int:
    status, _, size = text.partition(" ")
    if status != "200" or not int(size):
        raise LoadFailed(f"curl: status {status}, {size} bytes")
    return int(size)


def read_handshake(text: str) -> str:
    cipher = re.search(r"^New, (\S+), Cipher is (\S+)$", text, re.MULTILINE)
    group = re.search(r"^(?:\w+ Temp Key|Negotiated TLS1.3 group): (\w+)", text, re.MULTILINE)
    if not cipher or not group:
        raise LoadFailed(f"openssl: no handshake: {text.strip()[-200:]}")
    return f"{cipher[1]} {cipher[2]} {group[1]}"


def output(command: Sequence[str], seconds: float, core: int, good: Sequence[int] = (0,)) -> str:
    child = process.start(command, core, output=PIPE, log=PIPE)
    try:
        said, complaint = child.communicate(timeout=seconds + PATIENCE)
    finally:
        process.end(child)
    if child.returncode not in good:
        raise LoadFailed(f"{command[0]} ended with {child.returncode}: {complaint.strip()[-200:]}")
    return said
