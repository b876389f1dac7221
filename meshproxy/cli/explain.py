"""`meshproxy explain`: which rule of a file would decide about a request, and why no other does."""

from __future__ import annotations

import argparse
import json
import os
import sys

from meshproxy.admin.tables import text_table
from meshproxy.cli import INVALID, OK, USAGE
from meshproxy.cli.check import in_our_words
from meshproxy.errors import Invalid
from meshproxy.model import combine
from meshproxy.plan.explain import Explainer, Question, Unclear
from meshproxy.sources.files import Files


def explain(arguments: argparse.Namespace) -> int:
    question = Question(
        arguments.method,
        arguments.host,
        arguments.path,
        tuple(arguments.header),
        arguments.listener,
        arguments.table,
        arguments.identity,
    )
    try:
        documents, _ = in_our_words(Files(arguments.files, os.environ).read())
        answer = Explainer()(combine(documents), question)
    except Invalid as invalid:
        for problem in invalid.problems:
            print(problem, file=sys.stderr)
        return INVALID
    except Unclear as unclear:
        print(f"meshproxy: {unclear}", file=sys.stderr)
        return USAGE
    print(json.dumps(answer, indent=1) if arguments.output == "json" else text_table([answer]).rstrip("\n"))
    return OK
