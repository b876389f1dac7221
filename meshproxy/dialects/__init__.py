"""Any document -> the model. Pure: bytes, a name for messages and an environment in, a `Document` out.

    document = read(data, "mesh.yaml", os.environ)
    found = translated([document], Setting.of([document]))      # policy in the words of a mesh, put in ours
    config = combine(found.documents)
    meant = for_each([document], Settings(documents).of("default"))     # the same for each of several workloads

What a policy means depends on whose proxy this is, and that may stand in another document: so it is put in our words
when all documents are at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from types import ModuleType
from typing import Any

from meshproxy.dialects import native, text, variables
from meshproxy.dialects.confined import confined
from meshproxy.dialects.trail import Lines
from meshproxy.dialects.translation import Note, Setting, Sheet, Translation
from meshproxy.errors import Invalid, Problem
from meshproxy.model import Config, Document, Foreign
from meshproxy.model.combine import bounded
from meshproxy.schema.shapes import Path

FOR_ONE = "fsm"
"""The dialect whose policy is for one workload; one of SMI is for all of a mesh."""


def read(data: bytes, source: str, environment: Mapping[str, str] | None = None) -> Document:
    """The document in the bytes, or `Invalid`. Files get an environment; without one, the text is literal, and
    cannot include files. Policy in the words of a mesh is always literal."""
    content = text.decode(text.unzipped(data, source), source)
    syntax = _syntax(content)
    values = _parsed(syntax, content, source)
    dialect = _dialect(values, source, lambda number: syntax.lines_of_all(content).of((number,)))
    if dialect is not None:
        foreign = Foreign.of(dialect, content, values)
        return Document(source, Config(), frozenset(), lambda _: None, foreign)
    value = values[0]
    if environment is not None and "${" in content:
        value = syntax.parse(content, source, variables.expander(environment))
    document = native.load(value, source, _finder(syntax, content))
    if environment is None and "include" in document.said:
        problem = document.problem(("include",), "`include` names files: it is for files only")
        raise Invalid([problem])
    return document


def translated(documents: Sequence[Document], setting: Setting) -> Translation:
    """All of them in our words: those of one dialect are one policy. `Invalid` has the problems of all dialects."""
    ours = [document for document in documents if document.foreign is None]
    found = for_each(documents, [setting])[setting]
    return Translation((*ours, *found.documents), found.notes)


def for_each(
    documents: Sequence[Document], settings: Sequence[Setting], known: Mapping[Setting, Translation] | None = None
) -> dict[Setting, Translation]:
    """What they say in other words than ours, put in ours for each setting, unless that is `known`."""
    policies = {
        dialect: [*_of(dialect, documents)]
        for dialect in dict.fromkeys(document.foreign.dialect for document in documents if document.foreign)
    }
    found = {setting: known[setting] for setting in settings if known and setting in known}
    problems: dict[Problem, None] = {}
    if len(settings) > 1 and FOR_ONE in policies:
        message = f"it is for one workload, and {len(settings)} would have it: say of one that this is its `layer`"
        raise Invalid([document.problem((), message) for document in policies[FOR_ONE]])
    sheets = {dialect: [*_sheets(theirs)] for dialect, theirs in policies.items()} if len(found) < len(settings) else {}
    for setting in settings:
        if setting not in found:
            try:
                found[setting] = _translated(policies, sheets, setting)
            except Invalid as invalid:
                problems |= dict.fromkeys(invalid.problems)
    if problems:
        raise Invalid([*problems] if len(settings) == 1 else bounded([*problems]))
    return {setting: found[setting] for setting in settings}


def _translated(
    policies: Mapping[str, Sequence[Document]], sheets: Mapping[str, Sequence[Sheet]], setting: Setting
) -> Translation:
    ours: list[Document] = []
    notes: list[Note] = []
    problems: list[Problem] = []
    for dialect, theirs in policies.items():
        source = ", ".join(dict.fromkeys(document.source for document in theirs))
        try:
            words = _dialects()[dialect].translate(sheets[dialect], setting)
            if setting.workload is not None:
                words = confined(words, setting.workload, setting.sidecar.source)
            ours.append(words.document(source, shares=setting.workload is not None))
            notes += words.notes
        except Invalid as invalid:
            problems += invalid.problems
    if problems:
        raise Invalid(problems)
    return Translation(tuple(ours), tuple(notes))


def workloads(documents: Sequence[Document]) -> list[str]:
    """`namespace/service-account` of all whose proxy a policy may be for; none, if it is for one proxy anyhow."""
    from meshproxy.dialects import smi

    return smi.workloads([*_sheets(_of("smi", documents))])


def behind(documents: Sequence[Document], namespace: str, service: str) -> set[tuple[str, str]]:
    """Namespace and service account of all who serve a service."""
    from meshproxy.dialects.smi import served

    return served.behind([*_sheets(_of("smi", documents))], namespace, service)


def _of(dialect: str, documents: Iterable[Document]) -> Iterable[Document]:
    return (document for document in documents if document.foreign and document.foreign.dialect == dialect)


def _syntax(content: str) -> ModuleType:
    """JSON where the document begins as only JSON is written: with a brace and a key in quotes."""
    brace = text.past_blanks(content, 0)
    if content.startswith("{", brace) and content.startswith(('"', "}"), text.past_blanks(content, brace + 1)):
        from meshproxy.dialects import json_text

        return json_text
    # A megabyte that a process with a JSON configuration does not need.
    from meshproxy.dialects import yaml12

    return yaml12


def _parsed(syntax: ModuleType, content: str, source: str) -> list[Any]:
    values: list[Any] = syntax.parse_all(content, source)
    said = [value for value in values if value is not None]
    if not said:
        raise text.refusal(source, "the document is empty")
    for number, value in enumerate(values):
        if value is not None and not isinstance(value, dict):
            raise text.refusal(source, "the document must be a mapping", syntax.lines_of_all(content).of((number,)))
    return values


def _dialect(values: list[Any], source: str, line_of: Callable[[int], int]) -> str | None:
    """Whose words they are; None: ours."""
    for name, module in _dialects().items():
        others = [number for number, value in enumerate(values) if value is not None and not module.recognises(value)]
        if not others:
            return name
        if len(others) < sum(value is not None for value in values):
            raise text.refusal(source, "other documents of this text are of another kind", line_of(others[0]))
    if len(values) > 1:
        raise text.refusal(source, "a second document begins; one is expected", line_of(1))
    return None


def _dialects() -> dict[str, ModuleType]:
    from meshproxy.dialects import fsm, smi

    return {"smi": smi, "fsm": fsm}


def _sheets(documents: Iterable[Document]) -> Iterable[Sheet]:
    for document in documents:
        assert document.foreign is not None
        content = document.foreign.content
        syntax = _syntax(content)
        values = document.foreign.value or syntax.parse_all(content, document.source)
        lines = cache(partial(_lines, syntax.lines_of_all, content))
        for number, value in enumerate(values):
            if value is not None:
                yield Sheet(document.source, value, partial(_line, lines, number))


def _line(lines: Callable[[], Any], number: int, path: Path) -> int:
    found: int = lines().of((number, *path))
    return found


def _finder(syntax: ModuleType, content: str) -> Callable[[Path], int]:
    """Finds the line of a path, or of the nearest one above it that stands in the text."""
    lines = cache(partial(_lines, syntax.lines, content))
    return lambda path: lines().of(path)


def _lines(marked: Callable[[str], Lines], content: str) -> Lines:
    """What a control plane writes is often all of one line, and need not be gone through again to say so."""
    return marked(content) if len(content.splitlines()) > 1 else Lines()
