"""What a rule asks of a request beside its host and path: each condition by name, and all of them as one function.

[each.name for each in conditions(match)]       # ["method", "header x-beta", "query page"]
holds = together(conditions(match))             # None: nothing is asked
holds is None or holds(b"GET", head)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

from meshproxy.model.matching import RouteMatch, ValueMatch, fitting
from meshproxy.wire import grpc


class Head(Protocol):
    """What is asked of the head of a request."""

    @property
    def target(self) -> bytes:
        """As it arrived, with the query."""

    def get(self, name: bytes, /) -> bytes | None:
        """The value of a header, by its name in lower case; of a repeated one, all of them as one list."""


Holds = Callable[[bytes, Head], bool]


class Condition(NamedTuple):
    name: str
    holds: Holds


def conditions(match: RouteMatch) -> list[Condition]:
    """The cheap ones first."""
    found = []
    if match.methods:
        found.append(Condition("method", _method(match.methods)))
    if match.grpc is not None:
        found.append(Condition("grpc", _grpc))
    found += [Condition(f"header {name}", _header(name, value)) for name, value in match.headers]
    found += [Condition(f"query {name}", _parameter(name, value)) for name, value in match.query]
    return found


def together(these: Sequence[Condition]) -> Holds | None:
    if len(these) < 2:
        return these[0].holds if these else None
    tests = tuple(each.holds for each in these)

    def holds(method: bytes, head: Head) -> bool:
        for test in tests:  # noqa: SIM110 - all() over a generator takes twice as long
            if not test(method, head):
                return False
        return True

    return holds


def _method(names: Sequence[str]) -> Holds:
    methods = frozenset(name.encode("ascii") for name in names)
    return lambda method, _: method in methods


def _grpc(_: bytes, head: Head) -> bool:
    """Whether it is a call at all."""
    kind = head.get(b"content-type")
    return grpc.speaks(kind) or grpc.web(kind) is not None


def _header(name: str, match: ValueMatch) -> Holds:
    key, fits = name.lower().encode("ascii"), fitting(match)
    return lambda _, head: fits(head.get(key))


def _parameter(name: str, match: ValueMatch) -> Holds:
    key, fits = name.encode(), fitting(match)
    return lambda _, head: fits(parameters(head.target).get(key))


@lru_cache(maxsize=1)  # the rules that are asked about one request all want the same
def parameters(target: bytes) -> Mapping[bytes, bytes]:
    """The parameters in the query of a target, decoded as a form is; of a repeated one, the first."""
    found: dict[bytes, bytes] = {}
    for pair in target.partition(b"?")[2].split(b"&"):
        name, _, value = pair.partition(b"=")
        found.setdefault(_decoded(name), _decoded(value))
    return found


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" ")) if b"%" in text or b"+" in text else text
