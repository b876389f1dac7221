"""JSON, strictly: duplicate keys, NaN, bottomless nesting and anything after the end are refused.

A scanner of our own rather than `json.loads`, which would hold every other thread still while it reads a large
document, and could not say on which line a key stands. What is small, though, `json` may read, ten times as fast: an
object or an array of a few kilobytes, if nothing in it is unusual. What is refused is read once more step by step, and
the steps say why.
"""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from sys import intern
from typing import Any, NoReturn

from meshproxy.dialects.text import (
    BLANKS,
    DEEPEST,
    LARGEST_NODES,
    LONGEST_KEY,
    LONGEST_TEXT,
    PIECE,
    refusal,
    too_long,
)
from meshproxy.dialects.trail import Lines, Trail
from meshproxy.dialects.variables import Expand
from meshproxy.errors import Invalid, Problem
from meshproxy.schema.kinds import cut, shown
from meshproxy.schema.shapes import MOST_PROBLEMS, path_text

_WORDS = {"true": True, "false": False, "null": None}
_LONGEST_NUMBER = 1000

_CHARACTER = r'(?>[^"\\\x00-\x1f]|\\u[0-9a-fA-F]{4}|\\.)'
_DIGITS = rf"[0-9]{{1,{_LONGEST_NUMBER + 1}}}+"
# Every repetition has an end: one call of the matcher must not go through the whole document.
_TOKEN = re.compile(
    rf"""[ \t\n\r]{{0,{PIECE}}}+(?:
        (?P<mark>[{{}}\[\],:])
      | (?P<string>"{_CHARACTER}{{0,{LONGEST_TEXT}}}+")
      | (?P<number>-?(?:0|(?!0){_DIGITS})(?P<fraction>(?:\.{_DIGITS})?(?:[eE][-+]?{_DIGITS})?))
      | (?P<word>[A-Za-z]{{1,{PIECE}}}+)
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_TOO_LONG = re.compile(rf'"{_CHARACTER}{{{LONGEST_TEXT + 1}}}')


def parse(text: str, source: str, expand: Expand | None = None) -> Any:
    """The value in the text, or `Invalid`."""
    if expand is None:
        with suppress(Invalid):
            return _Quick(text, source, None, Trail()).document()
    return _Scanner(text, source, expand, Trail()).document()


def parse_all(text: str, source: str) -> list[Any]:
    """The one document that a text in JSON has."""
    return [parse(text, source)]


def lines_of_all(text: str) -> Lines:
    """The line of every place, below the number of the document."""
    found = Lines()
    found.enter(0, 1)
    _Scanner(text, "", None, found).document()
    return found


def lines(text: str) -> Lines:
    """The line of every place. It costs another parse, and is for the day when there is a problem to place."""
    found = Lines()
    _Scanner(text, "", None, found).document()
    return found


class _Scanner:
    def __init__(self, text: str, source: str, expand: Expand | None, trail: Trail) -> None:
        self.text = text
        self.source = source
        self.expand = expand
        self.trail = trail
        self.problems: list[Problem] = []
        self.size = 0
        self.lexeme = self.kind = self.fraction = ""
        self.position = self.counted = 0
        self.line = 1

    def document(self) -> Any:
        self._advance()
        value = self._value(1)
        if self.kind != "end":
            raise self._unexpected("the end")
        if self.problems:
            raise Invalid(self.problems)
        return value

    def _advance(self) -> None:
        while (found := _TOKEN.match(self.text, self.position)) is None:
            self._pass_blanks()
        self.kind = found.lastgroup if found.lastgroup != "fraction" else "number"  # type: ignore[assignment]
        self.lexeme, self.fraction = found[self.kind], found["fraction"] or ""
        self._move_to(found.start(self.kind))
        self.position = found.end()

    def _pass_blanks(self) -> None:
        """On to the next piece of blanks; if there are none, what stands here is no token."""
        blanks = BLANKS.match(self.text, self.position)
        self.position = blanks.end() if blanks else self.position
        self._move_to(self.position)
        if _TOO_LONG.match(self.text, self.position):
            raise too_long("string", LONGEST_TEXT, self.source, self.line)
        if not blanks:
            raise refusal(self.source, f"not JSON: {self._garbage()}", self.line)

    def _garbage(self) -> str:
        """What is no token. A string is not quoted: it may be a secret in the wrong place."""
        if self.text.startswith('"', self.position):
            return "a string does not end, or has a control character or a wrong escape in it"
        return shown(self.text[self.position : self.position + 20])

    def _move_to(self, start: int) -> None:
        self.line += self.text.count("\n", self.counted, start)
        self.counted = start

    def _unexpected(self, expected: str) -> Invalid:
        found = "a string" if self.kind == "string" else shown(self.lexeme) if self.lexeme else "the end"
        return refusal(self.source, f"not JSON: {expected} is expected, not {found}", self.line)

    def _value(self, depth: int) -> Any:
        self.size += 1
        if self.size > LARGEST_NODES:
            raise refusal(self.source, f"more than {LARGEST_NODES} values", self.line)
        if depth > DEEPEST:
            raise refusal(self.source, f"nested more than {DEEPEST} levels deep", self.line)
        if self.lexeme == "{":
            return self._object(depth)
        if self.lexeme == "[":
            return self._array(depth)
        value = self._scalar()
        self._advance()
        return value

    def _scalar(self) -> Any:
        if self.kind == "string":
            text = self._string()
            return self._expanded(text) if self.expand and "${" in text else text
        if self.kind == "number":
            return self._number()
        if self.lexeme in _WORDS:
            return _WORDS[self.lexeme]
        raise self._unexpected("a value")

    def _string(self) -> str:
        try:
            text: str = json.loads(self.lexeme)
        except ValueError:
            raise self._unexpected("a string with valid escapes") from None
        return text

    def _expanded(self, text: str) -> str:
        assert self.expand
        try:
            expanded = self.expand(text)
        except ValueError as missing:
            self._problem(str(missing))
            return ""
        if len(expanded) > LONGEST_TEXT:
            raise too_long("string", LONGEST_TEXT, self.source, self.line)
        return expanded

    def _number(self) -> int | float:
        if len(self.lexeme) > _LONGEST_NUMBER:
            raise self._unexpected("a shorter number")
        if not self.fraction:
            return int(self.lexeme)
        number = float(self.lexeme)
        if not math.isfinite(number):
            raise self._unexpected("a finite number")
        return number

    def _array(self, depth: int) -> list[Any]:
        items: list[Any] = []
        self._advance()
        while self.lexeme != "]":
            self.trail.enter(len(items), self.line)
            items.append(self._value(depth + 1))
            self.trail.leave()
            self._separator("]")
        self._advance()
        return items

    def _object(self, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        first: dict[str, int] = {}
        self._advance()
        while self.lexeme != "}":
            if self.kind != "string":
                raise self._unexpected("a key in quotes")
            key = self._string()
            if len(key) > LONGEST_KEY:
                raise too_long("key", LONGEST_KEY, self.source, self.line)
            self.trail.enter(key, self.line)
            if key in first:
                self._problem(f"duplicate key `{cut(key)}`: lines {first[key]} and {self.line}")
            first.setdefault(key, self.line)
            self._advance()
            if self.lexeme != ":":
                raise self._unexpected("`:`")
            self._advance()
            mapping[key] = self._value(depth + 1)
            self.trail.leave()
            self._separator("}")
        self._advance()
        return mapping

    def _separator(self, end: str) -> None:
        if self.lexeme == ",":
            self._advance()
            if self.lexeme == end:
                raise self._unexpected("another item after the comma")
        elif self.lexeme != end:
            raise self._unexpected(f"`,` or `{end}`")

    def _problem(self, message: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(path_text(self.trail.path), message, self.source, self.line))


# What is small ------------------------------------------------------------------------------------

_SMALL = 4096
"""Characters: in so few stands no string that is too long, and nobody waits while they are read."""


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = {intern(key): _one(value) for key, value in pairs}
    if len(mapping) < len(pairs) or max(map(len, mapping), default=0) > LONGEST_KEY:
        raise ValueError("a duplicate key, or a long one")
    return mapping


def _one(value: Any) -> Any:
    """Texts that are alike become one: a thousand services have ten thousand rules that name the same."""
    if type(value) is str:
        return intern(value)
    if type(value) is list:
        return [intern(item) if type(item) is str else item for item in value]
    return value


def _whole(lexeme: str) -> int:
    if len(lexeme) > _LONGEST_NUMBER:
        raise ValueError("too long")
    return int(lexeme)


def _finite(lexeme: str) -> float:
    number = float(lexeme)
    if len(lexeme) > _LONGEST_NUMBER or not math.isfinite(number):
        raise ValueError("too long, or not finite")
    return number


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)


_read_small = json.JSONDecoder(
    object_pairs_hook=_mapping, parse_int=_whole, parse_float=_finite, parse_constant=_no_number
).raw_decode


def _fits(value: Any, levels: int) -> bool:
    """Whether it is nested no deeper."""
    if levels > 0 and isinstance(value, dict | list):
        return all(_fits(item, levels - 1) for item in (value.values() if isinstance(value, dict) else value))
    return levels > 0


class _Quick(_Scanner):
    """Goes in steps from one small thing to the next. May count too many values, for commas stand in strings too."""

    def _value(self, depth: int) -> Any:
        if self.kind == "mark":
            start = self.counted
            window = self.text[start : start + _SMALL]
            try:
                value, end = _read_small(window)
            except (ValueError, RecursionError):
                return super()._value(depth)
            small = window[:end]
            opened = small.count("{") + small.count("[")
            size = self.size + 1 + opened + small.count(",")
            shallow = depth + opened <= DEEPEST or _fits(value, DEEPEST - depth + 1)
            if shallow and size <= LARGEST_NODES:
                self.size = size
                self.position = start + end
                self._advance()
                return value
        return super()._value(depth)
