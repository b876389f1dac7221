"""`pipy`: becomes a `meshproxy run` that asks the repository for its policy.

    main(["--log-level=warn", "--admin-port=6060", "http://.../"], os.environ)      # returns only if it cannot

What the injector says is put in our words once, and from there on nothing is special: the process that runs is the one
that anybody else runs, with a document that can be looked at in `/config_dump`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from meshproxy import __version__
from meshproxy.dropin.document import Data, document
from meshproxy.dropin.options import USAGE, Options, Wrong, parse_options
from meshproxy.errors import Invalid
from meshproxy.sources.files import Files

OK, WRONG_USAGE = 0, 2
STATE = "/var/lib/meshproxy"
OPERATOR = "MESHPROXY_CONFIG"
"""A file or a directory of an operator, for what the injector cannot say: `compat`, for one."""
KEPT = "sources"
"""What no operator says otherwise: it is why this process is there."""


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    if {"-v", "-version", "--version"} & {*arguments}:
        print(f"meshproxy {__version__}, in the place of Pipy")
        return OK
    if {"-h", "-help", "--help"} & {*arguments}:
        print(USAGE)
        return OK
    try:
        options = parse_options(arguments)
        said = document(options, environment, state_directory(STATE))
    except Wrong as why:
        print(f"pipy: {why}\n\n{USAGE}", file=sys.stderr)
        return WRONG_USAGE
    operator = environment.get(OPERATOR)
    if operator:
        said = without(said, operator, environment)
    return _become(run_command(options, _given(said), operator), environment)


def run_command(options: Options, document: str, operator: str | None) -> list[str]:
    command = [sys.executable, "-m", "meshproxy", "run", "-c", document, "--log-level", options.log_level]
    return [*command, "-c", operator] if operator else command


def without(said: Data, operator: str, environment: Mapping[str, str]) -> Data:
    """What an operator says of a section is all that is said of it."""
    try:
        theirs = {key for found in Files([operator], environment).read() for key in found.said}
    except Invalid:
        theirs = set()  # the process refuses it, with all that is wrong with it
    return {key: value for key, value in said.items() if key == KEPT or key not in theirs}


def state_directory(path: str) -> str | None:
    """Where the last good policy is kept over a restart of the container, if it can be."""
    try:
        Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path, os.W_OK | os.X_OK) else None


def _become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    os.execve(command[0], command, environment)  # noqa: S606 - it is this very interpreter


def _given(said: Data) -> str:
    """A file without a name, so that no secret of it stands on a disk or in a list of processes."""
    file = os.memfd_create("injector", flags=0)
    with open(file, "wb", closefd=False) as document:
        document.write(json.dumps(said).encode())
    return f"/dev/fd/{file}"
