"""What workers have counted: on its way to the supervisor, and added up there, never much of it at a time.

    body = await in_slices(written(snapshot))       # in the worker: a line for each listener, cluster and so on
    await in_slices(added(total, body))             # in the supervisor

To read or write JSON is one call, during which nothing else happens in the process; of all that a worker has counted
it would be a long one.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import Any

from meshproxy.observe.exposition import add

Snapshot = Mapping[str, Mapping[str, Any]]


def written(snapshot: Snapshot) -> Generator[None, None, bytes]:
    lines = []
    for kind, named in snapshot.items():
        for name, counted in named.items():
            lines.append(json.dumps((kind, name, counted), separators=(",", ":")))
            yield
    return "\n".join(lines).encode()


def added(total: dict[str, Any], body: bytes) -> Generator[None, None, None]:
    for line in body.splitlines():
        kind, name, counted = json.loads(line)
        named = total[kind]
        if name in named:
            add(named, {name: counted})
        else:
            named[name] = counted
        yield


def added_where_served(total: dict[str, Any], departed: Snapshot) -> Generator[None, None, None]:
    """What those have counted who are gone, of that which still has a name."""
    for kind, named in departed.items():
        for name, counted in named.items():
            if name in total[kind]:
                add(total[kind], {name: _within(counted, total[kind][name])})
            yield


def _within(counted: Any, served: Any) -> Any:
    if not isinstance(counted, dict):
        return counted
    return {name: _within(held, served[name]) for name, held in counted.items() if name in served}
