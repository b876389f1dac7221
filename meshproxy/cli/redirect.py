"""`meshproxy redirect`: have the kernel redirect connections to the proxy, and stop it again."""

from __future__ import annotations

import argparse
import grp
import pwd
import signal
import sys
import threading
from collections.abc import Callable

from meshproxy.cli import FAILED, OK, USAGE
from meshproxy.redirect import Refused
from meshproxy.redirect.apply import apply, check, printed, remove
from meshproxy.redirect.layouts import LAYOUTS
from meshproxy.redirect.plan import Plan, cidrs, ids, interfaces, port, ports
from meshproxy.redirect.watch import Question, Watch, question

FAMILIES = {"4": (4,), "6": (6,), "both": (4, 6)}
LONGEST_ANSWER = 1.0
SHORTEST = 0.05
"""Between two questions."""


def redirect(arguments: argparse.Namespace) -> int:
    try:
        plan, asked = _plan(arguments), question(arguments.ready)
    except Refused as refused:
        _tell(str(refused))
        return USAGE
    try:
        return _ACTIONS[arguments.action](arguments, plan, asked)
    except Refused as refused:
        _tell(str(refused))
        return FAILED


def _print(arguments: argparse.Namespace, plan: Plan, _: Question) -> int:
    print(printed(arguments.backend, plan), end="")
    return OK


def _apply(arguments: argparse.Namespace, plan: Plan, _: Question) -> int:
    _tell("rules are in place" if apply(arguments.backend, plan) else "rules were in place")
    return OK


def _check(arguments: argparse.Namespace, plan: Plan, _: Question) -> int:
    found = check(arguments.backend, plan)
    for what in found:
        _tell(what)
    return FAILED if found else OK


def _remove(arguments: argparse.Namespace, _: Plan, __: Question) -> int:
    _tell("rules are removed" if remove(arguments.backend) else "no rules were in place")
    return OK


def _watch(arguments: argparse.Namespace, plan: Plan, asked: Question) -> int:
    """Until a signal ends it, which changes no rule: whether traffic needs the proxy or goes past it stays decided."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    backend, every = arguments.backend, max(arguments.every, SHORTEST)
    watch = Watch(arguments.failures, lambda: apply(backend, plan), lambda: remove(backend), _tell)
    while not ended.is_set():
        watch.heard(asked.answered(LONGEST_ANSWER))
        ended.wait(every)
    _tell(watch.left)
    return OK


_ACTIONS: dict[str, Callable[[argparse.Namespace, Plan, Question], int]] = {
    "print": _print,
    "apply": _apply,
    "check": _check,
    "remove": _remove,
    "watch": _watch,
}


def _plan(arguments: argparse.Namespace) -> Plan:
    layout = LAYOUTS[arguments.layout]
    users = ids(",".join(arguments.uid), _user) if arguments.uid else (layout.uid,)
    return Plan(
        layout,
        outbound_port=port(arguments.outbound_port) if arguments.outbound_port else layout.outbound_port,
        inbound_port=port(arguments.inbound_port) if arguments.inbound_port else layout.inbound_port,
        uids=users,
        gids=ids(",".join(arguments.gid), _group) if arguments.gid else (),
        dns_port=port(arguments.dns_port) if arguments.dns_port else None,
        outbound=arguments.outbound,
        inbound=arguments.inbound,
        tproxy=arguments.mode == "tproxy",
        own_calls=layout.own_calls if arguments.own_calls is None else arguments.own_calls,
        families=FAMILIES[arguments.families],
        inbound_ports=_unless_all(arguments.inbound_ports),
        exclude_inbound_ports=ports(arguments.exclude_inbound_ports) if arguments.exclude_inbound_ports else (),
        outbound_ports=_unless_all(arguments.outbound_ports),
        exclude_outbound_ports=ports(arguments.exclude_outbound_ports) if arguments.exclude_outbound_ports else (),
        outbound_cidrs=cidrs(arguments.outbound_cidrs) if arguments.outbound_cidrs else None,
        exclude_outbound_cidrs=cidrs(arguments.exclude_outbound_cidrs) if arguments.exclude_outbound_cidrs else (),
        interfaces=interfaces(arguments.interfaces) if arguments.interfaces else None,
        exclude_interfaces=interfaces(arguments.exclude_interfaces) if arguments.exclude_interfaces else (),
        exclude_uids=ids(arguments.exclude_uids, _user) if arguments.exclude_uids else (),
    )


def _unless_all(text: str | None) -> tuple[tuple[int, int], ...] | None:
    return None if text in (None, "", "all") else ports(str(text))


def _user(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _group(name: str) -> int:
    return grp.getgrnam(name).gr_gid


def _tell(words: str) -> None:
    # Names of files and of chains come from others, who may have put in what moves the cursor.
    shown = "".join(each if each.isprintable() else "�" for each in words)
    print(f"meshproxy: {shown}", file=sys.stderr, flush=True)
