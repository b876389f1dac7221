"""Who is told of requests: a collector of traces, a server for the access log, and whoever asks for metrics.

    put_observability(draft)                                    # `tracing`, `access_log`, `metrics`
    tracing("http://zipkin:9411", 0.1, "books")                 # in our words
    access_log(Log("http://logs:8123/", share=0.5), {"in": "inbound"})

A line of the log has the keys that it has with FSM, as far as there is something to say and it is no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshproxy.dialects.fsm.draft import Data, Draft
from meshproxy.dialects.fsm.papers import own_identity
from meshproxy.dialects.fsm.said import RemoteLogging, Tracing
from meshproxy.dialects.fsm.scripts import SIDES
from meshproxy.schema.shapes import Path

PATH: Path = ("Spec", "Observability")
METRICS: Data = {"presets": ["fsm"]}
LOG_PATH = "/?query=insert%20into%20log(message)%20format%20JSONAsString"
"""Where nothing is said: of ClickHouse."""
ANSWERED = "100-599"
"""FSM has no lines of connections."""
LONGEST_SERVICE = 50
HEADERS = ("user-agent", "content-type", "serviceidentity", "x-forwarded-for", "x-request-id")
UNSAID = "bodies are not logged, and of header fields a few, for the others may hold secrets"


def put_observability(draft: Draft) -> None:
    said = draft.said.spec
    traced = said.observability.tracing is not None and _put_tracing(draft, said.observability.tracing)
    if said.observability.remote_logging is not None:
        _put_log(draft, said.observability.remote_logging, traced=traced)
    if said.logging_level:
        why = "where the access log goes is not in the document, but in variables of the sidecar: say `access_log`"
        draft.note("not-in-force", ("Spec", "RemoteLoggingLevel"), why)
    if draft.setting.metrics is None:
        draft.say("metrics", METRICS, ())


# Traces -------------------------------------------------------------------------------------------


def _put_tracing(draft: Draft, said: Tracing) -> bool:
    path = (*PATH, "tracing")
    if not said.address:
        draft.note("ignored", path, "nobody is told of traces: there is no `address`")
        return False
    account = own_identity(draft).rpartition(".")[0]
    draft.say("tracing", tracing(f"http://{said.address}{said.endpoint}", said.fraction, account), path)
    return True


def tracing(url: str, share: float, account: str) -> Data:
    """FSM calls a sidecar by its service account, and has no bound for what a second may bring."""
    said: Data = {"propagate": ["b3multi"], "sample": {"share": share, "rate": None}, "export": {"zipkin": url}}
    return {**said, "service": account[:LONGEST_SERVICE]} if account else said


# The access log -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Log:
    url: str
    authorization: str = field(default="", repr=False)
    share: float = 1.0
    namespace: str = ""
    traced: bool = False

    @classmethod
    def at(cls, address: str, endpoint: str, **more: Any) -> Log:
        return cls(f"http://{address}{endpoint or LOG_PATH}", **more)


def _put_log(draft: Draft, said: RemoteLogging, *, traced: bool) -> None:
    path = (*PATH, "remoteLogging")
    if not said.address:
        draft.note("ignored", path, "the access log goes nowhere: there is no `address`")
        return
    share = said.fraction if said.level else 1.0
    if not share:
        draft.note("ignored", (*path, "sampledFraction"), "there is no access log: no request is to be in it")
        return
    draft.note("ignored", path, UNSAID)
    if said.level and not traced:
        draft.note("ignored", (*path, "level"), "B3 headers are made where there is `tracing`, and there is none")
    own = own_identity(draft).rpartition(".")[2]
    log = Log.at(
        said.address, said.endpoint, authorization=said.authorization, share=share, namespace=own, traced=traced
    )
    names = {listener["name"] for listener in draft.words.value.get("listeners", ())}
    sides = {side: side for side in SIDES if side in names}
    if sides:
        draft.say("access_log", access_log(log, sides), path)


def access_log(log: Log, sides: Mapping[str, str]) -> list[Data]:
    """One for each listener, by its direction, for they differ in who is remote."""
    return [{**_log(log, side), "listeners": [listener]} for listener, side in sides.items()]


def access_log_of_all(log: Log) -> Data:
    """One for all listeners, where they are not known yet: who is remote is the client of each, also of what leaves."""
    return _log(log, "%LISTENER%")


def _log(log: Log, side: str) -> Data:
    http: Data = {"url": log.url, "body": "array"}
    if log.authorization:
        http["headers"] = {"authorization": log.authorization}
    when: Data = {"status": [ANSWERED]}
    if log.share < 1:
        when["share"] = log.share
    return {"to": {"http": http}, "format": {"json": _line(log, side)}, "when": when}


def _line(log: Log, side: str) -> Data:
    remote, local = ("LOCAL", "REMOTE") if side == "outbound" else ("REMOTE", "LOCAL")
    pod = {"name": "%HOSTNAME%", **({"ns": log.namespace.replace("%", "%%")} if log.namespace else {})}
    return {
        "reqTime": "%START_TIME(%s%3f)%",
        "duration": "%DURATION%",
        "type": side,
        "remoteAddr": f"%DOWNSTREAM_{remote}_ADDRESS_WITHOUT_PORT%",
        "remotePort": f"%DOWNSTREAM_{remote}_PORT%",
        "localAddr": f"%DOWNSTREAM_{local}_ADDRESS_WITHOUT_PORT%",
        "localPort": f"%DOWNSTREAM_{local}_PORT%",
        "node": {"name": "%HOSTNAME%"},
        "pod": pod,
        "trace": _trace(log.traced),
        "req": {
            "protocol": "%PROTOCOL%",
            "method": "%REQ(:METHOD)%",
            "path": "%REQ(:PATH)%",
            "reqSize": "%BYTES_RECEIVED%",
            "headers": {"host": "%REQ(:AUTHORITY)%", **{name: f"%REQ({name})%" for name in HEADERS}},
        },
        "service": {"name": "%UPSTREAM_CLUSTER%", "target": "%UPSTREAM_HOST%"},
        "res": {"status": "%RESPONSE_CODE%", "resSize": "%BYTES_SENT%"},
    }


def _trace(traced: bool) -> Data:
    """Our own span, or what the request has brought where nobody makes spans."""
    names = ("%TRACE_ID%", "%SPAN_ID%", "%REQ(x-b3-spanid)%")
    brought = ("%REQ(x-b3-traceid)%", "%REQ(x-b3-spanid)%", "%REQ(x-b3-parentspanid)%")
    found = zip(("id", "span", "parent"), names if traced else brought, strict=True)
    return {**dict(found), "sampled": "1"}
