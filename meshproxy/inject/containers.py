"""The containers and volumes that a pod gets: the proxy, and what redirects to it before anything else runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from meshproxy.inject.options import Options

PROXY = "meshproxy"
REDIRECT = "meshproxy-redirect"
CONFIG, RUN, STATE, CERTIFICATES = "meshproxy-config", "meshproxy-run", "meshproxy-state", "meshproxy-certificates"

USER = 1500
OUTBOUND_PORT, INBOUND_PORT, STATUS_PORT, PROBES_PORT, DNS_PORT = 15001, 15003, 15020, 15021, 5300
DRAIN = 25
"""Seconds in which connections may end, in the older form: the pod has 30 if it says nothing."""
START = 60
"""Seconds within which the proxy has to be ready, or is started anew."""

_ENVIRONMENT = {
    "POD_NAME": "metadata.name",
    "POD_NAMESPACE": "metadata.namespace",
    "POD_UID": "metadata.uid",
    "POD_IP": "status.podIP",
    "NODE_NAME": "spec.nodeName",
    "SERVICE_ACCOUNT": "spec.serviceAccountName",
}
_NAMESPACE, _ACCOUNT = "$(POD_NAMESPACE)", "$(SERVICE_ACCOUNT)"
"""Known to nobody before the pod runs: the kubelet puts them in, from variables that stand above."""


def sidecar(options: Options) -> dict[str, Any]:
    """What a pod without probes of its own gets: what is added to the lists of its `spec`."""
    return added(options, [], {}, ends=False)


def added(
    options: Options, checks: Sequence[Mapping[str, Any]], labels: Mapping[str, str], *, ends: bool
) -> dict[str, list[dict[str, Any]]]:
    """By key of the `spec`, what comes before that which is there; of volumes, after it. `ends`: the pod is to end."""
    proxy = _proxy(options, checks, labels, ends=ends)
    first = [_redirect(options)] if options.redirects else []
    native = options.form == "native"
    return {
        "initContainers": [*first, proxy] if native else first,
        "containers": [] if native else [proxy],
        "volumes": _volumes(options),
    }


# The proxy ----------------------------------------------------------------------------------------


def _proxy(
    options: Options, checks: Sequence[Mapping[str, Any]], labels: Mapping[str, str], *, ends: bool
) -> dict[str, Any]:
    native = options.form == "native"
    return {
        "name": PROXY,
        "image": options.image,
        **({"restartPolicy": "Always"} if native else {}),
        "args": _arguments(options, ends=ends and not native),
        "env": [
            *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": at}}} for name, at in _ENVIRONMENT.items()),
            {"name": "MESHPROXY_POD", "value": _pod(checks, labels)},
        ],
        "ports": [
            {"name": "mesh-out", "containerPort": OUTBOUND_PORT},
            {"name": "mesh-in", "containerPort": INBOUND_PORT},
            {"name": "mesh-status", "containerPort": STATUS_PORT},
            *([{"name": "mesh-probes", "containerPort": PROBES_PORT}] if checks else []),
        ],
        **(_started() if native else {"lifecycle": _lifecycle()}),
        "readinessProbe": _readiness(options),
        "livenessProbe": {"httpGet": {"path": "/live", "port": STATUS_PORT}, "periodSeconds": 10},
        "resources": _resources(options),
        "securityContext": _security(options),
        "volumeMounts": _mounts(options),
    }


def _arguments(options: Options, *, ends: bool) -> list[str]:
    arguments = ["run", "-c", "/etc/meshproxy", "-c", "env:MESHPROXY_POD", "--state-dir", "/var/lib/meshproxy"]
    if options.control_plane:
        url = _literal(options.control_plane)
        arguments += ["-c", url.replace("{namespace}", _NAMESPACE).replace("{serviceAccount}", _ACCOUNT)]
    if options.log_level:
        arguments += ["--log-level", options.log_level]
    return [*arguments, "--end-with-pod"] if ends else arguments


def _pod(checks: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> str:
    """The pod's own part of the configuration; a line for each check, to be read in a manifest."""
    node: dict[str, Any] = {"namespace": _NAMESPACE, "service_account": _ACCOUNT}
    if labels:
        node["labels"] = _literals(labels)
    said = f'{{"node": {_json(node)}'
    if checks:
        listed = ",\n".join(f"  {_json(_literals(check))}" for check in checks)
        said += f',\n "probes": {{"listen": "0.0.0.0:{PROBES_PORT}", "checks": [\n{listed}\n ]}}'
    return said + "}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _literal(text: str) -> str:
    """What the kubelet makes this text of, which puts in `$(NAME)` and has `$$` for a plain `$`."""
    return text.replace("$", "$$")


def _literals(value: Any) -> Any:
    """Of a document, in which `${NAME}` is a variable of the proxy, and `$${` a plain `${`."""
    if isinstance(value, Mapping):
        return {_literals(key): _literals(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_literals(item) for item in value]
    return _literal(value.replace("${", "$${")) if isinstance(value, str) else value


def _started() -> dict[str, Any]:
    """Containers that come after this one wait for it."""
    return {"startupProbe": {"httpGet": _ready(), "periodSeconds": 1, "failureThreshold": START}}


def _lifecycle() -> dict[str, Any]:
    """Containers are started one by one, each when the hook of the one before is done."""
    # At the status port nobody asks for a token.
    wait = ["meshproxy", "wait", "--admin", f"127.0.0.1:{STATUS_PORT}", "--timeout", f"{START}s"]
    drain = ["meshproxy", "drain", "--until-idle", "--timeout", f"{DRAIN}s"]
    return {"postStart": {"exec": {"command": wait}}, "preStop": {"exec": {"command": drain}}}


def _ready() -> dict[str, Any]:
    return {"path": "/ready", "port": STATUS_PORT}


def _readiness(options: Options) -> dict[str, Any]:
    delay = {"initialDelaySeconds": options.ready_delay} if options.ready_delay else {}
    return {
        "httpGet": _ready(),
        **delay,
        "periodSeconds": options.ready_period,
        "failureThreshold": options.ready_failures,
    }


def _resources(options: Options) -> dict[str, Any]:
    limits = {"cpu": options.cpu_limit, "memory": options.memory_limit}
    return {
        "requests": {"cpu": options.cpu, "memory": options.memory},
        "limits": {what: most for what, most in limits.items() if most},
    }


def _security(options: Options) -> dict[str, Any]:
    # A capability is of no use to a user other than root: the kubelet makes none ambient. So a proxy that answers
    # from the addresses of its clients is root, and what it sends is known by its group.
    user = 0 if options.tproxy else USER
    more = {"add": ["NET_ADMIN"]} if options.tproxy else {}
    return {
        "runAsUser": user,
        "runAsGroup": USER,
        "runAsNonRoot": not options.tproxy,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], **more},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _mounts(options: Options) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": CONFIG, "mountPath": "/etc/meshproxy", "readOnly": True},
        {"name": RUN, "mountPath": "/run/meshproxy"},
        {"name": STATE, "mountPath": "/var/lib/meshproxy"},
    ]
    if options.certificates:
        mounts.append({"name": CERTIFICATES, "mountPath": "/etc/meshproxy-certificates", "readOnly": True})
    return mounts


def _volumes(options: Options) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": CONFIG, "configMap": {"name": options.config_map}},
        {"name": RUN, "emptyDir": {}},
        {"name": STATE, "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    if options.certificates:
        volumes.append({"name": CERTIFICATES, "secret": {"secretName": options.certificates}})
    return volumes


# What redirects -----------------------------------------------------------------------------------


def _redirect(options: Options) -> dict[str, Any]:
    return {
        "name": REDIRECT,
        "image": options.image,
        "args": ["redirect", "--apply", *_rules(options)],
        "resources": _resources(options),
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # The lock of iptables is a file in /run.
        "volumeMounts": [{"name": RUN, "mountPath": "/run"}],
    }


def _rules(options: Options) -> list[str]:
    arguments = ["--mode", "tproxy", "--gid", str(USER)] if options.tproxy else ["--uid", str(USER)]
    arguments += ["--dns-port", str(DNS_PORT)] if options.dns else []
    for way, ports in (("inbound", options.inbound_ports), ("outbound", options.outbound_ports)):
        if ports is not None:
            arguments += [f"--{way}-ports", ports] if ports else [f"--no-{way}"]
    lists = {
        "--exclude-inbound-ports": options.exclude_inbound_ports,
        "--exclude-outbound-ports": options.exclude_outbound_ports,
        "--outbound-cidrs": options.outbound_cidrs,
        "--exclude-outbound-cidrs": options.exclude_outbound_cidrs,
    }
    for option, items in lists.items():
        arguments += [option, items] if items else []
    return arguments
