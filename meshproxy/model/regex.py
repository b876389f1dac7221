"""Regular expressions that are matched in linear time, or refused.

    matches = matcher("/api/v[0-9]+/.*")
    matches(b"/api/v1/books")       # the whole text must match, as bytes
    beginner("/api/v[0-9]+")(b"/api/v1/books")      # a beginning of it must
    check(".*[ab].*b")              # ValueError: two parts of it can match the same text, ...

Python's `re` tries one way through an expression after the other, so it is as slow as there are ways. `check` reads the
tree that `re` itself has parsed, makes an automaton of it, with a state for each character that is matched, and accepts
it only if no text leads to the same state in two ways. Then, for each place in a text, the matcher is in each state at
most once: its steps are bounded by the length of the text times that of the expression. This refuses some that are
harmless, and none that is accepted can be slow.  Where the matcher may stop does not count for that: it holds for a
beginning as for the whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from re import _constants, _parser  # type: ignore[attr-defined]  # nothing public tells what an expression means
from typing import Any

LONGEST = 1024
MOST_REMEMBERED = 2048
"""One expression may stand in many tables, and under many hosts."""
MOST_STATES = 512
MOST_GROUPS = 64
MOST_STEPS = 100_000
"""How long the search for two ways may take, in pairs of states: some 20 ms."""

_FLAGS = re.DOTALL
"""`.` is any byte: what is matched has no lines."""
_ALL = (1 << 256) - 1
_AMBIGUOUS = "two parts of it can match the same text, which could take more than linear time"
_LARGE = "it is too large"
_REFUSED = {
    "GROUPREF": "backreferences are not supported",
    "GROUPREF_EXISTS": "conditions on groups are not supported",
    "ASSERT": "lookarounds are not supported",
    "ASSERT_NOT": "lookarounds are not supported",
    "AT": "`^` may only stand first, `$` last, and no other anchor anywhere",
    "ATOMIC_GROUP": "atomic groups are not supported",
    "POSSESSIVE_REPEAT": "possessive repetitions are not supported",
    "FAILURE": "it can match nothing",
}
# Of these `re` only warns that a later version may read them as operations on sets.
_TEXT = r"[A-Za-z0-9/_~%=;:@, -]|\\[./?+$]"
_gap = re.compile(r"\.\*\??")
_gapped = re.compile(rf"\^?(?P<body>(?:{_TEXT}|{_gap.pattern})*)\$?").fullmatch
"""Most expressions are text, perhaps with gaps: no dot in their text is followed by a star."""
_SEGMENT = r"(?:\[(?:\^/|(?:a-z|A-Z|0-9|[A-Za-z0-9_.])+-?)\]|\\[dw])[+*](?=/|\$?\Z)"
_segmented = re.compile(rf"\^?(?:{_TEXT}|{_SEGMENT})*\$?").fullmatch
"""Or text with segments of a path, of which each ends where a slash is: what comes next is never in doubt."""
_operation_on_sets = re.compile(r"\[\^?\]?[^\]]*(?:\[|--|&&|~~|\|\|)").search


@lru_cache(maxsize=MOST_REMEMBERED)
def matcher(pattern: str) -> Callable[[bytes], object]:
    """Tells whether the whole of a text matches an expression that `check` has accepted."""
    return re.compile(_woven(pattern, whole=True).encode("ascii"), _FLAGS).fullmatch


@lru_cache(maxsize=MOST_REMEMBERED)
def beginner(pattern: str) -> Callable[[bytes], object]:
    """Tells whether a beginning of a text matches; with `$` as its last sign the expression means all of the text."""
    if _ends(list(_parser.parse(pattern.encode("ascii"), _FLAGS))):
        # By itself `$` would let a line feed follow.
        return matcher(pattern)
    return re.compile(_woven(pattern, whole=False).encode("ascii"), _FLAGS).match


def _woven(pattern: str, *, whole: bool) -> str:
    """Text with gaps, such as `.*/a.*b`: where a piece is found first the rest has most room, so no other place need be
    tried, and none is. By itself `re` would try them all, for each piece anew."""
    found = _gapped(pattern)
    if found is None:
        return pattern
    first, *others = _gap.split(found["body"])
    last = f".*{others.pop()}" if whole and others else ""
    return first + "".join(f"(?>.*?{piece})" for piece in others) + last


def check(pattern: str) -> None:
    """Nothing, or `ValueError` with the reason why the expression is refused."""
    if len(pattern) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    if _gapped(pattern) or _segmented(pattern):
        return
    if not pattern.isascii() or not pattern.isprintable():
        raise ValueError(r"it must be printable ASCII; write any other byte as \xNN")
    if pattern.count("(") > MOST_GROUPS:
        raise ValueError(_LARGE)
    if _operation_on_sets(pattern):
        raise ValueError(r"a set in it has `[`, `--`, `&&`, `||` or `~~`, which is ambiguous: write `\[` and the like")
    try:
        tree = _parser.parse(pattern.encode("ascii"), _FLAGS)
    except (re.error, OverflowError) as error:
        raise ValueError(str(error)) from None
    if tree.state.flags != _FLAGS:
        raise ValueError("flags are not supported")
    automaton = Automaton()
    automaton.join([automaton.start], automaton.sequence(_essence(list(tree))).first)
    automaton.refuse_two_ways()


Node = tuple[Any, Any]


def _essence(nodes: list[Node]) -> list[Node]:
    """What decides whether the text matches: less the outer anchors, and less a last `.*`, which cannot fail."""
    if nodes and nodes[0] == (_constants.AT, _constants.AT_BEGINNING):
        nodes = nodes[1:]
    return _without_tail(nodes[:-1] if _ends(nodes) else nodes)


def _ends(nodes: list[Node]) -> bool:
    return bool(nodes) and nodes[-1] == (_constants.AT, _constants.AT_END)


def _without_tail(nodes: list[Node]) -> list[Node]:
    if not nodes:
        return nodes
    *before, (op, value) = nodes
    if op is _constants.SUBPATTERN:
        group, add, drop, body = value
        return [*before, (op, (group, add, drop, _without_tail(list(body))))]
    if op in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
        low, high, body = value
        if high is _constants.MAXREPEAT and list(body) == [(_constants.ANY, None)]:
            return [*before, (op, (low, low, body))]
        if (low, high) == (0, 1):
            return [*before, (op, (low, high, _without_tail(list(body))))]
    return nodes


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an expression: the states that it may begin and end with, and whether it may match the empty text."""

    first: Sequence[int] = ()
    last: Sequence[int] = ()
    empty: bool = True


@dataclass(slots=True)
class Automaton:
    """States, and which of them may follow on which; whatever can be done in two ways is refused as it is built."""

    reads: list[int] = field(default_factory=lambda: [0])
    """For each state the bytes that it matches, as bits."""
    follow: list[set[int]] = field(default_factory=lambda: [set()])
    start: int = 0

    def sequence(self, nodes: Iterable[Node]) -> Part:
        whole = Part()
        for node in nodes:
            whole = self.chain(whole, self.part(node))
        return whole

    def part(self, node: Node) -> Part:
        op, value = node
        match op.name:
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                return self.state(_bits(op.name, value))
            case "BRANCH":
                return self.choice([self.sequence(branch) for branch in value[1]])
            case "SUBPATTERN":
                _, add, drop, body = value
                if add or drop:
                    raise ValueError("flags are not supported")
                return self.sequence(body)
            case "MAX_REPEAT" | "MIN_REPEAT":
                return self.repetition(*value)
            case name:
                raise ValueError(_REFUSED.get(name, f"{name} is not supported"))

    def state(self, reads: int) -> Part:
        if len(self.reads) > MOST_STATES:
            raise ValueError(_LARGE)
        self.reads.append(reads)
        self.follow.append(set())
        new = [len(self.reads) - 1]
        return Part(new, new, empty=False)

    def join(self, last: Iterable[int], first: Iterable[int]) -> None:
        for before in last:
            for after in first:
                if after in self.follow[before]:
                    raise ValueError(_AMBIGUOUS)
                self.follow[before].add(after)

    def chain(self, a: Part, b: Part) -> Part:
        self.join(a.last, b.first)
        return Part(
            [*a.first, *b.first] if a.empty else a.first,
            [*a.last, *b.last] if b.empty else b.last,
            a.empty and b.empty,
        )

    def choice(self, parts: Sequence[Part]) -> Part:
        if sum(part.empty for part in parts) > 1:
            raise ValueError(_AMBIGUOUS)
        return Part(
            [state for part in parts for state in part.first],
            [state for part in parts for state in part.last],
            any(part.empty for part in parts),
        )

    def repetition(self, low: int, high: int, body: Iterable[Node]) -> Part:
        """Copies of the body: `x{2,}` is x(x+), and `x{2,4}` is xx(x(x)?)?."""
        if high is _constants.MAXREPEAT:
            end = self.loop(self.sequence(body))
            end, low = (end, low - 1) if low else (self.choice([end, Part()]), 0)
        else:
            end = Part()
            for _ in range(high - low):
                end = self.choice([self.chain(self.repeated(body), end), Part()])
        before = Part()
        for _ in range(low):
            before = self.chain(before, self.repeated(body))
        return self.chain(before, end)

    def loop(self, part: Part) -> Part:
        if part.empty:
            raise ValueError(_AMBIGUOUS)
        self.join(part.last, part.first)
        return part

    def repeated(self, body: Iterable[Node]) -> Part:
        part = self.sequence(body)
        if part.empty:
            raise ValueError(_AMBIGUOUS)
        return part

    def refuse_two_ways(self) -> None:
        """Two ways part at one state, read the same bytes in different states, and must never meet again."""
        steps = sum(len(after) ** 2 for after in self.follow)
        if steps > MOST_STEPS:
            raise ValueError(_LARGE)
        ahead = [
            (one, other)
            for after in self.follow
            for one in after
            for other in after
            if one < other and self.reads[one] & self.reads[other]
        ]
        seen = set(ahead)
        while ahead:
            one, other = ahead.pop()
            steps += len(self.follow[one]) * len(self.follow[other])
            if steps > MOST_STEPS:
                raise ValueError(_LARGE)
            for a in self.follow[one]:
                for b in self.follow[other]:
                    if not self.reads[a] & self.reads[b]:
                        continue
                    if a == b:
                        raise ValueError(_AMBIGUOUS)
                    pair = (a, b) if a < b else (b, a)
                    if pair not in seen:
                        seen.add(pair)
                        ahead.append(pair)


def _bits(name: str, value: Any) -> int:
    match name:
        case "ANY":
            return _ALL
        case "LITERAL":
            return 1 << int(value)
        case "NOT_LITERAL":
            return _ALL ^ 1 << int(value)
        case "RANGE":
            low, high = value
            return (1 << int(high) + 1) - (1 << int(low))
        case "CATEGORY":
            return _CATEGORIES[value.name]
        case _:
            return _bits_of_set(value)


def _bits_of_set(items: Sequence[Node]) -> int:
    negated = items[0][0] is _constants.NEGATE
    bits = 0
    for op, value in items[negated:]:
        bits |= _bits(op.name, value)
    return _ALL ^ bits if negated else bits


_CATEGORIES = {
    f"CATEGORY_{prefix}{name}": sum(1 << byte for byte in range(256) if re.fullmatch(pattern, bytes([byte])))
    for name, letter in (("DIGIT", b"d"), ("SPACE", b"s"), ("WORD", b"w"))
    for prefix, pattern in (("", b"\\" + letter), ("NOT_", b"\\" + letter.upper()))
}
