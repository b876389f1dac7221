"""What is written has to be there after a power cut too."""

from __future__ import annotations

import os
from pathlib import Path


def sync(directory: Path) -> None:
    """The names in it, after files were renamed or removed there."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
