"""What `meshproxy redirect` may be told.  Every `meshproxy` knows it, so nothing is imported that redirecting needs."""

from __future__ import annotations

import argparse
from collections.abc import Callable

LISTS = {
    "inbound-ports": ("LIST", "inbound: only these, as 80,8000-8100, or all (all)"),
    "exclude-inbound-ports": ("LIST", "inbound: all but these"),
    "outbound-ports": ("LIST", "outbound: only to these, or all (all)"),
    "exclude-outbound-ports": ("LIST", "outbound: to all but these"),
    "outbound-cidrs": ("LIST", "outbound: only to these, as 10.0.0.0/8,fd00::/8"),
    "exclude-outbound-cidrs": ("LIST", "outbound: to all but these"),
    "interfaces": ("LIST", "only what arrives or leaves by these"),
    "exclude-interfaces": ("LIST", "all but what arrives or leaves by these"),
    "exclude-uids": ("LIST", "other users whose traffic is left alone"),
}


def add(redirect: argparse.ArgumentParser, duration: Callable[[str], float]) -> None:
    _action(redirect)
    _way(redirect)
    for name, (value, what) in LISTS.items():
        redirect.add_argument(f"--{name}", metavar=value, help=what)
    watch = redirect.add_argument_group("with --watch")
    watch.add_argument(
        "--ready", default="http://127.0.0.1:15020/ready", metavar="URL", help="what to ask (%(default)s); 200 is ready"
    )
    watch.add_argument("--failures", default=3, type=_positive, metavar="N", help="in a row (%(default)s)")
    watch.add_argument(
        "--every", default="1s", type=duration, metavar="DURATION", help="time between questions (%(default)s)"
    )


def _action(redirect: argparse.ArgumentParser) -> None:
    actions = redirect.add_mutually_exclusive_group(required=True)
    for name, what in {
        "print": "say what would be given to the tools; needs no privilege",
        "apply": "put the rules in place, instead of others of ours",
        "check": "0 if the rules are in place as --print says them, else 1 and what is missing",
        "remove": "take all rules of ours away",
        "watch": "take the rules away while the proxy is not ready, and put them back when it is",
    }.items():
        actions.add_argument(f"--{name}", dest="action", action="store_const", const=name, help=what)


def _way(redirect: argparse.ArgumentParser) -> None:
    redirect.add_argument("--backend", default="iptables", choices=("iptables", "nftables"))
    redirect.add_argument(
        "--layout", default="meshproxy", choices=("meshproxy", "fsm", "istio"), help="names of chains, and defaults"
    )
    redirect.add_argument(
        "--mode", default="redirect", choices=("redirect", "tproxy"), help="of inbound; tproxy keeps the source address"
    )
    redirect.add_argument("--outbound-port", metavar="PORT", help="where outbound goes to (15001)")
    redirect.add_argument("--inbound-port", metavar="PORT", help="where inbound goes to (15003, istio 15006)")
    redirect.add_argument("--dns-port", metavar="PORT", help="where DNS goes to; else it is left alone")
    redirect.add_argument("--no-inbound", dest="inbound", action="store_false")
    redirect.add_argument("--no-outbound", dest="outbound", action="store_false")
    redirect.add_argument(
        "--own-calls",
        action=argparse.BooleanOptionalAction,
        help="what the proxy sends to this host itself comes in by inbound (fsm and istio)",
    )
    redirect.add_argument(
        "--uid",
        action="append",
        default=[],
        metavar="USER",
        help="of the proxy, whose traffic is left alone (1500, istio 1337); may be repeated",
    )
    redirect.add_argument("--gid", action="append", default=[], metavar="GROUP", help="likewise; may be repeated")
    redirect.add_argument("--families", default="both", choices=("4", "6", "both"), help="of IP (%(default)s)")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:5]) <= 9999:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to 9999, not {text}")
    return int(text[:5])
