"""A client that says which meshproxy it is: heard once for a connection, and told who we are with that very answer.

    X-Meshproxy-Peer, by whom a certificate proves to be somebody -> remembered under that identity, and answered
    a second time, by anybody else, or no introduction at all     -> a request like any other

The line itself goes on to nobody (`wire.h1.connection`).  A request without it pays nothing for this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meshproxy.core.exchange import Exchange
from meshproxy.core.introduction import Introduction
from meshproxy.relay.http.handling import NOTHING, Asked, Handling, common
from meshproxy.relay.http.service import Decision, Front
from meshproxy.wire.h1 import RequestHead
from meshproxy.wire.h1.connection import PEER
from meshproxy.wire.introduction import read


class Meeting(Front):
    """Of listeners where clients show certificates."""

    __slots__ = ("_introduction",)

    def __init__(self, introduction: Introduction, *front: Any) -> None:
        super().__init__(*front)
        self._introduction = introduction

    def decide(self, head: RequestHead) -> Decision:
        handling, path, opening = super().decide(head)
        if PEER in head.shape.positions:
            handling = Met(inner=handling, introduction=self._introduction, **common(handling))
        return handling, path, opening


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Met(Handling):
    """What would have become of the request, behind the introduction."""

    inner: Handling
    introduction: Introduction

    def opening(self, head: RequestHead, path: bytes, target: bytes, without: frozenset[bytes] = NOTHING) -> bytes:
        return self.inner.opening(head, path, target, without)

    def begin(self, asked: Asked, x: Exchange) -> None:
        origin, peer = x.origin, x.origin.peer
        if peer is not None and peer.identity and PEER not in origin.kept:
            said = origin.kept[PEER] = read(x.request.all(PEER))
            if said is not None:
                introduction = self.introduction
                introduction.peers.came(peer.identity, said)
                if introduction.line:
                    x.response_changes.lines += introduction.line
        self.inner.begin(asked, x)
