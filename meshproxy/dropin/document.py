"""What the injector says of a sidecar, by its command line and its environment, as a document of ours.

    document(parse_options(arguments), os.environ, "/var/lib/meshproxy")     # {"sources": [...], "node": ...}
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Collection, Mapping
from typing import Any

from meshproxy.dialects.fsm.observability import Log, access_log_of_all, tracing
from meshproxy.dropin.bootstrap import DIRECTORY, trust_domain
from meshproxy.dropin.options import Options, Wrong
from meshproxy.schema.kinds import shown

Data = dict[str, Any]

ADMIN_PORT, METRICS_PORT = 15000, 15010
LABELS = {
    "mesh": "MESH_NAME",
    "pod": "POD_NAME",
    "pod_uid": "POD_UID",
    "pod_ip": "POD_IP",
    "kind": "POD_CONTROLLER_KIND",
    "workload": "POD_CONTROLLER_NAME",
}
NODE = {
    "namespace": "POD_NAMESPACE",
    "service_account": "SERVICE_ACCOUNT",
    "trust_domain": "MESHPROXY_TRUST_DOMAIN",
}
"""The last one is ours, for where the mounted certificate does not tell it."""
DRAIN = {"delay": "5s", "timeout": "20s"}
"""Together less than the thirty seconds after which a pod is killed."""
SPANS = "/api/v2/spans"
TOKEN_BYTES = 32


def document(options: Options, environment: Mapping[str, str], state: str | None) -> Data:
    """`state` is a directory where files may be kept.  Raises Wrong."""
    said: Data = {
        "sources": [_source(options)],
        "node": node(environment),
        "admin": _admin(state),
        "fronts": fronts(options, _families()),
        "drain": DRAIN,
    }
    if state is not None:
        said["state"] = {"dir": state}
    if options.workers is not None:
        said["workers"] = options.workers
    return {**said, **observability(environment)}


def node(environment: Mapping[str, str], mounted: str = DIRECTORY) -> Data:
    said: Data = {key: environment[name] for key, name in NODE.items() if environment.get(name)}
    if "trust_domain" not in said and {"service_account", "namespace"} <= said.keys():
        found = trust_domain(mounted, said["service_account"], said["namespace"])
        said |= {"trust_domain": found} if found else {}
    labels = {key: environment[name] for key, name in LABELS.items() if environment.get(name)}
    return {**said, "labels": labels} if labels else said


def fronts(options: Options, anywhere: Collection[str]) -> list[Data]:
    """At the ports of FSM's sidecar, and at that which is asked for."""
    found: list[Data] = [
        {"kind": "fsm", "listen": [f"{host}:{ADMIN_PORT}" for host in anywhere], "quit": True},
        {"kind": "fsm-metrics", "listen": [f"{host}:{METRICS_PORT}" for host in anywhere]},
    ]
    if options.admin is not None:
        found.append({"kind": "pipy", "listen": str(options.admin)})
    return found


def observability(environment: Mapping[str, str]) -> Data:
    """Of osm-edge 1.3.0 to 1.3.9; what comes later has it in the policy."""
    said: Data = {}
    if traces := environment.get("TRACING_ADDRESS"):
        url = f"http://{traces}{environment.get('TRACING_ENDPOINT') or SPANS}"
        share = _share(environment, "TRACING_SAMPLED_FRACTION")
        said["tracing"] = tracing(url, share, environment.get("SERVICE_ACCOUNT", ""))
    if lines := environment.get("REMOTE_LOGGING_ADDRESS"):
        share = _share(environment, "REMOTE_LOGGING_SAMPLED_FRACTION")
        if environment.get("REMOTE_LOGGING_LEVEL", "0") == "0":
            share = 1.0
        if share:
            said["access_log"] = access_log_of_all(
                Log.at(
                    lines,
                    environment.get("REMOTE_LOGGING_ENDPOINT", ""),
                    authorization=environment.get("REMOTE_LOGGING_AUTHORIZATION", ""),
                    share=share,
                    namespace=environment.get("POD_NAMESPACE", ""),
                    traced="tracing" in said,
                )
            )
    return said


def _share(environment: Mapping[str, str], name: str) -> float:
    text = environment.get(name) or "1"
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise Wrong(f"{name}: {shown(text)} is not a number from 0 to 1")
    return share


def _source(options: Options) -> Data:
    said: Data = {"name": options.source.name, "url": options.source.url}
    return {**said, "tls": options.papers} if options.papers else said


def _admin(state: str | None) -> Data:
    """Who may read what is kept may steer; where nothing can be kept, nobody knows the token."""
    if state is not None:
        return {"listen": f"unix:{state}/admin.sock"}
    return {"listen": "127.0.0.1:0", "token": secrets.token_urlsafe(TOKEN_BYTES)}


def _families() -> list[str]:
    """Every address of this pod; a node may have been told to have none of IPv6."""
    found = ["0.0.0.0"]  # noqa: S104 - what is asked from afar is answered with less
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::", 0))
    except OSError:
        return found
    return [*found, "[::]"]
