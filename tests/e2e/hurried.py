"""`meshproxy`, but waiting less where it waits for a fixed time: for looks at files, for a worker that hangs.

    python -m tests.e2e.hurried '{"meshproxy.server.crew.HUNG_AFTER": 1}' run -c meshproxy.json
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

import meshproxy.cli.run  # noqa: F401 - all that serves is there, and has said what it says of these times
from meshproxy.cli import main


def hurry(seconds: dict[str, float]) -> None:
    for name, shorter in seconds.items():
        module, _, constant = name.rpartition(".")
        waiting = import_module(module)
        assert shorter < getattr(waiting, constant), name
        setattr(waiting, constant, shorter)


if __name__ == "__main__":
    hurry(json.loads(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
