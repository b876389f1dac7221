"""Rules in the words of iptables: what is given to `iptables-restore`, and what `iptables-save` says of it.

Each line is written as `iptables-save` writes it, so that both can be compared as they are.  `Ours` is what we have in
the tables of one family; the text that leads from one `Ours` to another is one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from meshproxy.redirect import Refused, rules
from meshproxy.redirect.layouts import LAYOUTS, Layout
from meshproxy.redirect.marks import MARK
from meshproxy.redirect.plan import Plan, Span
from meshproxy.redirect.rules import Condition, Rule, Verdict, tables

TABLES = ("mangle", "nat")
SLOTS = 15
"""Of one `multiport`; a range takes two."""
OWN = "MESHPROXY_"
"""Chains with such names are ours, whatever is in them."""
AS = OWN + "AS_"
"""An empty chain that says by which other names ours go in its table."""
MADE = OWN + "MADE_"
"""An empty chain that says what was not there before us: a chain of the kernel's own, or, as `TABLE`, its table."""

Hooks = tuple[tuple[int, str], ...]
"""Lines in chains that are not ours, each with its place in its chain; 0 is the end."""


@dataclass(frozen=True, slots=True)
class Owned:
    """What we have in one table."""

    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hooks: Hooks = ()
    made: frozenset[str] = frozenset()

    @property
    def lines(self) -> tuple[str, ...]:
        """What can be said of it without its places."""
        chains = sorted(self.chains.items())
        return (
            *(f"chain {name}" for name, _ in chains),
            *(line for _, line in self.hooks),
            *(line for _, lines in chains for line in lines),
        )


Ours = Mapping[str, Owned]
"""By the name of its table; tables without anything are absent."""


def wanted(plan: Plan, version: int) -> Ours:
    found: dict[str, Owned] = {}
    sign = {} if plan.layout.name == "meshproxy" else {AS + plan.layout.name.upper(): ()}
    for table in tables(plan, (version,)):
        chains: dict[str, tuple[str, ...]] = {
            chain.name: tuple(line for rule in chain.rules for line in _lines(chain.name, rule, version))
            for chain in table.chains
        }
        hooks = tuple((0, line) for hook in table.hooks for line in _lines(hook.base, hook.rule, version))
        found[table.name] = Owned({**chains, **sign}, hooks)
    return found


def owned(saved: str) -> Ours:
    """What is ours of that which `iptables-save` says."""
    found: dict[str, Owned] = {}
    for name, chains in _saved(saved).items():
        prefixes = _prefixes(chains)
        ours = {chain: tuple(lines) for chain, lines in chains.items() if _is_ours(chain, prefixes)}
        hooks = tuple(
            (place, line)
            for chain, lines in chains.items()
            if chain not in ours
            for place, line in enumerate(lines, 1)
            if _target(line) in ours
        )
        made = frozenset(chain.removeprefix(MADE) for chain in ours if chain.startswith(MADE))
        rest = {chain: lines for chain, lines in ours.items() if not chain.startswith(MADE)}
        if ours:
            found[name] = Owned(rest, hooks, made)
    return found


def require_free(saved: str, want: Ours) -> None:
    """Raises Refused if somebody else has chains of the names that are wanted."""
    have = owned(saved)
    for name, chains in _saved(saved).items():
        due, there = want.get(name, Owned()).chains.keys(), have.get(name, Owned()).chains.keys()
        if taken := sorted((due & chains.keys()) - there):
            raise Refused(f"the table {name} has chains that are not ours: {', '.join(taken)}; choose another layout")


def transition(have: Ours, want: Ours) -> str:
    """What makes the one of the other, for `iptables-restore --noflush`; nothing, if they are the same."""
    return "".join(
        _table(name, have.get(name, Owned()), want.get(name, Owned()))
        for name in TABLES
        if have.get(name, Owned()) != want.get(name, Owned())
    )


def missing(have: Ours, want: Ours) -> Iterator[str]:
    """What is not as it should be, a line for each."""
    for name in TABLES:
        there, due = have.get(name, Owned()).lines, want.get(name, Owned()).lines
        yield from (f"missing in {name}: {line}" for line in due if line not in there)
        yield from (f"strange in {name}: {line}" for line in there if line not in due)
        if set(there) == set(due) and there != due:
            yield f"in another order in {name} than they should be, or more than once: all rules are there"


def _table(name: str, have: Owned, want: Owned) -> str:
    chains = {**want.chains, **{MADE + made: () for made in want.made}}
    gone = [chain for chain in (*have.chains, *(MADE + made for made in have.made)) if chain not in chains]
    lines = [
        f"*{name}",
        *(f":{chain} - [0:0]" for chain in chains),
        *(f"-D{line[2:]}" for _, line in have.hooks),
        *(f"-F {chain}" for chain in gone),
        *(f"-X {chain}" for chain in gone),
        *(line for lines in chains.values() for line in lines),
        *(_placed(place, line) for place, line in want.hooks),
        "COMMIT",
    ]
    return "\n".join(lines) + "\n"


def _placed(place: int, line: str) -> str:
    if not place:
        return line
    _, chain, rest = line.split(" ", 2)
    return f"-I {chain} {place} {rest}"


def _saved(saved: str) -> dict[str, dict[str, list[str]]]:
    """The lines of each chain of each table that is any business of ours."""
    found: dict[str, dict[str, list[str]]] = {}
    chains: dict[str, list[str]] = {}
    for line in saved.splitlines():
        if line.startswith("*"):
            chains = {}
            if line[1:] in TABLES:
                found[line[1:]] = chains
        elif line.startswith(":"):
            chains[line[1:].split(" ", 1)[0]] = []
        elif line.startswith("-A "):
            chains.setdefault(line.split(" ", 2)[1], []).append(line)
    return found


def _prefixes(chains: Mapping[str, object]) -> set[Layout]:
    return {layout for name, layout in LAYOUTS.items() if AS + name.upper() in chains}


def _is_ours(chain: str, layouts: set[Layout]) -> bool:
    return chain.startswith(OWN) or any(chain in layout.chains.names for layout in layouts)


def _target(line: str) -> str:
    words = line.split()
    return next((after for word, after in pairwise(words) if word in ("-j", "-g")), "")


def _lines(chain: str, rule: Rule, version: int) -> Iterator[str]:
    """One, or more where there are more ports than one rule can have."""
    alternatives: list[list[str]] = [[]]
    for condition in rule.conditions:
        ways = list(_condition(condition))
        alternatives = [[*words, way] for words in alternatives for way in ways]
    for words in alternatives:
        yield " ".join(["-A", chain, *filter(None, words), _verdict(rule.verdict, version)])


def _condition(condition: Condition) -> Iterator[str]:
    match condition:
        case rules.Family():
            yield ""
        case rules.Source(network):
            yield f"-s {network}"
        case rules.Destination(network, within):
            # iptables keeps no word of a network that everything is in.
            yield "" if within and not network.prefixlen else f"{'' if within else '! '}-d {network}"
        case rules.Arrives(interface, here):
            yield f"{'' if here else '! '}-i {interface}"
        case rules.Leaves(interface):
            yield f"-o {interface}"
        case rules.Protocol(name):
            yield f"-p {name}"
        case rules.Opening():
            yield "-m tcp --tcp-flags FIN,SYN,RST,ACK SYN"
        case rules.To(spans):
            yield from (f"-m multiport --dports {','.join(part)}" for part in _parts(spans))
        case rules.User(uid):
            yield f"-m owner --uid-owner {uid}"
        case rules.Group(gid):
            yield f"-m owner --gid-owner {gid}"
        case rules.Foreign():
            yield "-m addrtype ! --src-type LOCAL"
        case rules.Kept():
            yield f"-m connmark --mark {MARK:#x}"
        case rules.Replying():
            yield "-m conntrack --ctdir REPLY"
        case rules.Transparent():
            yield "-m socket --transparent"


def _verdict(verdict: Verdict, version: int) -> str:
    match verdict:
        case rules.Jump(chain):
            return f"-j {chain}"
        case rules.Return():
            return "-j RETURN"
        case rules.Drop():
            return "-j DROP"
        case rules.Redirect(port):
            return f"-j REDIRECT --to-ports {port}"
        case rules.Send(address, port):
            return f"-j DNAT --to-destination {address}:{port}"
        case rules.Tproxy(port):
            anywhere = "0.0.0.0" if version == 4 else "::"  # noqa: S104
            return f"-j TPROXY --on-port {port} --on-ip {anywhere} --tproxy-mark {MARK:#x}/0xffffffff"
        case rules.Mark():
            return f"-j MARK --set-xmark {MARK:#x}/0xffffffff"
        case rules.Keep():
            return f"-j CONNMARK --set-xmark {MARK:#x}/0xffffffff"


def _parts(spans: tuple[Span, ...]) -> Iterator[list[str]]:
    part: list[str] = []
    left = SLOTS
    for low, high in spans:
        needed = 1 if low == high else 2
        if needed > left:
            yield part
            part, left = [], SLOTS
        part.append(f"{low}" if low == high else f"{low}:{high}")
        left -= needed
    yield part
