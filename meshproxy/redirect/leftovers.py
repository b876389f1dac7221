"""Chains of the kernel's own that iptables makes when it first puts a rule there, and never takes away.

They do nothing when they are empty.  But what was not there before is to be gone afterwards, so it is noted in the
tables themselves what was made, and nft takes it away.  That goes only for the iptables that is one with nftables, and
where nft is installed; elsewhere there is nothing to take away, or nobody who could.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshproxy.redirect import tools

TABLE = "TABLE"
"""Noted for a table that was not there at all."""


def unmade(family: str, bases: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Of each table, which of these chains are not there yet."""
    if not tools.present("nft"):
        return dict.fromkeys(bases, frozenset())
    there = _tables(tools.asked("nft", "list", "chains", family))
    return {
        table: chains - there[table].keys() if table in there else chains | {TABLE}
        for table, chains in bases.items()
    }


def take_away(family: str, made: Mapping[str, frozenset[str]]) -> None:
    """What was made and is empty now: others may have put rules of their own there meanwhile."""
    if not tools.present("nft"):
        return
    lines: list[str] = []
    for table, chains in made.items():
        there = _tables(tools.asked("nft", "list", "table", family, table)).get(table)
        if there is None:
            continue
        empty = [chain for chain, rules in there.items() if chain in chains and not rules]
        lines += (f"delete chain {family} {table} {chain}" for chain in empty)
        if TABLE in chains and len(empty) == len(there):
            lines.append(f"delete table {family} {table}")
    if lines:
        tools.run("nft", "-f", "-", given="\n".join(lines) + "\n")


def _tables(listed: str) -> dict[str, dict[str, int]]:
    """How many rules each chain of each table has."""
    found: dict[str, dict[str, int]] = {}
    chains: dict[str, int] = {}
    for chain, line in _within(listed):
        if line.startswith("table "):
            chains = found.setdefault(line.split()[2], {})
        elif chain:
            chains.setdefault(chain, 0)
            chains[chain] += not line.startswith(("chain ", "type ", "policy "))
    return found


def _within(listed: str) -> Iterator[tuple[str, str]]:
    """Each line, with the chain that it stands in."""
    chain = ""
    for line in map(str.strip, listed.splitlines()):
        if line.startswith("chain "):
            chain = line.split()[1]
        if line == "}":
            chain = ""
        elif line:
            yield chain, line
