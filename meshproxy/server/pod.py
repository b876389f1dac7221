"""Whether a pod has done its work: the processes of its other containers have come, and are gone.

    pod = Pod()
    pod.over()                              # once a second, or oftener until it has begun

For a Job whose sidecar is a container like any other: Kubernetes waits for that to end, and the application knows
nothing of it.  It takes a pod with `shareProcessNamespace: true`, where all processes are seen.  Whoever has the same
file system is of our own container, as a worker, or a command that Kubernetes runs there; the first process is the
pod's own, which does nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
FIRST = "1"
LOOKS = 3
"""In a row that have to find nobody: a script may be between two commands."""
_DEAD = ("Z", "X")


class Pod:
    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._ours = os.readlink(proc / "self" / "ns" / "mnt")
        self._seen = False
        self._alone = 0

    @property
    def begun(self) -> bool:
        """Somebody else has been seen."""
        return self._seen

    def over(self) -> bool:
        """As of now.  Before anybody was there it has not begun."""
        if any(self._is_other(name) for name in os.listdir(self._proc) if name.isdigit() and name != FIRST):
            self._seen = True
            self._alone = 0
        elif self._seen:
            self._alone += 1
        return self._alone >= LOOKS

    def _is_other(self, name: str) -> bool:
        process = self._proc / name
        try:
            # The name of a command stands in brackets, and may have any in it.
            state = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            return state not in _DEAD and os.readlink(process / "ns" / "mnt") != self._ours
        except PermissionError:
            # Of another user; we may look at all of our own.
            return True
        except (OSError, IndexError):
            # It has ended meanwhile.
            return False
