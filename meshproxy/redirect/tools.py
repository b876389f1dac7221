"""The programs that change the kernel's rules, run with a time that they have to end in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from meshproxy.redirect import Refused

LONGEST = 20.0
LOCK_WAIT = 5
"""Seconds that iptables waits for another one that is at work."""
_NET_ADMIN = 12
_INSTALL = {"nft": "nftables", "ip": "iproute2"}


def require_capability() -> None:
    """Raises Refused if this process may not look at the rules, let alone change them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            if not int(line.split()[1], 16) >> _NET_ADMIN & 1:
                raise Refused(f"only root, or who has the capability NET_ADMIN, may do this; not uid {os.geteuid()}")
            return


def present(name: str) -> bool:
    return shutil.which(name) is not None


def run(*command: str, given: str = "") -> str:
    """What it prints.  Raises Refused with what it complains of."""
    done = _run(command, given)
    if done.returncode:
        raise Refused(f"{' '.join(command)}: {_complaint(done.stderr) or f'exit code {done.returncode}'}")
    return done.stdout


def asked(*command: str) -> str:
    """What it prints; nothing, if there is no such thing as it is asked for."""
    done = _run(command, "")
    return "" if done.returncode else done.stdout


def _run(command: tuple[str, ...], given: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, input=given, capture_output=True, text=True, errors="replace", timeout=LONGEST, check=False
        )
    except FileNotFoundError:
        package = _INSTALL.get(command[0], "iptables")
        raise Refused(f"{command[0]} is not here: install {package}, or choose another --backend") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"{' '.join(command)}: not done in {LONGEST:g} s") from None
    except OSError as error:
        raise Refused(f"{command[0]}: {error.strerror}") from None


def _complaint(said: str) -> str:
    """The first line that is no warning."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("#")]
    return lines[0] if lines else ""
