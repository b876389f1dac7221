"""Where lines go that logs and traces are made of: what an operator said, as a sink that stays over reloads.

    sinks = Sinks(claims, rim)
    sinks.of_log(said).offer(line)
    sinks.of_collector("otlp", said, join).offer(rendered)
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from meshproxy import model
from meshproxy.core.table import Claims
from meshproxy.model.access_log import AccessLog, HttpSink, Syslog
from meshproxy.model.tls import ClientTls
from meshproxy.net.aside import Aside
from meshproxy.net.postbox import Connect, PostBox, plainly, securely
from meshproxy.net.poster import Join, Poster
from meshproxy.net.sinks import Account, FileSink, Sink, StreamSink, SyslogSink
from meshproxy.observe.metrics.process import SinkStats
from meshproxy.plan.rim import Rim
from meshproxy.plan.tls import client_context_of
from meshproxy.relay.live import OfSink
from meshproxy.schema.kinds import Secret
from meshproxy.schema.shapes import Path
from meshproxy.wire.syslog import local, priority, rfc5424

STREAMS = {"stdout": 1, "stderr": 2}

Make = Callable[[Account], Sink]


def _array(lines: Sequence[bytes]) -> Sequence[bytes]:
    """The end of a line is a blank there."""
    return b"[", b",".join(lines), b"]"


POSTED: Mapping[str, tuple[bytes, Join]] = {
    "lines": (b"text/plain; charset=utf-8", list),
    "array": (b"application/json", _array),
}
"""How logs are posted."""


@dataclass(frozen=True, slots=True)
class Sinks:
    claims: Claims
    rim: Rim

    def of_log(self, said: AccessLog, where: Path) -> Sink:
        """Two logs that say the same of where they go have one sink."""
        to = said.to
        name: str
        if to.stream is not None:
            name, make = to.stream, self._stream(to.stream)
        elif to.file is not None:
            name, make = to.file, self._file(to.file)
        elif to.syslog is not None:
            name, make = f"syslog {to.syslog.address}", self._syslog(to.syslog)
        else:
            assert to.http is not None, "one of them is said"
            name, make = _of_url(to.http.url), self._http(to.http, (*where, "to", "http", "tls"))
        key = model.encode(to, redact=True), said.buffer, said.flush
        return self._claimed(name, key, said.buffer, said.flush, make)

    def of_collector(self, kind: str, said: model.Tracing, content_type: str, join: Join) -> Sink:
        to = said.export.to
        fields = [(b"Content-Type", content_type.encode("ascii")), *_fields(to.headers)]
        where: Path = ("tracing", "export", kind, "tls")
        make = self._poster(to.target, fields, to.tls, where, said.timeout, join)
        key = model.encode(said, redact=True)
        return self._claimed(f"{kind} {_of_url(to.url)}", key, said.buffer, said.flush, make)

    def _claimed(self, name: str, key: object, buffer: int, flush: float, make: Make) -> Sink:
        rim = self.rim

        def first() -> OfSink:
            stats = SinkStats()
            return OfSink(rim.stats.sinks, rim.sinks, name, make(Account(name, stats, rim.log, buffer, flush)))

        return self.claims.claim(("sink", name, repr(key)), first).sink

    # Each kind

    def _aside(self, name: str) -> Aside:
        return Aside(self.rim.loop, name)

    def _stream(self, name: str) -> Make:
        return lambda account: StreamSink(self.rim.clock, self._aside("log"), STREAMS[name], account)

    def _file(self, path: str) -> Make:
        return lambda account: FileSink(self.rim.clock, self._aside("log"), path, account)

    def _syslog(self, said: Syslog) -> Make:
        number, address, rim = priority(said.facility, said.severity), said.address, self.rim
        assert isinstance(address, model.Address), "names are refused"
        if address.kind == "unix":
            header = local(number, tag=said.tag, pid=os.getpid())
        else:
            header = rfc5424(number, host=platform.node(), tag=said.tag, pid=os.getpid())
        return lambda account: SyslogSink(rim.loop, rim.clock, address, header, account)

    def _http(self, said: HttpSink, where: Path) -> Make:
        content_type, join = POSTED[said.body]
        fields = [(b"Content-Type", content_type), *_fields(said.headers)]
        if said.token is not None:
            assert said.token.text is not None, "what is in force is in clear"
            fields.append((b"Authorization", b"Bearer " + said.token.text.encode()))
        return self._poster(said.url, fields, said.tls, where, said.timeout, join)

    def _poster(
        self,
        url: str,
        fields: Sequence[tuple[bytes, bytes]],
        tls: ClientTls | None,
        where: Path,
        timeout: float,
        join: Join,
    ) -> Make:
        clock, connect = self.rim.clock, self._connect(url, tls, where, timeout)

        def make(account: Account) -> Sink:
            box = PostBox(clock, self._aside("names"), url, fields, connect, timeout=timeout)
            return Poster(clock, box, join, account)

        return make

    def _connect(self, url: str, tls: ClientTls | None, where: Path, timeout: float) -> Connect:
        rim, said = self.rim, urlsplit(url)
        if said.scheme == "http":
            return plainly(rim.loop, rim.clock, timeout)
        tls = tls or ClientTls()
        context, _ = client_context_of(where, tls, rim.papers, self.claims, named=True)
        return securely(rim.loop, rim.clock, rim.http.deadlines, timeout, context, tls.sni or said.hostname or "")


def _fields(said: Sequence[tuple[str, Secret]]) -> list[tuple[bytes, bytes]]:
    found = []
    for name, value in said:
        assert value.text is not None, "what is in force is in clear"
        found.append((name.encode("ascii"), value.text.encode("ascii")))
    return found


def _of_url(url: str) -> str:
    """Without what may be secret."""
    said = urlsplit(url)
    return f"{said.scheme}://{said.netloc.rpartition('@')[2]}"
