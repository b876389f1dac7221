"""`meshproxy convert`: the same policy in the words of another mesh, and a list of what these cannot say."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from meshproxy.cli import INVALID, OK, USAGE
from meshproxy.cli.check import in_our_words
from meshproxy.cli.policy_options import unclear
from meshproxy.cli.workload import on_the_line
from meshproxy.dialects.writing import Written, write
from meshproxy.dialects.writing.in_yaml import text
from meshproxy.errors import Invalid, Problem
from meshproxy.model import Document, combine
from meshproxy.sources.files import Files


def convert(arguments: argparse.Namespace) -> int:
    if wrong := unclear(arguments):
        print(f"meshproxy: {wrong}", file=sys.stderr)
        return USAGE
    try:
        said = Files(arguments.files, os.environ).read()
        _expect(arguments.source, said)
        documents, notes = in_our_words(on_the_line(arguments, said))
        written = write(arguments.target, combine(documents), documents)
    except Invalid as invalid:
        for problem in invalid.problems:
            print(problem, file=sys.stderr)
        return INVALID
    for note in notes:
        print(note, file=sys.stderr)
    for lost in written.lost:
        print(f"lost: {lost}", file=sys.stderr)
    print(_shown(written, arguments.target, arguments.output), end="")
    return OK


def _expect(dialect: str, documents: Sequence[Document]) -> None:
    """What is said to be of one dialect must be; a file of ours may always stand beside it."""
    if dialect == "auto":
        return
    found = [(document, document.foreign.dialect if document.foreign else "native") for document in documents]
    wrong = [
        Problem("", f"this is {theirs}, not {dialect}", document.source)
        for document, theirs in found
        if theirs not in (dialect, "native")
    ]
    if not wrong and dialect not in {theirs for _, theirs in found}:
        wrong = [Problem("", f"none of the files is {dialect}")]
    if wrong:
        raise Invalid(wrong)


def _shown(written: Written, target: str, output: str) -> str:
    if output == "yaml" and target != "fsm":
        return text(written.documents)
    # Several resources are one text of JSON as the list that Kubernetes has for them.
    if target == "smi":
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": written.documents}, indent=1) + "\n"
    return json.dumps(written.documents[0], indent=1) + "\n"
