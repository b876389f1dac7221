"""`meshproxy` that waits less where it waits for a fixed time: for looks at files, for a worker that hangs.

    hurry({"meshproxy.server.crew.HUNG_AFTER": 1})     # before it begins
"""

from __future__ import annotations

from importlib import import_module

import meshproxy.cli.run  # noqa: F401 - all that serves is there, and has said what it says of these times


def hurry(seconds: dict[str, float]) -> None:
    for name, shorter in seconds.items():
        module, _, constant = name.rpartition(".")
        waiting = import_module(module)
        assert shorter < getattr(waiting, constant), name
        setattr(waiting, constant, shorter)
