"""Questions as datagrams: each is answered by itself, from the socket on which it came."""

from __future__ import annotations

from functools import partial
from typing import Any

from meshproxy.core.limit import Flow
from meshproxy.net.udp import DatagramDoor
from meshproxy.relay.dns.service import DnsService
from meshproxy.relay.dns.upstream import Waiting
from meshproxy.relay.live import ListenerState


class DnsDatagrams:
    """Compiled."""

    __slots__ = ("_dns", "_rate", "_stats")

    def __init__(self, dns: DnsService, state: ListenerState, rate: Flow | None) -> None:
        self._dns = dns
        self._stats = state.stats
        self._rate = rate

    def receive(self, door: DatagramDoor, data: bytes, source: Any) -> None:
        stats, rate = self._stats, self._rate
        stats.datagrams_received_total += 1
        stats.bytes_received_total += len(data)
        if rate is None or rate.take():
            self._take(door, data, source)
        else:
            rate.ask(partial(self._within_rate, door, data, source))

    def _within_rate(self, door: DatagramDoor, data: bytes, source: Any, granted: bool) -> None:
        """A client that hears nothing waits for seconds; it takes less to ask whether there is a unit for it."""
        if not granted:
            self._stats.rejected["rate_limit"] += 1
        elif not door.closed:
            self._take(door, data, source)

    def _take(self, door: DatagramDoor, data: bytes, source: Any) -> None:
        waiting = self._dns.take(data, partial(self._say, door, source), datagram=True)
        if waiting is not None:
            door.joined(waiting)

    def _say(self, door: DatagramDoor, source: Any, message: bytes, waiting: Waiting | None) -> None:
        if waiting is not None:
            door.left(waiting)
        if door.reply(message, source):
            self._stats.datagrams_sent_total += 1
            self._stats.bytes_sent_total += len(message)
