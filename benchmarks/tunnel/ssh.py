"""The oldest tunnel of all: `ssh -L`, many streams over one connection of TCP, with a window for each.

    with SshPair(Site(), {"echo": 7001}, mesh, core) as pair: ...

Both ends have keys of their own, which are made for it and gone afterwards.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.peers import Peer
from benchmarks.pki import Mesh
from benchmarks.tunnel.peers import Pair, Site

APART = Path("/run/sshd")
"""Where sshd wants an empty directory."""
CIPHER = "aes128-gcm@openssh.com"


class Sshd(Peer):
    name = "sshd"
    program = "sshd"
    file = "sshd_config"

    def __init__(self, address: str, port: int, keys: Path, core: int) -> None:
        super().__init__(0, core)
        self.host, self.port, self.keys = address, port, keys

    def config(self) -> str:
        said = {
            "ListenAddress": f"{self.host}:{self.port}",
            "HostKey": self.keys / "host",
            "AuthorizedKeysFile": self.keys / "user.pub",
            "Ciphers": CIPHER,
            "PermitRootLogin": "prohibit-password",
            "StrictModes": "no",
            "UsePAM": "no",
            "PidFile": "none",
            "LogLevel": "ERROR",
        }
        return "".join(f"{key} {value}\n" for key, value in said.items())

    def command(self, config: Path) -> list[str]:
        APART.mkdir(mode=0o755, exist_ok=True)
        program = shutil.which(self.program)
        assert program is not None
        return [program, "-D", "-e", "-f", str(config)]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """It leaves a process for each connection, which would wait for a client that no link leads to any more."""
        waiting = [pid for pid in self.pids if pid != self._process.pid]
        super().__exit__(kind, error, at)
        for pid in waiting:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Ssh(Peer):
    name = "ssh -L"
    program = "ssh"
    file = "ssh_config"

    def __init__(self, far: Sshd, forwarded: Mapping[int, int], core: int) -> None:
        """`forwarded` are ports beside the upstreams, by those beside the clients."""
        super().__init__(0, core)
        self.far, self.forwarded = far, forwarded
        self.port = next(iter(forwarded))

    def config(self) -> str:
        said = [
            ("HostName", self.far.host),
            ("Port", self.far.port),
            ("User", "root"),
            ("IdentityFile", self.far.keys / "user"),
            ("UserKnownHostsFile", "/dev/null"),
            ("StrictHostKeyChecking", "no"),
            ("Ciphers", CIPHER),
            ("LogLevel", "ERROR"),
            ("ExitOnForwardFailure", "yes"),
            *(("LocalForward", f"127.0.0.1:{near} 127.0.0.1:{far}") for near, far in self.forwarded.items()),
        ]
        return "Host far\n" + "".join(f"  {key} {value}\n" for key, value in said)

    def command(self, config: Path) -> list[str]:
        return ["ssh", "-N", "-F", str(config), "far"]


class SshPair(Pair):
    name = "ssh -L"
    resumes = False

    def __init__(self, site: Site, upstreams: Mapping[str, int], mesh: Mesh, core: int) -> None:
        self._keys = tempfile.TemporaryDirectory(prefix="benchmark-ssh-")
        super().__init__(site, upstreams, mesh, core)

    @classmethod
    def missing(cls) -> str | None:
        return Sshd.missing() or Ssh.missing()

    def beside_upstreams(self, core: int) -> Peer:
        return Sshd(self.site.address, self._port, Path(self._keys.name), core)

    def beside_clients(self, core: int) -> Peer:
        assert isinstance(self._far, Sshd)
        return Ssh(self._far, {self.ports[role]: port for role, port in self.upstreams.items()}, core)

    def __enter__(self) -> Self:
        for who in ("host", "user"):
            key = Path(self._keys.name, who)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        super().__exit__(kind, error, at)
        self._keys.cleanup()
