"""Certificates, keys, lists, users and dictionaries, read from the files that a configuration names.

    known = marks(["web.pem", "web.key"])
    texts = read([*uses(config)], fault)        # {"web.pem": "-----BEGIN ...", ...}: each file once
    marks(known) == known                       # as long as nobody has touched any of them

A path leads from the directory in which the process works, and links are followed: a Kubernetes Secret is a link into
a directory that is swapped.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from meshproxy.core.papers import Fault
from meshproxy.model.papers import ROLES, Use
from meshproxy.sources.regular import open_regular

LARGEST_PAPER = 1 << 20
LARGEST_USERS = 16 << 20
"""A hundred thousand of them."""
MOST_BYTES = 32 << 20
"""Of all of them together: every worker is told all that is in them."""


def marks(paths: Iterable[str]) -> dict[str, object]:
    """Equal as long as nobody has touched a file, nor who may read it."""
    return {path: _mark(path) for path in paths}


def _mark(path: str) -> object:
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        return str(error)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def read(uses: Iterable[Use], fault: Fault) -> dict[str, str]:
    """What cannot be read is told to `fault`, at the first place that names it, and has no text."""
    first: dict[str, Use] = {}
    for use in uses:
        if use.file is not None:
            first.setdefault(use.file, use)
    texts: dict[str, str] = {}
    total = 0
    for path, use in first.items():
        largest = LARGEST_USERS if use.role == "users" else LARGEST_PAPER
        try:
            with open_regular(Path(path)) as file:
                data = file.read(largest + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            fault(use, f"cannot be read: {reason or error}")
            continue
        total += len(data)
        if len(data) > largest:
            fault(use, f"has more than {largest >> 20} MiB")
        elif total > MOST_BYTES:
            fault(use, f"is too much: all files together have more than {MOST_BYTES >> 20} MiB")
            break
        else:
            # All of PEM is ASCII, but words beside it need not be. Users have names in all scripts, and a secret or a
            # dictionary is any bytes, of which none may be lost.
            exact = use.role not in ROLES
            texts[path] = data.decode("utf-8", "surrogateescape") if exact else data.decode("ascii", "backslashreplace")
    return texts
