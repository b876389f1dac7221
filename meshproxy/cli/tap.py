"""`tap`: the requests of a running proxy as they end, a line for each."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from meshproxy.cli import FAILED, OK, USAGE
from meshproxy.cli.ask import Admin, told
from meshproxy.cli.tap_options import ONCE, REPEATED
from meshproxy.observe.printable import printable
from meshproxy.observe.tap import read_filter


@told
def tap(arguments: argparse.Namespace) -> int:
    query = query_of(arguments)
    try:
        limit = read_filter(query).limit
    except ValueError as why:
        print(f"meshproxy: {why}", file=sys.stderr)
        return USAGE
    shown = 0
    for event, data in Admin(arguments).events(f"/tap?{urlencode(query, doseq=True)}".rstrip("?")):
        if event == "lost":
            print(f"meshproxy: {data['count']} more are not shown: there were too many at once", file=sys.stderr)
        elif event == "exchange":
            shown += 1
            if arguments.output == "json":
                print(json.dumps(data), flush=True)
            else:
                print("\n".join(lines(data)), flush=True)
    if shown == limit:
        return OK
    print("meshproxy: the proxy has ended it", file=sys.stderr)
    return FAILED


def query_of(arguments: argparse.Namespace) -> dict[str, list[str]]:
    given = {name: getattr(arguments, name) for name in (*REPEATED, *ONCE)}
    query = {name: said if name in REPEATED else [said] for name, said in given.items() if said is not None}
    return {**query, "headers": ["1"]} if arguments.headers else query


def lines(event: dict[str, Any]) -> Iterator[str]:
    """One, and one for each field where those are shown."""
    time = event["time"].partition("T")[2].removesuffix("Z")
    where = f"{event['authority']}{event['path']}" or event["listener"]
    words = (
        time, f"{event['status'] or '-':>3}", f"{event['ms']:>9.1f}ms", f"{event['method'] or event['protocol']:<6}",
        where, ",".join(event["flags"]) or "-",
    )  # fmt: skip
    yield printable("  ".join(words))
    for sign, head in ((">", "request_headers"), ("<", "response_headers")):
        for name, value in event.get(head, ()):
            yield printable(f"    {sign} {name}: {value}")
