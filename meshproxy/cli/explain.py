"""`meshproxy explain`: which rule of a file would decide about a request, and why no other does; or whether one
workload of a mesh may ask another one, and why."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from meshproxy.admin.tables import text_table
from meshproxy.cli import INVALID, OK, USAGE
from meshproxy.cli.check import in_our_words
from meshproxy.cli.policy_options import asks_for_one
from meshproxy.errors import Invalid
from meshproxy.model import combine
from meshproxy.plan.explain import Explainer, Question, Unclear
from meshproxy.sources.files import Files

ANSWERS = {"yes": "yes", "no": "no", "partly": "partly, by who gets it"}


def explain(arguments: argparse.Namespace) -> int:
    if wrong := asks_for_one(arguments):
        print(f"meshproxy: {wrong}", file=sys.stderr)
        return USAGE
    question = Question(
        arguments.method,
        arguments.host or "",
        arguments.path,
        tuple(arguments.header),
        arguments.listener,
        arguments.table,
        arguments.identity,
        arguments.port,
    )
    try:
        documents = Files(arguments.files, os.environ).read()
        if arguments.to is None:
            answer = Explainer()(combine(in_our_words(documents)[0]), question)
            text = text_table([answer]).rstrip("\n")
        else:
            from meshproxy.cli.may import Asked, may

            *service, port = arguments.to
            answer = may(documents, Asked(arguments.from_account, (service[0], service[1]), port, question))
            text = _told(answer, question)
    except Invalid as invalid:
        for problem in invalid.problems:
            print(problem, file=sys.stderr)
        return INVALID
    except Unclear as unclear:
        print(f"meshproxy: {unclear}", file=sys.stderr)
        return USAGE
    print(json.dumps(answer, indent=1) if arguments.output == "json" else text)
    return OK


def _told(answer: dict[str, Any], question: Question) -> str:
    what = f"{question.method} {question.path} on" if answer["speaks"] == "http" else "connect to"
    lines = [f"{ANSWERS[answer['allowed']]}: {answer['from']} {what} {answer['to']}, port {answer['port']}"]
    lines.append(f"  sent as said by {answer['said']}")
    for each in answer["backends"]:
        whom = f" by service account {each['account']}, port {each['port']}" if each["account"] else ""
        verdict = "let in" if each["allowed"] == "yes" else "refused"
        lines.append(f"  {each['share']:.0%} to {each['service']}: {verdict}{whom}")
        lines += [f"    {each['why']}"] if "why" in each else []
        lines += [f"    {said}" for said in each.get("by", ())]
        lines += [f"    {other['said']}: not this {other['lacks']}" for other in each.get("others", ())]
    return "\n".join(lines)
