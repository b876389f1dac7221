"""Where rules stand: what is there of ours, what is missing, and how it becomes what it should be, at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

from meshproxy.redirect import iptables, leftovers, nftables, tools
from meshproxy.redirect.iptables import Ours, Owned
from meshproxy.redirect.nftables import Lines
from meshproxy.redirect.plan import Plan
from meshproxy.redirect.routing import Routing
from meshproxy.redirect.routing import wanted as ways_wanted

BACKENDS = ("iptables", "nftables")
VERSIONS = (4, 6)


class Place(Protocol):
    name: str
    want: Any

    @property
    def absent(self) -> bool:
        """Whether its tool is not installed, so that nothing of ours can be there."""

    def look(self) -> Any:
        """What is ours there, as `want` says it."""

    def missing(self, have: Any) -> Iterator[str]:
        """What is not as wanted, a line for each."""

    def change(self, have: Any, want: Any) -> None: ...

    def shown(self) -> str:
        """What is given to its tool if nothing of ours is there, as somebody would read it."""


def places(backend: str, plan: Plan | None) -> list[Place]:
    """In the order in which they are filled; without a plan nothing is wanted in any of them."""
    ways = [Routing(version, ways_wanted(plan, version) if plan else frozenset()) for version in VERSIONS]
    rules: list[Place]
    if backend == "nftables":
        rules = [NfTables(nftables.text(plan) if plan else "")]
    else:
        rules = [IpTables(version, iptables.wanted(plan, version) if plan else {}) for version in VERSIONS]
    # A packet that is marked and has no way is lost: the way is there before the mark, and goes after it.
    return [*ways, *rules] if plan and plan.tproxy else [*rules, *ways]


class IpTables:
    """The tables of one family."""

    def __init__(self, version: int, want: Ours) -> None:
        self.name = "iptables" if version == 4 else "ip6tables"
        self.want = want
        self._family = "ip" if version == 4 else "ip6"

    @property
    def absent(self) -> bool:
        return not tools.present(f"{self.name}-save")

    def look(self) -> Ours:
        saved = tools.run(f"{self.name}-save")
        iptables.require_free(saved, self.want)
        return iptables.owned(saved)

    def missing(self, have: Ours) -> Iterator[str]:
        return (f"{self.name}: {what}" for what in iptables.missing(have, self.want))

    def change(self, have: Ours, want: Ours) -> None:
        want = self._noted(have, want)
        if text := iptables.transition(have, want):
            tools.run(f"{self.name}-restore", "--noflush", "-w", str(tools.LOCK_WAIT), given=text)
        gone = {table: there.made - want.get(table, Owned()).made for table, there in have.items()}
        leftovers.take_away(self._family, {table: made for table, made in gone.items() if made})

    def shown(self) -> str:
        text = iptables.transition({}, self.want)
        return f"# {self.name}-restore --noflush\n{text}" if text else ""

    def _noted(self, have: Ours, want: Ours) -> Ours:
        """What is wanted, with what has to be remembered of how it was before."""
        bases = {table: frozenset(line.split()[1] for _, line in due.hooks) for table, due in want.items()}
        unmade = leftovers.unmade(self._family, bases)
        noted = {}
        for table, due in want.items():
            made = due.made | have.get(table, Owned()).made | unmade[table]
            noted[table] = replace(due, made=made & (bases[table] | {leftovers.TABLE}))
        return noted


class NfTables:
    """One table for both families."""

    name = "nftables"

    def __init__(self, text: str) -> None:
        self.want = nftables.lines(text)
        self._text = text

    @property
    def absent(self) -> bool:
        return not tools.present("nft")

    def look(self) -> Lines:
        return nftables.lines(tools.asked("nft", "-s", "list", "table", *nftables.TABLE.split()))

    def missing(self, have: Lines) -> Iterator[str]:
        return (f"{self.name}: {what}" for what in nftables.missing(have, self.want))

    def change(self, have: Lines, want: Lines) -> None:
        if have != want:
            tools.run("nft", "-f", "-", given=nftables.replace("\n".join(want) + "\n"))

    def shown(self) -> str:
        return f"# nft -f -\n{nftables.replace(self._text)}"
