"""`meshproxy check` and `meshproxy schema`: what may be said, and what is wrong with what was said."""

from __future__ import annotations

import argparse
import json
import os
import sys

from meshproxy.cli import INVALID, OK
from meshproxy.errors import Invalid
from meshproxy.model import Config, combine
from meshproxy.schema import json_schema
from meshproxy.sources.files import Files


def check(arguments: argparse.Namespace) -> int:
    try:
        config = combine(Files(arguments.files, os.environ).read())
    except Invalid as invalid:
        if arguments.output == "json":
            print(json.dumps({"problems": [problem.as_json() for problem in invalid.problems]}, indent=1))
        else:
            for problem in invalid.problems:
                print(problem, file=sys.stderr)
        return INVALID
    if arguments.output == "json":
        print(json.dumps({"problems": []}))
    else:
        print(f"valid: {_count(len(config.listeners), 'listener')}, {_count(len(config.clusters), 'cluster')}")
    return OK


def schema() -> int:
    print(json.dumps(json_schema(Config), indent=1))
    return OK


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
