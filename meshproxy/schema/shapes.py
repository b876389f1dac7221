"""The walker: a dataclass is inspected once, when it is first met in a document, and then reads and writes plain data.

A format is written as frozen dataclasses whose fields are `Annotated` with a scalar kind and one line of documentation:

    timeout: Annotated[Duration, "how long connections may take to end"] = 30.0

`tuple[X, ...]` is a list, `tuple[tuple[str, X], ...]` a mapping, another dataclass a mapping with known keys,
and `X | None` a key whose absence means something. A class may name `RESERVED` keys, and a `SHORTHAND` key that
stands for the whole mapping when something else than a mapping is written. Reading reports every problem at once.

A format of others is written in the same way: `Key("pathRegex")` in an annotation is the key as they spell it. In a
class that is `FOREIGN`, null is as good as absent; in one that is `OPEN`, keys that are not known are passed over.
`tuple[tuple[K, X | None], ...]` is a mapping with keys of the kind K, whose values may be null.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from meshproxy.errors import Problem
from meshproxy.schema.kinds import NAME, Scalar, Secret, cut, same, shown

Path = tuple[str | int, ...]
MOST_PROBLEMS = 100
FEW = 4
BAD: Any = object()  # what a reader returns after it has reported why


def path_text(path: Path) -> str:
    """`listeners[0].timeouts.idle`: injective for sane keys, bounded for all."""
    return "".join(map(_step_text, path)).removeprefix(".")


def _step_text(step: str | int) -> str:
    if isinstance(step, str):
        return f".{cut(step)}" if step.replace("-", "_").isidentifier() else f"[{shown(step)}]"
    return f"[{step}]"


def label(path: Path) -> str:
    """The key as a message names it: the last step, with the name of the list before an index."""
    start = len(path) - 1
    while start > 0 and isinstance(path[start], int):
        start -= 1
    return f"`{path_text(path[start:])}`" if path else "the document"


class Names:
    """Names of which a wrong one may be a misspelling.

    There may be thousands, of each, and to compare two is slow. So only those are compared that stand beside the wrong
    one in the alphabet, read forwards or backwards; and there are no more hints than problems that are shown.
    """

    BESIDE = 16

    def __init__(self, names: Iterable[str]) -> None:
        self._names = names
        self._hints = MOST_PROBLEMS

    @cached_property
    def _sorted(self) -> tuple[list[str], list[str]]:
        return sorted(self._names), sorted(name[::-1] for name in self._names)

    def nearest(self, word: str) -> str:
        """A hint for a message: "; did you mean `listen`?", or nothing."""
        if not self._hints:
            return ""
        self._hints -= 1
        forwards, backwards = self._sorted
        beside = {*self._beside(word, forwards), *(name[::-1] for name in self._beside(word[::-1], backwards))}
        close = difflib.get_close_matches(cut(word), sorted(beside), n=1)
        return f"; did you mean `{close[0]}`?" if close else ""

    def _beside(self, word: str, names: list[str]) -> list[str]:
        place = bisect(names, word)
        return names[max(0, place - self.BESIDE) : place + self.BESIDE]


Told = Callable[[Path, str], Problem]
"""How a place and a message become a problem."""


def told(path: Path, message: str) -> Problem:
    return Problem(path_text(path), message)


class Found:
    """Problems as they are found, bounded: a document can be wrong in a million places.

    Only those that are kept are put in words, for that takes longer than to find them.
    """

    def __init__(self, problem: Told, passed_over: Callable[[Path], None] | None = None) -> None:
        self.problem = problem
        self.passed_over = passed_over
        """Hears of every key that an open class does not know."""
        self.problems: list[Problem] = []
        self.count = 0
        """Who has read something after which there are more of them returns `BAD`."""
        self.known: defaultdict[int, dict[object, Any]] = defaultdict(dict)
        """By reader, what it made of texts: of a hundred thousand many are alike, and then are one."""

    def add(self, path: Path, words: Callable[[Path], str]) -> None:
        self.count += 1
        if self.count <= MOST_PROBLEMS:
            self.problems.append(self.problem(path, words(path)))

    def all(self) -> list[Problem]:
        unnamed = self.count - len(self.problems)
        if not unnamed:
            return self.problems
        return [*self.problems, Problem("", f"and {unnamed} more problems")]


class Shape(Protocol):
    def read(self, value: object, path: Path, found: Found, /) -> Any: ...
    def write(self, value: Any, redact: bool, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Leaf:
    kind: Scalar

    def read(self, value: object, path: Path, found: Found) -> Any:
        try:
            if type(value) is not str:
                return self.kind.read(value)
            known = found.known[id(self)]
            if value not in known:
                known[value] = self.kind.read(value)
            return known[value]
        except ValueError as refusal:
            why = str(refusal)
            found.add(path, lambda path: f"{label(path)} {why}")
            return BAD

    def write(self, value: Any, redact: bool) -> object:
        return value.show(redact) if isinstance(value, Secret) else self.kind.show(value)


_KEY = Leaf(NAME)


@dataclass(frozen=True, slots=True)
class Items:
    """In an annotation: how a list may be written."""

    one: bool = False
    least: int = 0


ONE_OR_MANY = Items(one=True, least=1)
AT_LEAST_ONE = Items(least=1)


@dataclass(frozen=True, slots=True)
class Sequence:
    item: Shape
    how: Items

    def read(self, value: object, path: Path, found: Found) -> Any:
        if not isinstance(value, list):
            if self.how.one and (not isinstance(value, Mapping) or isinstance(self.item, Struct)):
                only = self.item.read(value, path, found)
                return BAD if only is BAD else (only,)
            found.add(path, lambda path: f"{label(path)} must be a list, not {shown(value)}")
            return BAD
        if len(value) < self.how.least:
            found.add(path, lambda path: f"{label(path)} must not be an empty list")
            return BAD
        if isinstance(self.item, Leaf) and {*map(type, value)} == {str}:
            texts, known = tuple(value), found.known[id(self)]
            if texts in known:
                return known[texts]
            items = self._items(value, path, found)
            if items is not BAD:
                known[texts] = items
            return items
        return self._items(value, path, found)

    def _items(self, value: list[object], path: Path, found: Found) -> Any:
        before, read = found.count, self.item.read
        items = tuple([read(item, (*path, index), found) for index, item in enumerate(value)])
        return items if found.count == before else BAD

    def write(self, value: Any, redact: bool) -> object:
        if self.how.one and len(value) == 1:
            return self.item.write(value[0], redact)
        if isinstance(self.item, Leaf) and self.item.kind.show is same and {*map(type, value)} == {str}:
            return [*value]
        return [self.item.write(item, redact) for item in value]


def _read_mapping(value: object, path: Path, found: Found) -> Mapping[str, object]:
    if isinstance(value, dict | Mapping):
        return value
    found.add(path, lambda path: f"{label(path)} must be a mapping, not {_type_of(value)}")
    return BAD  # type: ignore[no-any-return]


def _type_of(value: object) -> str:
    # Not the value itself: what stands where a mapping should may be a secret.
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int | float):
        return "a number"
    return shown(value)


@dataclass(frozen=True, slots=True)
class Pairs:
    """A mapping with free keys, kept as sorted pairs so that it can be hashed and compared."""

    item: Shape
    key: Leaf = _KEY

    def read(self, value: object, path: Path, found: Found) -> Any:
        mapping = _read_mapping(value, path, found)
        if mapping is BAD:
            return BAD
        pairs = []
        for key, item in mapping.items():
            below = (*path, str(key))
            pairs.append((self.key.read(key, below, found), self.item.read(item, below, found)))
        return BAD if any(BAD in pair for pair in pairs) else tuple(sorted(pairs))

    def write(self, value: Any, redact: bool) -> object:
        return {key: self.item.write(item, redact) for key, item in value}


@dataclass(frozen=True, slots=True)
class Maybe:
    """What may be null in a mapping with free keys."""

    shape: Shape

    def read(self, value: object, path: Path, found: Found) -> Any:
        return None if value is None else self.shape.read(value, path, found)

    def write(self, value: Any, redact: bool) -> object:
        return None if value is None else self.shape.write(value, redact)


@dataclass(frozen=True, slots=True)
class Keyed:
    """In an annotation: the list is written as a mapping, whose key is the field `by` of each item."""

    by: str


@dataclass(frozen=True, slots=True)
class Key:
    """In an annotation: the key as others spell it, where it is not the name of the field."""

    name: str


@dataclass(frozen=True, slots=True)
class Table:
    item: Struct
    by: str

    def read(self, value: object, path: Path, found: Found) -> Any:
        mapping = _read_mapping(value, path, found)
        if mapping is BAD:
            return BAD
        before, items = found.count, []
        for key, item in mapping.items():
            below = (*path, str(key))
            name = _KEY.read(key, below, found)
            items.append(self.item.read(item, below, found, {self.by: name}))
        return BAD if found.count > before else tuple(sorted(items, key=lambda item: str(getattr(item, self.by))))

    def write(self, value: Any, redact: bool) -> object:
        return {getattr(item, self.by): self.item.write(item, redact, skip=self.by) for item in value}


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    shape: Shape
    optional: bool
    default: Any
    doc: str

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING


@dataclass(frozen=True)
class Struct:
    cls: type[Any]
    reserved: Mapping[str, str]
    shorthand: str | None
    choice: bool
    foreign: bool
    open: bool

    @cached_property
    def fields(self) -> Mapping[str, Field]:
        """Most documents say little of what could be said: what none of them has is never inspected."""
        hints = typing.get_type_hints(self.cls, include_extras=True)
        fields = {}
        for field in dataclasses.fields(self.cls):
            hint = hints[field.name]
            doc = next((note for note in _notes(hint) if isinstance(note, str)), "")
            key = next((note.name for note in _notes(hint) if isinstance(note, Key)), field.name)
            fields[key] = Field(field.name, _shape_of(hint), _is_optional(hint), field.default, doc)
        return fields

    @cached_property
    def required(self) -> tuple[str, ...]:
        return tuple(key for key, field in self.fields.items() if field.required)

    @cached_property
    def plain(self) -> bool:
        """Whether it is a few texts and numbers: of these, too, many are alike."""
        return len(self.fields) <= FEW and all(map(_is_flat, self.fields.values()))

    def read(self, value: object, path: Path, found: Found, given: Mapping[str, object] | None = None) -> Any:
        if self.shorthand and not isinstance(value, dict | Mapping):
            value = {self.shorthand: value}
        mapping = value if type(value) is dict else _read_mapping(value, path, found)
        if mapping is BAD:
            return BAD
        before, fields = found.count, self.fields
        values: dict[str, object] = dict(given) if given else {}
        if given or not mapping.keys() <= fields.keys():
            for key in mapping:
                if key not in fields or key in values:
                    self._pass_over((*path, str(key)), found)
        if self.choice and sum(value is not None for value in mapping.values()) != 1:
            found.add(path, lambda path: f"{label(path)} must say exactly one of {', '.join(fields)}")
            return BAD
        for key, item in mapping.items():
            field = fields.get(key)
            if field is None or (given and field.name in given):
                continue
            if item is not None or not (self.foreign or field.optional):
                values[field.name] = field.shape.read(item, (*path, key), found)
            elif not self.foreign:
                values[field.name] = None
        for key in self.required:
            if fields[key].name not in values:
                found.add((*path, key), lambda path: f"{label(path)} is missing")
        if found.count > before:
            return BAD
        made = self.cls(**values)
        if not self.plain:
            return made
        try:
            return found.known[id(self)].setdefault(made, made)
        except TypeError:
            return made  # what others write may be no key

    def _pass_over(self, path: Path, found: Found) -> None:
        if not self.open:
            found.add(path, self._unknown)
        elif found.passed_over is not None:
            found.passed_over(path)

    def _unknown(self, path: Path) -> str:
        key = str(path[-1])
        if key in self.reserved:
            return f"`{key}` is reserved: {self.reserved[key]} is not in this version"
        return f"unknown key `{cut(key)}`{Names(name for name in self.fields if name != key).nearest(key)}"

    def write(self, value: Any, redact: bool, skip: str | None = None) -> object:
        """What differs from the default, so that a key of a later version changes nothing that was written before."""
        written: dict[str, object] = {}
        for key, field in self.fields.items():
            item = getattr(value, field.name)
            if item is field.default:
                continue
            if key != skip and (field.required or item != field.default):
                written[key] = None if item is None else field.shape.write(item, redact)
        if self.shorthand and list(written) == [self.shorthand]:
            return written[self.shorthand]
        return written


_structs: dict[type[Any], Struct] = {}


def struct_of(cls: type[Any]) -> Struct:
    """The shape of a dataclass."""
    if cls not in _structs:
        _structs[cls] = Struct(
            cls,
            getattr(cls, "RESERVED", {}),
            getattr(cls, "SHORTHAND", None),
            getattr(cls, "CHOICE", False),
            getattr(cls, "FOREIGN", False),
            getattr(cls, "OPEN", False),
        )
    return _structs[cls]


def _is_flat(field: Field) -> bool:
    shape = field.shape
    return isinstance(shape.item if isinstance(shape, Sequence | Pairs) else shape, Leaf)


def _shape_of(hint: Any) -> Shape:
    notes = _notes(hint)
    for note in notes:
        if isinstance(note, Scalar):
            return Leaf(note)
    base = _bare(hint)
    if dataclasses.is_dataclass(base):
        return struct_of(base)  # type: ignore[arg-type]
    if _is_optional(base):
        return _shape_of(next(part for part in typing.get_args(base) if part is not type(None)))
    if typing.get_origin(base) is tuple:
        item = typing.get_args(base)[0]
        if typing.get_origin(item) is tuple:
            return _pairs(*typing.get_args(item))
        keyed = next((note for note in notes if isinstance(note, Keyed)), None)
        if keyed:
            return Table(struct_of(item), keyed.by)
        how = next((note for note in notes if isinstance(note, Items)), Items())
        return Sequence(_shape_of(item), how)
    raise TypeError(f"a configuration cannot hold {hint}")


def _pairs(key: Any, item: Any) -> Pairs:
    kind = next((note for note in _notes(key) if isinstance(note, Scalar)), NAME)
    shape = _shape_of(item)
    return Pairs(Maybe(shape) if _is_optional(item) else shape, Leaf(kind))


def _notes(hint: Any) -> tuple[Any, ...]:
    return getattr(hint, "__metadata__", ())


def _bare(hint: Any) -> Any:
    return hint.__origin__ if _notes(hint) else hint


def _is_optional(hint: Any) -> bool:
    base = _bare(hint)
    return typing.get_origin(base) in (typing.Union, types.UnionType) and type(None) in typing.get_args(base)
