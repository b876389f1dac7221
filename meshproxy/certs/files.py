"""Certificates and keys on disk, under names that are always the same.

A file is written beside its place, synced, and put there as a whole; one that
exists is not replaced unless that is asked for.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from meshproxy.certs import Refused, pem
from meshproxy.certs.authority import Authority
from meshproxy.sources.durable import sync

CA, CA_KEY, REVOKED = "ca.pem", "ca.key", "crl.pem"
CERTIFICATE, KEY, REQUEST = "cert.pem", "key.pem", "csr.pem"

SECRET = (CA_KEY, KEY)
"""These are for their owner alone."""
MOST_BYTES = 1024 * 1024

Read = TypeVar("Read")


def authority(directory: Path) -> Authority:
    """The CA that is kept there."""
    chain, key = read(directory / CA, pem.certificates), read(directory / CA_KEY, pem.private_key)
    with _said_of(directory):
        return Authority(chain, key)


def read(path: Path, understood: Callable[[bytes], Read]) -> Read:
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    with _said_of(path):
        if len(data) > MOST_BYTES:
            raise Refused(f"is larger than {MOST_BYTES} bytes")
        return understood(data)


def write(directory: Path, files: Mapping[str, bytes], *, replace: bool) -> list[Path]:
    """All of them, or if it fails none where there was none before."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / name for name in files]
    taken = [path for path in paths if os.path.lexists(path)]
    if taken and not replace:
        raise Refused(f"{', '.join(map(str, taken))} would be replaced, which only --force does")
    with ExitStack() as beside, ExitStack() as undone:
        temporaries = [beside.enter_context(_temporary(directory / name, data)) for name, data in files.items()]
        for temporary, path in zip(temporaries, paths, strict=True):
            if replace:
                os.replace(temporary, path)
            else:
                # Unlike a rename, this fails if another was quicker
                os.link(temporary, path)
                undone.callback(path.unlink)
        undone.pop_all()
    sync(directory)
    return paths


@contextmanager
def _temporary(path: Path, data: bytes) -> Iterator[str]:
    """A file beside the place of this one, gone in the end if it was not moved."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600 if path.name in SECRET else 0o644)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        raise Refused(f"{path}: {refused}") from None
