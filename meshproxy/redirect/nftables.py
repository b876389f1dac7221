"""Rules in the words of nftables: one table that is ours alone, made anew in one transaction.

It is written as `nft list table` writes it, so that both can be compared as they are, save how versions of nft differ.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshproxy.redirect import rules
from meshproxy.redirect.marks import MARK
from meshproxy.redirect.plan import Plan, Span
from meshproxy.redirect.rules import Condition, Rule, Verdict, tables

TABLE = "inet meshproxy"
REMOVE = f"table {TABLE}\ndelete table {TABLE}\n"
"""A table is deleted only if there is one: so it is first made."""

_OPENING = "tcp flags & (fin | syn | rst | ack) == syn"
_AS_OF_OLD = "tcp flags syn / fin,syn,rst,ack"
"""How some versions of nft list it."""
_BASES = {
    ("mangle", "PREROUTING"): "type filter hook prerouting priority mangle; policy accept;",
    ("mangle", "OUTPUT"): "type route hook output priority mangle; policy accept;",
    ("nat", "PREROUTING"): "type nat hook prerouting priority dstnat; policy accept;",
    ("nat", "OUTPUT"): "type nat hook output priority -100; policy accept;",
}
_MARK = f"{MARK:#010x}"

Lines = tuple[str, ...]


def text(plan: Plan) -> str:
    """The table; chains of the kernel's own come last, since they name others."""
    own, bases = [], []
    for table in tables(plan, plan.families):
        own += [_chain(chain.name, map(_line, chain.rules)) for chain in table.chains]
        for base in dict.fromkeys(hook.base for hook in table.hooks):
            hooks = [_line(hook.rule) for hook in table.hooks if hook.base == base]
            bases.append(_chain(f"{table.name}_{base}".lower(), [_BASES[table.name, base], *hooks]))
    return f"table {TABLE} {{\n" + "\n".join([*own, *bases]) + "}\n"


def lines(listed: str) -> Lines:
    """What says the same is the same."""
    return tuple(line.strip().replace(_AS_OF_OLD, _OPENING) for line in listed.splitlines() if line.strip())


def replace(listed: str) -> str:
    return REMOVE + listed


def missing(have: Lines, want: Lines) -> Iterator[str]:
    """What is not as it should be, a line for each."""
    yield from (f"missing in {TABLE}: {line}" for line in want if line not in have)
    yield from (f"strange in {TABLE}: {line}" for line in have if line not in want)
    if set(have) == set(want) and have != want:
        yield f"in another order in {TABLE} than they should be, or more than once: all rules are there"


def _chain(name: str, rules: Iterator[str] | list[str]) -> str:
    return "\n".join([f"\tchain {name} {{", *(f"\t\t{rule}" for rule in rules), "\t}\n"])


def _line(rule: Rule) -> str:
    # Who asks for ports or flags has asked for the protocol.
    implied = any(isinstance(condition, rules.To | rules.Opening) for condition in rule.conditions)
    protocol = next((each.name for each in rule.conditions if isinstance(each, rules.Protocol)), "")
    words = [
        _condition(condition, protocol)
        for condition in rule.conditions
        if not (implied and isinstance(condition, rules.Protocol))
    ]
    return " ".join([*words, _verdict(rule.verdict)])


def _condition(condition: Condition, protocol: str) -> str:
    match condition:
        case rules.Family(version):
            return f"meta nfproto ipv{version}"
        case rules.Source(network):
            return f"{_ip(network.version)} saddr {_shown(network)}"
        case rules.Destination(network, within):
            if within and not network.prefixlen:
                return f"meta nfproto ipv{network.version}"
            return f"{_ip(network.version)} daddr {'' if within else '!= '}{_shown(network)}"
        case rules.Arrives(interface, here):
            return f'iifname {"" if here else "!= "}"{interface}"'
        case rules.Leaves(interface):
            return f'oifname "{interface}"'
        case rules.Protocol(name):
            return f"meta l4proto {name}"
        case rules.Opening():
            return _OPENING
        case rules.To(spans):
            return f"{protocol} dport {_set(spans)}"
        case rules.User(uid):
            return f"meta skuid {uid}"
        case rules.Group(gid):
            return f"meta skgid {gid}"
        case rules.Foreign():
            return "fib saddr type != local"
        case rules.Kept():
            return f"ct mark {_MARK}"
        case rules.Replying():
            return "ct direction reply"
        case rules.Transparent():
            return "socket transparent 1"


def _verdict(verdict: Verdict) -> str:
    match verdict:
        case rules.Jump(chain):
            return f"jump {chain}"
        case rules.Return():
            return "return"
        case rules.Drop():
            return "drop"
        case rules.Redirect(port):
            return f"redirect to :{port}"
        case rules.Send(address, port):
            return f"dnat ip to {address}:{port}"
        case rules.Tproxy(port):
            return f"tproxy to :{port} meta mark set {_MARK} accept"
        case rules.Mark():
            return f"meta mark set {_MARK}"
        case rules.Keep():
            return f"ct mark set {_MARK}"


def _ip(version: int) -> str:
    return "ip" if version == 4 else "ip6"


def _shown(network: object) -> str:
    return str(network).removesuffix("/32" if "." in str(network) else "/128")


def _set(spans: tuple[Span, ...]) -> str:
    shown = [f"{low}" if low == high else f"{low}-{high}" for low, high in spans]
    return shown[0] if len(shown) == 1 else f"{{ {', '.join(shown)} }}"
