"""Who is told of requests, where it is as FSM would have it: a collector of Zipkin, and a server for the access log.

    observability(config, said, {"in": "inbound"})      # {"tracing": {"address": "zipkin:9411", ...}}

What is said can be said again if the reader would make the same of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from meshproxy.dialects.fsm.observability import METRICS, Log, access_log, tracing
from meshproxy.dialects.writing.said import Said
from meshproxy.model import Config, decode
from meshproxy.model.access_log import AccessLog
from meshproxy.model.log_format import leaves

Data = dict[str, Any]
PLAIN = "http://"
ONLY_ZIPKIN = "FSM knows of it the address of a collector of Zipkin, by http, and which share of requests it is told of"
ONLY_ITS_LOG = "FSM knows of it the address of a server that is posted to, by http, and which share of requests"


def observability(config: Config, said: Said, sides: Mapping[str, str]) -> Data:
    """`sides` are the listeners of a sidecar, each with its direction."""
    if said["metrics"].value == METRICS:
        said["metrics"].take()
    traces = _tracing(config, said["tracing"])
    log = _remote_logging(config, said["access_log"], sides, traced=bool(traces))
    return {key: found for key, found in (("tracing", traces), ("remoteLogging", log)) if found}


def _tracing(config: Config, said: Said) -> Data:
    found = config.tracing
    if found is None:
        return {}
    url = found.export.zipkin.url if found.export.zipkin is not None else ""
    share = _fraction(found.sample.share)
    same = url.startswith(PLAIN) and _read(tracing=tracing(url, float(share), "")).tracing
    if same != replace(found, service=None):
        said.lose(ONLY_ZIPKIN)
        return {}
    said.take()
    if found.service != (config.node.service_account or None):
        said["service"].tell("FSM calls a sidecar by its service account")
    return {**_address(url), "sampledFraction": share}


def _remote_logging(config: Config, said: Said, sides: Mapping[str, str], *, traced: bool) -> Data:
    logs = config.access_log
    if not logs:
        return {}
    http = logs[0].to.http
    if http is None or not http.url.startswith(PLAIN):
        said.lose(ONLY_ITS_LOG)
        return {}
    share, key = _fraction(logs[0].when.share), dict(http.headers).get("authorization")
    authorization = key.text or "" if key is not None else ""
    log = Log(http.url, authorization, float(share), _namespace(logs[0]), traced)
    if logs != _read(access_log=access_log(log, sides)).access_log:
        said.lose(ONLY_ITS_LOG)
        return {}
    said.take()
    found = {**_address(http.url), "authorization": authorization}
    return found if log.share == 1 else {**found, "level": 1, "sampledFraction": share}


def _namespace(log: AccessLog) -> str:
    """It is in the line, and FSM has it from elsewhere."""
    return dict(leaves(log.format.fields or ())).get("pod.ns", "").replace("%%", "%")


def _read(**sections: Any) -> Config:
    return decode(Config, sections)


def _fraction(share: float) -> str:
    return f"{share:.6f}"


def _address(url: str) -> dict[str, str]:
    address, slash, path = url.removeprefix(PLAIN).partition("/")
    return {"address": address, "endpoint": slash + path}
