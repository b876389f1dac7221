"""What is expected of the beginning of a connection, before its chain can be chosen.

    expect = expecting(rules, 10.0)     # None: nobody cares how a connection begins
    expect(origin)                      # a Hello to wait for; None: its addresses say enough

Of a listener only those wait of whom a chain that may be theirs wants to know: others may be such as say nothing first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshproxy.relay.origin import Origin

if TYPE_CHECKING:
    from meshproxy.relay.entry import Rule


@dataclass(frozen=True, slots=True)
class Hello:
    """It is waited for, or for anything else: then it is a plain connection."""

    within: float
    only_tls: bool = False
    """Whether nothing but TLS is let in."""
    spoken: bool = False
    """Whether it counts what is spoken where it is plain; who says nothing in time is let in then, for the server may
    be the first to speak."""


Expect = Callable[[Origin], Hello | None]


def expecting(rules: Sequence[Rule[Any]], within: float, detect: float) -> Expect | None:
    """`within` is for a hello, `detect` for what tells what is spoken."""
    if not any(rule.greeted for rule in rules):
        return None
    any_hello, only_tls, anything = Hello(within), Hello(within, only_tls=True), Hello(detect, spoken=True)

    def expected(addressed: Iterable[Rule[Any]]) -> Hello | None:
        """By the rules whose addresses match, up to the one that any beginning matches."""
        greeted, spoken, tls = False, False, True
        for rule in addressed:
            greeted = greeted or rule.greeted
            spoken = spoken or rule.speaks is not None
            if rule.anyhow:
                tls = rule.passes_tls
                break
            tls = tls and rule.passes_tls
        if not greeted:
            return None
        if spoken:
            return anything
        return only_tls if tls else any_hello

    if all(rule.anywhere for rule in rules):
        always = expected(rules)
        return lambda _: always
    return lambda origin: expected(rule for rule in rules if rule.addressed(origin))
