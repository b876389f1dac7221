"""The loads that everybody knows, wrk, ab, h2load and curl, and openssl: run on one core, and read for what they did.

What failed is not work: a run with one refused, broken or unexpected answer is an error and no figure.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
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


@dataclass(frozen=True, slots=True)
class H2load:
    requests: int
    data: int
    """Bytes of bodies, of those too that were under way when the time was over."""


def missing(tool: str) -> str | None:
    return None if shutil.which(tool) else f"no `{tool}` on this machine"


def versions() -> dict[str, str]:
    """Of those that are here."""
    asked = {
        "wrk": ("-v", r"^wrk (?:\w+/)?(\S+)"),
        "ab": ("-V", r"Version (\S+)"),
        "h2load": ("--version", r"nghttp2/(\S+)"),
        "nghttpx": ("--version", r"nghttp2/(\S+)"),
        "curl": ("-V", r"^curl (\S+)"),
        "mosquitto": ("-h", r"^mosquitto version (\S+)"),
        "openssl": ("version", r"^OpenSSL (\S+)"),
    }
    found = {}
    for tool, (flag, pattern) in asked.items():
        if not missing(tool):
            answer = subprocess.run([tool, flag], stdin=subprocess.DEVNULL, capture_output=True, text=True)
            said = re.search(pattern, answer.stdout + answer.stderr)
            found[tool] = said[1] if said else "unknown"
    return found


def wrk(url: str, seconds: float, core: int, *options: str, told: Sequence[str] = ()) -> Wrk:
    """For whole seconds, since it knows no others.  `told` is for its script."""
    return read_wrk(output(["wrk", *options, f"-d{ceil(seconds)}", url, "--", *told], seconds, core))


def ab(url: str, seconds: float, core: int, requests: int) -> int:
    """As many requests as fit into whole seconds, each on a connection of its own, but no more than `requests`."""
    # -t sets -n, so -n comes after
    return read_ab(output(["ab", "-q", "-c", "10", "-t", str(ceil(seconds)), "-n", str(requests), url], seconds, core))


def h2load(url: str, seconds: float, core: int, *each: Sequence[str]) -> list[H2load]:
    """As many at once as there are lists of options; where those name a file of URIs, `url` says whom to ask.

    For whole seconds: one that is still connecting when its time is over never ends.
    """
    told = (f"-D{ceil(seconds)}",)
    commands = [["h2load", *options, *told, *((f"-B{url}",) if "-i" in options else (url,))] for options in each]
    return [read_h2load(said) for said in outputs(commands, seconds, core)]


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


def read_h2load(text: str) -> H2load:
    counted = r"^requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout$"
    counts = re.search(counted, text, re.MULTILINE)
    data = re.search(r"^traffic: .* \((\d+)\) data$", text, re.MULTILINE)
    if not counts or not data or not int(counts[1]) or any(map(int, counts.groups()[1:])):
        raise LoadFailed(f"h2load: {counts[0] if counts else text.strip()[-200:]}")
    return H2load(int(counts[1]), int(data[1]))


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
    return outputs([command], seconds, core, good)[0]


def outputs(commands: Sequence[Sequence[str]], seconds: float, core: int, good: Sequence[int] = (0,)) -> list[str]:
    """Of all of them, which run at once."""
    with ExitStack() as stack:
        children = []
        for command in commands:
            children.append(process.start(command, core, output=PIPE, log=PIPE))
            stack.callback(process.end, children[-1])
        said = []
        for child, command in zip(children, commands, strict=True):
            answer, complaint = child.communicate(timeout=seconds + PATIENCE)
            if child.returncode not in good:
                raise LoadFailed(f"{command[0]} ended with {child.returncode}: {complaint.strip()[-200:]}")
            said.append(answer)
    return said
