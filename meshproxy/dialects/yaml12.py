"""YAML by the core rules of version 1.2, over the events of PyYAML.

PyYAML's own constructors speak YAML 1.1, in which `no` is false and `012` is ten. Here a plain scalar is null, a
boolean, an integer or a float only as the core schema of 1.2 says, and a string otherwise. Anchors and aliases work,
within a bound on the expanded whole; the merge key `<<` of 1.1 is an ordinary key. Keys are strings, and stand once.

Events are pulled one by one from Python, so that a thread that parses a large document lets the other threads run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from meshproxy.dialects.text import DEEPEST, LARGEST_NODES, LONGEST_KEY, LONGEST_TEXT, PIECE, refusal, too_long
from meshproxy.dialects.trail import Lines, Trail
from meshproxy.dialects.variables import Expand
from meshproxy.errors import Invalid, Problem
from meshproxy.schema.kinds import cut, shown
from meshproxy.schema.shapes import MOST_PROBLEMS, path_text

LONGEST_STRETCH = 128 * 1024


class Feed:
    """The text, as a parser takes it: by pieces, each handed over in Python, so that other threads have their turn.

    A stretch in which the parser comes upon nothing, be it a comment or the beginning of something large, has an end.
    """

    def __init__(self, text: str, source: str, longest: int = LONGEST_STRETCH) -> None:
        self.text = text
        self.source = source
        self.longest = longest
        self.position = self.stretch = 0
        self.line = 1

    def read(self, size: int = PIECE, /) -> str:
        if self.position - self.stretch > self.longest:
            raise refusal(self.source, f"more than {self.longest} characters without a value", self.line)
        piece = self.text[self.position : self.position + size]
        self.position += size
        return piece

    def came_upon(self, event: Any) -> None:
        self.stretch = self.position
        self.line = _line(event)


class PurePythonParser(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
    """PyYAML's own parser, for where it was built without libyaml."""

    def __init__(self, feed: Feed) -> None:
        yaml.reader.Reader.__init__(self, feed)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)


Parser: Any = yaml.cyaml.CParser if yaml.__with_libyaml__ else PurePythonParser  # type: ignore[attr-defined]

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_LONGEST_NUMBER = 1000
SECOND = "a second document begins; one is expected"
_TAG = "tag:yaml.org,2002:"
_CORE: dict[str, type] = {"null": type(None), "bool": bool, "int": int, "float": float}


def parse(text: str, source: str, expand: Expand | None = None) -> Any:
    """The one document in the text as plain values, or `Invalid`."""
    return _Builder(text, source, expand, Trail()).document()


def parse_all(text: str, source: str) -> list[Any]:
    """Every document in the text that says anything, by its number in the stream, or `Invalid`."""
    return _Builder(text, source, None, Trail()).documents()


def located(text: str, source: str, plain: Callable[[str], Any], longest: int) -> tuple[list[Any], Lines]:
    """Every document and the line of every place, where others say what a plain scalar is and how long a string."""
    found = Lines()
    return _Builder(text, source, None, found, plain, longest).documents(), found


def lines(text: str) -> Lines:
    """The line of every place. It costs another parse, and is for the day when there is a problem to place."""
    found = Lines()
    _Builder(text, "", None, found).document()
    return found


def lines_of_all(text: str) -> Lines:
    """The same of a stream of documents: each path begins with the number of its document."""
    found = Lines()
    _Builder(text, "", None, found).documents()
    return found


def resolve(text: str) -> Any:
    """What a plain scalar is by the core schema."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if len(text) <= _LONGEST_NUMBER:
        if _INT.fullmatch(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if _FLOAT.fullmatch(text):
            return float(text.replace(".", "", 1) if text[-3:].isalpha() else text)
    return text


@dataclass(slots=True)
class _Anchored:
    """What an alias stands for, with its cost. `size` 0: the node is still open, and the alias stands inside it."""

    value: Any = None
    size: int = 0
    height: int = 0


class _Builder:
    """One pass over the events. `trail` is where it stands, `size` how many nodes the values have when expanded."""

    def __init__(
        self,
        text: str,
        source: str,
        expand: Expand | None,
        trail: Trail,
        plain: Callable[[str], Any] = resolve,
        longest: int = LONGEST_TEXT,
    ) -> None:
        self.feed = Feed(text, source, max(LONGEST_STRETCH, 2 * longest))
        self.parser = Parser(self.feed)
        self.source = source
        self.expand = expand
        self.trail = trail
        self.plain = plain
        self.longest = longest
        self.problems: list[Problem] = []
        self.anchors: dict[str, _Anchored] = {}
        self.size = 0
        self.deepest = 0

    def document(self) -> Any:
        try:
            self._next()  # the start of the stream
            if isinstance(self._next(), yaml.StreamEndEvent):
                raise refusal(self.source, "the document is empty")
            value = self._node(self._next(), 1)
            self._next()
            event = self._next()
        except yaml.YAMLError as error:
            raise self._syntax(error) from None
        if not isinstance(event, yaml.StreamEndEvent):
            raise refusal(self.source, SECOND, _line(event))
        if self.problems:
            raise Invalid(self.problems)
        return value

    def documents(self) -> list[Any]:
        found: list[Any] = []
        try:
            self._next()  # the start of the stream
            while not isinstance(event := self._next(), yaml.StreamEndEvent):
                self.anchors.clear()
                self.trail.enter(len(found), _line(event))
                found.append(self._node(self._next(), 1))
                self.trail.leave()
                self._next()
        except yaml.YAMLError as error:
            raise self._syntax(error) from None
        if self.problems:
            raise Invalid(self.problems)
        return found

    def _next(self) -> Any:
        event = self.parser.get_event()
        self.feed.came_upon(event)
        return event

    def _node(self, event: Any, depth: int) -> Any:
        self._grow(1, depth, event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        anchored = _Anchored()
        if event.anchor:
            self.anchors[event.anchor] = anchored
        before, above, self.deepest = self.size, self.deepest, depth
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._collection_tag(event, "seq")
            value = self._sequence(depth)
        else:
            self._collection_tag(event, "map")
            value = self._mapping(depth)
        anchored.value, anchored.size, anchored.height = value, self.size - before + 1, self.deepest - depth
        self.deepest = max(above, self.deepest)
        return value

    def _grow(self, nodes: int, depth: int, event: Any) -> None:
        self.size += nodes
        self.deepest = max(self.deepest, depth)
        if self.size > LARGEST_NODES:
            raise refusal(self.source, f"more than {LARGEST_NODES} values, aliases expanded", _line(event))
        if depth > DEEPEST:
            raise refusal(self.source, f"nested more than {DEEPEST} levels deep", _line(event))

    def _alias(self, event: Any, depth: int) -> Any:
        anchored = self.anchors.get(event.anchor)
        if anchored is None:
            raise refusal(self.source, f"alias *{cut(event.anchor)} has no anchor", _line(event))
        if not anchored.size:
            raise refusal(self.source, f"alias *{cut(event.anchor)} stands inside what it names", _line(event))
        self._grow(anchored.size - 1, depth + anchored.height, event)
        return anchored.value

    def _sequence(self, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            self.trail.enter(len(items), _line(event))
            items.append(self._node(event, depth + 1))
            self.trail.leave()
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        first: dict[str, int] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._key(event, depth + 1)
            line = _line(event)
            self.trail.enter(key, line)
            if key in first:
                self._problem(line, f"duplicate key `{cut(key)}`: lines {first[key]} and {line}")
            first.setdefault(key, line)
            mapping[key] = self._node(self._next(), depth + 1)
            self.trail.leave()
        return mapping

    def _key(self, event: Any, depth: int) -> str:
        expand, self.expand = self.expand, None
        key = self._node(event, depth)
        self.expand = expand
        if isinstance(key, str):
            if len(key) > LONGEST_KEY:
                raise too_long("key", LONGEST_KEY, self.source, _line(event))
            return key
        hint = " (quote it)" if isinstance(event, yaml.ScalarEvent) else ""
        raise self._refusal(event, f"a key must be a string, not {shown(key)}{hint}")

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if self.expand and "${" in text:
            try:
                text = self.expand(text)
            except ValueError as missing:
                self._problem(_line(event), str(missing))
                return ""
        if len(text) > self.longest:
            raise too_long("string", self.longest, self.source, _line(event))
        if event.tag is None:
            return text if event.style else self.plain(text)
        return self._tagged(event, text)

    def _tagged(self, event: Any, text: str) -> Any:
        tag = event.tag.removeprefix(_TAG)
        if tag in ("!", "str"):
            return text
        value = self.plain(text)
        if tag == "float" and type(value) is int:
            return float(value)
        if tag not in _CORE or _CORE[tag] is not type(value):
            raise self._refusal(event, f"tag {cut(event.tag)} does not fit {shown(text)}")
        return value

    def _collection_tag(self, event: Any, expected: str) -> None:
        if event.tag not in (None, "!", _TAG + expected):
            # At once, for the next ten thousand may have the same tag, and it may be large.
            raise self._refusal(event, f"tag {cut(event.tag)} is not supported")

    def _refusal(self, event: Any, message: str) -> Invalid:
        return refusal(self.source, message, _line(event), path_text(self.trail.path))

    def _problem(self, line: int, message: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(path_text(self.trail.path), message, self.source, line))

    def _syntax(self, error: yaml.YAMLError) -> Invalid:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or "not YAML"
        return refusal(self.source, f"not YAML: {what}", mark.line + 1 if mark else None)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
