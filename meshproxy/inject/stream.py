"""A text with several manifests: what is injected is written anew, and everything else stays as it was written.

    stream = Stream.of(data, "app.yaml")
    done = stream.injected(Options())
    done.text               # YAML
    done.values             # the same as values

Comments within a manifest that is written anew are lost, except those at its head.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from meshproxy.dialects import text
from meshproxy.dialects.trail import Lines
from meshproxy.dialects.writing import in_yaml
from meshproxy.dialects.yaml12 import located
from meshproxy.errors import Invalid, Problem
from meshproxy.inject.findings import Findings
from meshproxy.inject.manifests import inject
from meshproxy.inject.options import Options
from meshproxy.inject.scalars import plain
from meshproxy.model.combine import bounded
from meshproxy.schema.shapes import Path, path_text

LONGEST = 2 * 1024 * 1024
"""Characters in one string: a ConfigMap may hold a file of a mebibyte."""
MOST_DOCUMENTS = 4096
MARKER = "---"


@dataclass(frozen=True, slots=True)
class Done:
    text: str
    values: list[Any]
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Stream:
    source: str
    values: list[Any]
    written: list[str]
    """Each as it was written, with the line that begins it, if there is one."""
    lines: Lines

    @classmethod
    def of(cls, data: bytes, source: str) -> Stream:
        """Or Invalid."""
        content = text.decode(data, source)
        values, lines = located(content, source, plain, LONGEST)
        if len(values) > MOST_DOCUMENTS:
            raise text.refusal(source, f"{len(values)} documents; at most {MOST_DOCUMENTS} are accepted")
        return cls(source, values, [*_parted(content, source, lines, len(values))], lines)

    def injected(self, options: Options) -> Done:
        """Or Invalid, with everything that is wrong."""
        findings = Findings(self._told)
        values = [
            inject(self._mapping(number, value), (number,), options, findings) if value is not None else None
            for number, value in enumerate(self.values)
        ]
        written = [*self.written]
        for number, (before, after) in enumerate(zip(self.values, values, strict=True)):
            # Not only equal: the order of keys is how somebody wants to read it.
            if json.dumps(before) != json.dumps(after):
                self._expect_no_merge(number, before, findings)
                written[number] = _head(self.written[number]) + in_yaml.text([after])
        if findings.problems:
            raise Invalid(bounded(findings.problems))
        return Done("".join(written), [value for value in values if value is not None], tuple(findings.warnings))

    def _told(self, path: Path, words: str) -> Problem:
        """The number of the document is in the line, if anywhere."""
        return Problem(path_text(path[1:]), words, self.source, self.lines.of(path))

    def _mapping(self, number: int, value: Any) -> Any:
        if not isinstance(value, dict):
            raise Invalid([self._told((number,), "a manifest must be a mapping")])
        return value

    def _expect_no_merge(self, number: int, value: Any, findings: Findings) -> None:
        for path in _merges(value, (number,)):
            findings.wrong(path, "`<<` is not read: write out what it stands for")


def joined(texts: list[str]) -> str:
    """Several streams as one."""
    whole = ""
    for each in texts:
        whole += each if not whole or each.startswith(MARKER) else f"{MARKER}\n{each}"
    return whole


def _parted(content: str, source: str, lines: Lines, number: int) -> Iterator[str]:
    """The text of each document, which ends where the next one begins."""
    written = content.splitlines(keepends=True) if content.endswith("\n") else f"{content}\n".splitlines(keepends=True)
    starts = [lines.top.below[index].line - 1 for index in range(number)]
    for index, start in enumerate(starts):
        if index and not written[start].startswith(MARKER):
            raise text.refusal(source, f"a document after the first one must begin with {MARKER}", start + 1)
        yield "".join(written[start if index else 0 : starts[index + 1] if index + 1 < number else None])


def _head(written: str) -> str:
    """The marker and the comments with which a manifest begins."""
    head = ""
    for line in written.splitlines(keepends=True):
        if line.startswith(MARKER):
            head += line if line.removeprefix(MARKER).lstrip()[:1] in ("", "#") else f"{MARKER}\n"
        elif line.lstrip()[:1] in ("", "#"):
            head += line
        else:
            break
    return head


def _merges(value: Any, path: Path) -> Iterator[Path]:
    if isinstance(value, dict):
        if "<<" in value:
            yield (*path, "<<")
        for key, below in value.items():
            yield from _merges(below, (*path, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _merges(below, (*path, index))
