"""`meshproxy check` and `meshproxy schema`: what may be said, and what is wrong with what was said."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence

from meshproxy.cli import INVALID, OK
from meshproxy.dialects import translated
from meshproxy.dialects.translation import Note, Setting
from meshproxy.errors import Invalid, Problem
from meshproxy.model import Config, Document, combine
from meshproxy.model.relaxed import relaxations
from meshproxy.schema import json_schema
from meshproxy.sources.files import Files

TRUSTING = {"chain": "whoever has a certificate of its CA", "off": "anybody who answers"}
"""Whom, where names are not verified."""


def check(arguments: argparse.Namespace) -> int:
    try:
        documents, notes = in_our_words(Files(arguments.files, os.environ).read())
        config = combine(documents)
        warnings = [note.problem for note in notes]
        warnings += [*_warnings(documents), *(_files(documents) if arguments.look_at_files else ())]
    except Invalid as invalid:
        if arguments.output == "json":
            print(json.dumps({"problems": [problem.as_json() for problem in invalid.problems]}, indent=1))
        else:
            for problem in invalid.problems:
                print(problem, file=sys.stderr)
        return INVALID
    if arguments.output == "json":
        print(json.dumps({"problems": [], "warnings": [warning.as_json() for warning in warnings]}, indent=1))
    else:
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        print(f"valid: {_count(len(config.listeners), 'listener')}, {_count(len(config.clusters), 'cluster')}")
    return OK


def in_our_words(documents: Sequence[Document]) -> tuple[tuple[Document, ...], tuple[Note, ...]]:
    """Policy in the words of a mesh means what it means for the workload that the other documents name."""
    found = translated(documents, Setting.of(documents))
    return found.documents, found.notes


def _warnings(documents: Sequence[Document]) -> Iterator[Problem]:
    """What is allowed, and less strict than it could be."""
    for document in documents:
        for index, listener in enumerate(document.config.listeners):
            for each in relaxations(listener):
                message = f"listener `{listener.name}` is relaxed, `{each.switch}`: {each.words}"
                yield document.problem(("listeners", index, *each.path), message)
        for cluster in document.config.clusters:
            if cluster.tls is not None and cluster.tls.verify in TRUSTING:
                message = f"cluster `{cluster.name}` trusts {TRUSTING[cluster.tls.verify]}"
                yield document.problem(("clusters", cluster.name, "tls", "verify"), message)


def _files(documents: Sequence[Document]) -> list[Problem]:
    """Warnings of the files that are named, or Invalid."""
    from meshproxy.cli.papers import look

    problems, warnings = look(documents, time.time())
    if problems:
        raise Invalid(problems)
    return warnings


def schema() -> int:
    print(json.dumps(json_schema(Config), indent=1))
    return OK


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
