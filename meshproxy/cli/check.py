"""`meshproxy check` and `meshproxy schema`: what may be said, and what is wrong with what was said.

Policy of SMI is for many workloads: unless one is named, it is checked as it is for each of them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from meshproxy.admin.reload import DEFAULT_LAYER
from meshproxy.admin.tables import text_table
from meshproxy.cli import INVALID, OK, USAGE, policy
from meshproxy.cli.policy_options import unclear
from meshproxy.cli.workload import have_papers, is_named, on_the_line, standing, with_papers
from meshproxy.dialects import for_each, workloads
from meshproxy.dialects.confined import Settings
from meshproxy.dialects.translation import Note
from meshproxy.errors import Invalid, Problem
from meshproxy.model import Config, Document, combine
from meshproxy.model.combine import bounded
from meshproxy.model.relaxed import relaxations
from meshproxy.model.shared import gathered
from meshproxy.schema import json_schema
from meshproxy.sources.files import Files

TRUSTING = {"chain": "whoever has a certificate of its CA", "off": "anybody who answers"}
"""Whom, where names are not verified."""
TAKEN = "no file says what workloads show to each other: it is taken that they can prove who they are"


@dataclass(frozen=True, slots=True)
class Checked:
    """What is right comes to this."""

    words: str
    warnings: tuple[Problem, ...]
    policy: list[policy.Row] | None = None
    """If it was asked for."""


def check(arguments: argparse.Namespace) -> int:
    if wrong := unclear(arguments):
        print(f"meshproxy: {wrong}", file=sys.stderr)
        return USAGE
    try:
        found = _checked(arguments, on_the_line(arguments, Files(arguments.files, os.environ).read()))
    except Invalid as invalid:
        if arguments.output == "json":
            print(json.dumps({"problems": [problem.as_json() for problem in invalid.problems]}, indent=1))
        else:
            for problem in invalid.problems:
                print(problem, file=sys.stderr)
        return INVALID
    if arguments.output == "json":
        said: dict[str, object] = {"problems": [], "warnings": [warning.as_json() for warning in found.warnings]}
        print(json.dumps(said if found.policy is None else {**said, "policy": found.policy}, indent=1))
    else:
        for warning in found.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        print(found.words)
        if found.policy is not None:
            print(text_table(policy.in_short(found.policy)), end="")
    return OK


def in_our_words(documents: Sequence[Document]) -> tuple[tuple[Document, ...], tuple[Note, ...]]:
    """Policy in the words of a mesh means what it means for the workloads that the other documents name."""
    ours = [document for document in documents if document.foreign is None]
    meant = for_each(documents, Settings(documents).of(DEFAULT_LAYER)).values()
    theirs = [document for found in meant for document in found.documents]
    notes = dict.fromkeys(note for found in meant for note in found.notes)
    return tuple(gathered([*ours, *theirs])), tuple(notes)


def _checked(arguments: argparse.Namespace, documents: Sequence[Document]) -> Checked:
    known = workloads(documents)
    taken = []
    if known and not have_papers(documents) and (arguments.role or not is_named(documents)):
        documents = with_papers(documents)
        taken.append(Problem("sidecar.certificate", TAKEN))
    if known and not is_named(documents):
        found = _for_each(known, documents)
        return replace(found, warnings=(*taken, *found.warnings))
    ours, notes = in_our_words(documents)
    config = combine(ours)
    warnings = [*taken, *(note.problem for note in notes)]
    warnings += [*_warnings(ours), *(_files(ours) if arguments.look_at_files else ())]
    words = f"valid: {_count(len(config.listeners), 'listener')}, {_count(len(config.clusters), 'cluster')}"
    return Checked(words, tuple(warnings), policy.rows(config) if arguments.role else None)


def _for_each(several: Sequence[str], documents: Sequence[Document]) -> Checked:
    """Of what is wrong for many, each is told once."""
    problems: dict[Problem, list[str]] = {}
    warnings: dict[Problem, list[str]] = {}
    for workload in several:
        try:
            ours, notes = in_our_words(standing(documents, *_parted(workload)))
            combine(ours)
            for warning in (*(note.problem for note in notes), *_warnings(ours)):
                warnings.setdefault(warning, []).append(workload)
        except Invalid as invalid:
            for problem in invalid.problems:
                problems.setdefault(problem, []).append(workload)
    if problems:
        raise Invalid(bounded(_for_whom(problems, len(several))))
    return Checked(f"valid for {_count(len(several), 'workload')}", tuple(_for_whom(warnings, len(several))))


def _parted(workload: str) -> tuple[str, str]:
    namespace, _, account = workload.partition("/")
    return namespace, account


def _for_whom(told: dict[Problem, list[str]], all_of_them: int) -> list[Problem]:
    found = []
    for problem, whom in told.items():
        more = f" and {len(whom) - 1} more" if len(whom) > 1 else ""
        message = problem.message if len(whom) == all_of_them else f"{problem.message} (for {whom[0]}{more})"
        found.append(Problem(problem.path, message, problem.source, problem.line))
    return found


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
