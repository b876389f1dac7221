"""What the proxy answers where it stands in for FSM's sidecar: that one's ports, paths and texts, with our figures.

    front_site(proxy, Front("fsm", ..., quit=True))         # /stats /clusters /listeners /ready /certs /config_dump
    front_site(proxy, Front("fsm-metrics", ...))            # /stats/prometheus
    front_site(proxy, Front("pipy", ...))                   # /metrics /status

The first of them tells how the workload is configured, and there is no token in that protocol: but for `/ready` it
answers over the loopback alone, which is how its users come there, by a port that is forwarded into the pod.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from meshproxy.admin.access import Access
from meshproxy.admin.api import ApiSite, Handler, Later, Proxy, Route, config_dump, metrics, ready
from meshproxy.admin.http import PLAIN, Request, Response
from meshproxy.admin.stream import Stream
from meshproxy.model import Front
from meshproxy.model.config import LOOPBACK
from meshproxy.observe.presets.fsm import OF_A_CLUSTER
from meshproxy.observe.presets.gathering import outcomes
from meshproxy.wire import x509

NOT_FOUND = Response(404, b"Not Found\n", PLAIN)
FAR = Response(403, b"Forbidden: only over the loopback\n", PLAIN)
RETRIES = {
    name.removeprefix("sidecar_cluster_"): field for name, (field, _) in OF_A_CLUSTER.items() if "_retry" in name
}
LIMITED = "RL"
"""The flag of a request that was more than a limit allows."""
FIRST = ("outbound", "inbound")
METRICS_LISTENER = "inbound-prometheus"


# What is told --------------------------------------------------------------------------------------


async def stats(proxy: Proxy, _request: Request) -> Later:
    found = await proxy.stats()
    return lambda: _text("".join(f"{line}\n" for line in counters(found)))


def counters(stats: Mapping[str, Any]) -> Iterator[str]:
    """Of retries, and of what limits have refused, as Envoy writes them."""
    for cluster, held in sorted(stats["clusters"].items()):
        for name, field in RETRIES.items():
            yield f"cluster.{cluster}.{name}: {held[field]}"
    for listener, held in sorted(stats["listeners"].items()):
        yield f"local_rate_limit.inbound_{listener}.rate_limited: {held['rejected']['rate_limit']}"
        for route, by_cluster in sorted(held["answers"].items()):
            limited = sum(
                count for of_it in by_cluster.values() for _, flags, count in outcomes(of_it)
                if LIMITED in flags.split(",")
            )  # fmt: skip
            if limited:
                yield f"http_local_rate_limiter.http_local_rate_limit.rate_limited.{route}: {limited}"


async def listeners(proxy: Proxy, _request: Request) -> Later:
    rows = await proxy.listeners()
    return lambda: _text("".join(f"{line}\n" for line in addresses(rows, _in_force(proxy).get("fronts", ()))))


def addresses(rows: Iterable[Mapping[str, object]], fronts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each listener and each of its addresses, in the order that it has with FSM."""
    listening = {str(row["name"]): str(row["listen"]).split(", ") for row in rows}
    for name in [*FIRST, *(name for name in listening if name not in FIRST)]:
        for address in listening.get(name, ()):
            yield f"{name}-listener::{address}"
    for front in fronts:
        if front["kind"] == "fsm-metrics":
            listen = front["listen"]
            for address in [listen] if isinstance(listen, str) else listen:
                yield f"{METRICS_LISTENER}-listener::{address}"


def certs(proxy: Proxy, _request: Request) -> Later:
    return lambda: _json(certificate(_in_force(proxy)))


def certificate(config: Mapping[str, Any]) -> dict[str, object] | None:
    """That of the workload, with FSM's keys but for `PrivateKey`, which nobody is shown; null where there is none."""
    for tls in _papers(config):
        chain = tls["certificate"]
        try:
            read = x509.read(x509.blocks(chain, "CERTIFICATE")[0])
        except x509.Unreadable:
            continue
        return {
            "CommonName": read.common_name,
            "SubjectAltNames": [*read.dns, *read.uris, *read.ips],
            "Expiration": datetime.fromtimestamp(read.not_after, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "CertChain": chain,
            "IssuingCA": tls.get("client_ca") or tls.get("ca") or "",
        }
    return None


def _papers(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """First what is shown to those who come, then what is shown to those who are asked."""
    listening = config.get("listeners", ())
    chains = [chain for listener in listening for chain in listener.get("chains", ())]
    for holder in [*listening, *chains, *config.get("clusters", {}).values()]:
        said = holder.get("tls")
        for tls in said if isinstance(said, list) else [said]:
            if tls and "certificate" in tls:
                yield tls


def status(proxy: Proxy, _request: Request) -> Response:
    """As it is reported to a repository."""
    info = proxy.server_info()
    asked = next((row["version"] for row in proxy.sources() if row["kind"] == "repo"), None)
    return _json({"version": asked or "", "uptime": info["uptime_seconds"], "state": info["state"]})


# What is done --------------------------------------------------------------------------------------


def quit(proxy: Proxy, _request: Request) -> Response:
    proxy.quit()
    return _text("DONE\n")


def drain(proxy: Proxy, _request: Request) -> Response:
    proxy.drain(0.0)
    return _text("DRAINING\n")


def _in_force(proxy: Proxy) -> dict[str, Any]:
    found = proxy.config_dump()["effective"]
    assert isinstance(found, dict)
    return found


def _text(words: str) -> Response:
    return Response(body=words.encode(), content_type=PLAIN)


def _json(data: object) -> Response:
    return Response(body=json.dumps(data, indent=2).encode() + b"\n")


# The sites -----------------------------------------------------------------------------------------


NEAR = Access(LOOPBACK, None, 0)
"""What holds of everything that is asked over the loopback: a page in a browser cannot ask."""


def _got(**handlers: Handler) -> tuple[Route, ...]:
    return tuple(Route("GET", f"/{name}", handler) for name, handler in handlers.items())


FSM = (
    Route("GET", "/ready", ready, open=True),
    *_got(stats=stats, clusters=stats, listeners=listeners, certs=certs, config_dump=config_dump),
)
ENDING = (Route("POST", "/quitquitquit", quit), Route("POST", "/drain", drain))
METRICS = (Route("GET", "/stats/prometheus", metrics),)
PIPY = _got(metrics=metrics, status=status)


def front_site(proxy: Proxy, said: Front) -> FrontSite:
    if said.kind == "fsm":
        return FrontSite(ApiSite(proxy, (*FSM, *ENDING) if said.quit else FSM, NEAR), near=True)
    return FrontSite(ApiSite(proxy, METRICS if said.kind == "fsm-metrics" else PIPY, None), near=False)


class FrontSite:
    """A table of routes as that sidecar has it: what is not there is `Not Found`, whatever the method."""

    def __init__(self, site: ApiSite, *, near: bool) -> None:
        self._site = site
        self._near = near

    def admit(self, request: Request) -> Response | None:
        route = self._site.route(request)
        if route is None:
            return NOT_FOUND
        if self._near and not (request.is_near or route.open):
            return FAR
        return self._site.admit(request)

    async def answer(self, request: Request) -> Response | Stream:
        return await self._site.answer(request)
