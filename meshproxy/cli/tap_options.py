"""What `tap` may be told: the words of the query of `/tap`.  Nothing is imported that only who taps needs."""

from __future__ import annotations

import argparse

REPEATED = {
    "listener": ("NAME", "of this listener"),
    "route": ("NAME", "of this rule; empty: where none was found"),
    "cluster": ("NAME", "that this cluster was asked for; empty: where none was"),
    "method": ("METHOD", "with this method"),
    "path": ("PREFIX", "with a path that begins like this"),
    "status": ("STATUS", "that were answered with 503, 5xx or 400-499"),
    "identity": ("ID", "of clients with this identity; empty: of those with none"),
}
ONCE = {
    "slower": ("DURATION", "that took as long or longer"),
    "share": ("SHARE", "only this share of them, drawn by lot, such as 0.1"),
    "limit": ("N", "end after so many"),
}


def add(command: argparse.ArgumentParser) -> None:
    for name, (value, what) in REPEATED.items():
        command.add_argument(f"--{name}", action="append", metavar=value, help=f"{what}; may be repeated")
    for name, (value, what) in ONCE.items():
        command.add_argument(f"--{name}", metavar=value, help=what)
    command.add_argument("--headers", action="store_true", help="show the fields of request and answer too")
    command.add_argument("-o", "--output", default="text", choices=("text", "json"))
