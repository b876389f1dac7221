"""`meshproxy inject`: manifests in, the same with proxies in their pods out; nobody is asked."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from typing import Any

from meshproxy.cli import INVALID, OK
from meshproxy.dialects.text import LARGEST_DOCUMENT, refusal
from meshproxy.errors import Invalid, Problem
from meshproxy.inject.options import Options
from meshproxy.inject.stream import Done, Stream, joined

MOST_FILES = 256


def inject(arguments: argparse.Namespace) -> int:
    said = {field.name: getattr(arguments, field.name, None) for field in fields(Options)}
    options = Options(**{name: value for name, value in said.items() if value is not None})
    problems: list[Problem] = []
    done: list[Done] = []
    if len(arguments.files) > MOST_FILES:
        problems.append(Problem("", f"{len(arguments.files)} files; at most {MOST_FILES} are accepted"))
        arguments.files = []
    for file in arguments.files:
        try:
            done.append(_read(file).injected(options))
        except Invalid as invalid:
            problems += invalid.problems
    for warning in (warning for each in done for warning in each.warnings):
        print(f"warning: {warning}", file=sys.stderr)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return INVALID
    print(joined([each.text for each in done]) if arguments.output == "yaml" else _json(done), end="")
    return OK


def _read(file: str) -> Stream:
    name = "stdin" if file == "-" else file
    try:
        if file == "-":
            return Stream.of(sys.stdin.buffer.read(LARGEST_DOCUMENT + 1), name)
        with open(file, "rb") as opened:
            return Stream.of(opened.read(LARGEST_DOCUMENT + 1), name)
    except OSError as error:
        raise refusal(name, f"cannot be read: {error.strerror}") from None


def _json(done: list[Done]) -> str:
    """Several manifests are one text of JSON as the list that Kubernetes has for them."""
    values: list[Any] = [value for each in done for value in each.values]
    whole = values[0] if len(values) == 1 else {"apiVersion": "v1", "kind": "List", "items": values}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
