"""What does not fit together in a tunnel: it is dialled, or accepted, or made by a proxy, or by one of several."""

from __future__ import annotations

from collections.abc import Mapping

from meshproxy.model.address import Address
from meshproxy.model.matching import Found
from meshproxy.model.tls import client_problems
from meshproxy.model.tunnels import Tunnel
from meshproxy.schema.shapes import Names

LONGEST_CREDENTIAL = 255
"""Bytes, as SOCKS5 has them."""

OF_SESSIONS = {
    "transport": "tcp", "mode": "standby", "resume": 60.0, "streams": 1000, "classes": (), "listener": None,
    "datagrams": None, "compress": "off", "dictionary": None,
}  # fmt: skip
"""What only another meshproxy understands, and what it is where nobody has said it."""

OF_CONNECTIONS = {"links": 1, "dead": 15.0}
"""What connections have that several streams share."""

OF_A_PROXY = {"server": None, "user": None, "password": None, "tls": None}
"""What is said of a proxy where it stands, and not where several are named."""


def way_problems(said: Tunnel, listeners: Mapping[str, str]) -> Found:
    """`listeners` are the protocols of all, by their names."""
    match [key for key in ("dial", "accept", "through", "among") if getattr(said, key)]:
        case ["dial"]:
            if said.tls is None or said.tls.certificate is None:
                yield ("tls",), "`tls` with `certificate` and `key` is needed: both ends of a tunnel prove who they are"
            yield from _of_no_proxy(said)
            if said.transport != "tcp":
                yield from _of_quic(said)
        case ["accept"]:
            if said.tls is not None:
                yield ("tls",), "`tls` stands on the listener that accepts"
            if said.transport != "tcp":
                yield ("transport",), "`transport` is for who dials: a listener of `protocol` tunnel or quic says it"
            yield from _of_no_proxy(said)
        case ["through"]:
            yield from _through(said)
        case ["among"]:
            yield from _unused(said, OF_SESSIONS | OF_CONNECTIONS | OF_A_PROXY, "among")
        case _:
            yield (), f"tunnel `{said.name}` needs one of `dial`, `accept`, `through` and `among`"
    if said.dictionary is not None and said.compress == "off" and not said.by_proxies:
        yield ("dictionary",), "`dictionary` needs `compress: zstd`"
    for key, name in (("listener", said.listener), ("datagrams", said.datagrams)):
        if name is not None:
            yield from _led_to(key, name, listeners)
    if said.tls is not None:
        for path, words in client_problems(said.tls):
            yield ("tls", *path), words


def _led_to(key: str, name: str, listeners: Mapping[str, str]) -> Found:
    protocol = listeners.get(name)
    if protocol is None:
        yield (key,), f"no listener `{name}`"
    elif (protocol == "udp") is not (key == "datagrams"):
        other = "`datagrams`" if protocol == "udp" else "`listener`"
        yield (key,), f"`{key}` cannot lead to `{name}`, which has `protocol: {protocol}`: that is for {other}"


def among_problems(said: Tunnel, known: Mapping[str, Tunnel]) -> Found:
    """Of the others that it names."""
    names = Names(known)
    first: dict[str, int] = {}
    for index, each in enumerate(said.among):
        name, path = each.tunnel, ("among", index, "tunnel")
        if name not in known:
            yield path, f"no tunnel `{name}`{names.nearest(name)}"
        elif known[name].through is None:
            yield path, f"tunnel `{name}` has no `through`: only such may take turns"
        elif first.setdefault(name, index) != index:
            yield path, f"tunnel `{name}` is named twice: first as `among[{first[name]}]`"


def _of_quic(said: Tunnel) -> Found:
    tls = said.tls
    if tls is not None and not (tls.ca and tls.names and tls.verify == "name"):
        yield ("tls",), f"`transport: {said.transport}` needs `tls` with `ca` and `names`"
    for index, where in enumerate(said.dial):
        if isinstance(where, Address) and where.kind == "unix":
            yield ("dial", index), f"`transport: {said.transport}` cannot go to a unix socket"


def _of_no_proxy(said: Tunnel) -> Found:
    for key in ("server", "user", "password"):
        if getattr(said, key) is not None:
            yield (key,), f"`{key}` is for `through`: this leads to another meshproxy"


def _through(said: Tunnel) -> Found:
    of_no_use = OF_SESSIONS if said.through == "h2" else OF_SESSIONS | OF_CONNECTIONS
    yield from _unused(said, of_no_use, f"through: {said.through}")
    if said.server is None:
        yield ("server",), "`through` needs `server`"
    elif said.tls is not None and said.tls.nameless(said.server, None):
        yield ("tls",), "`tls` needs `sni` or `names` where `server` is a unix socket"
    if (said.user is None) != (said.password is None):
        missing, there = ("password", "user") if said.password is None else ("user", "password")
        yield (there,), f"`{there}` needs `{missing}`"
    if said.user is not None and said.through != "socks5" and ":" in said.user:
        yield ("user",), "`user` must not have a colon with CONNECT: what follows it would be the password"
    if said.through == "socks5":
        yield from _sayable(said)


def _unused(said: Tunnel, defaults: Mapping[str, object], what: str) -> Found:
    for key, default in defaults.items():
        if getattr(said, key) != default:
            yield (key,), f"`{key}` is of no use with `{what}`"


def _sayable(said: Tunnel) -> Found:
    password = None if said.password is None else said.password.text
    for key, value in (("user", said.user), ("password", password)):
        if value is not None and not 0 < len(value.encode()) <= LONGEST_CREDENTIAL:
            yield (key,), f"`{key}` must have 1 to {LONGEST_CREDENTIAL} bytes with `through: socks5`"
