"""What TPROXY needs of routing: that a marked packet is for this host, whatever its destination."""

from __future__ import annotations

from collections.abc import Iterator

from meshproxy.redirect import tools
from meshproxy.redirect.marks import MARK, TABLE
from meshproxy.redirect.plan import Plan

RULE = f"rule add pref {TABLE} fwmark {MARK:#x} lookup {TABLE}"
ROUTE = f"route add local default dev lo table {TABLE}"
BOTH = frozenset((RULE, ROUTE))

Ways = frozenset[str]
"""Which of the two are there, as what adds them."""


def wanted(plan: Plan, version: int) -> Ways:
    return BOTH if plan.tproxy and version in plan.families else frozenset()


class Routing:
    """That of one family."""

    def __init__(self, version: int, want: Ways) -> None:
        self.name = f"routing of IPv{version}"
        self._version = f"-{version}"
        self.want = want

    @property
    def absent(self) -> bool:
        return not tools.present("ip")

    def look(self) -> Ways:
        rules = tools.asked("ip", self._version, "rule", "show", "pref", str(TABLE)).splitlines()
        routes = tools.asked("ip", self._version, "route", "show", "table", str(TABLE)).splitlines()
        here = {RULE} if any(f"fwmark {MARK:#x} lookup {TABLE}" in line for line in rules) else set()
        there = {ROUTE} if any(line.startswith("local default dev lo") for line in routes) else set()
        return frozenset(here | there)

    def missing(self, have: Ways) -> Iterator[str]:
        yield from (f"missing: ip {self._version} {way}" for way in sorted(self.want - have))
        yield from (f"strange: ip {self._version} {way}" for way in sorted(have - self.want))

    def change(self, have: Ways, want: Ways) -> None:
        for way in sorted(have - want):
            tools.run("ip", self._version, *way.replace(" add ", " del ").split())
        for way in sorted(want - have):
            tools.run("ip", self._version, *way.split())

    def shown(self) -> str:
        return "".join(f"# ip {self._version} {way}\n" for way in sorted(self.want))
