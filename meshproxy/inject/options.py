"""What may be chosen of an injection: for all pods on the command line, and for one pod by its annotations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from meshproxy import __version__
from meshproxy.schema.kinds import read_network, refuse
from meshproxy.schema.shapes import Names

PREFIX = "meshproxy.io/"
TRAFFIC = "traffic.meshproxy.io/"
READINESS = "readiness.meshproxy.io/"
INJECT = f"{PREFIX}inject"
STATUS = f"{PREFIX}status"

FORMS = ("native", "older")
INTERCEPTIONS = ("redirect", "tproxy", "none")
LEVELS = ("debug", "info", "warning", "error")
MOST_OF_A_LIST = 64

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_CPU = re.compile(r"[0-9]{1,9}m|[0-9]{1,6}(?:\.[0-9]{1,3})?")
_MEMORY = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,3})?(?:[KMGT]i|[kMGT])?")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/@-]*")
_URL = re.compile(r"https?://[!-~]+")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Options:
    image: str = f"meshproxy:{__version__}"
    form: str = "native"
    cni: bool = False
    """Somebody else redirects what the pod sends and gets."""
    interception: str = "redirect"
    dns: bool = False
    control_plane: str = ""
    config_map: str = "meshproxy"
    certificates: str = ""
    """A Secret."""
    cpu: str = "100m"
    memory: str = "64Mi"
    cpu_limit: str = ""
    memory_limit: str = "256Mi"
    log_level: str = ""
    rewrite_probes: bool = True
    inbound_ports: str | None = None
    outbound_ports: str | None = None
    exclude_inbound_ports: str = ""
    exclude_outbound_ports: str = ""
    outbound_cidrs: str = ""
    exclude_outbound_cidrs: str = ""
    ready_delay: int = 0
    ready_period: int = 2
    ready_failures: int = 3

    @property
    def tproxy(self) -> bool:
        return self.interception == "tproxy"

    @property
    def redirects(self) -> bool:
        """Whether the pod gets a container that does it."""
        return not self.cni and self.interception != "none"

    def of(self, annotations: Mapping[str, str], wrong: Callable[[str, str], None]) -> Options:
        """With what the annotations of a pod say; `wrong` hears of each that is no good."""
        said: dict[str, Any] = {}
        for key, (field, read) in ANNOTATIONS.items():
            if key in annotations:
                try:
                    said[field] = read(annotations[key])
                except ValueError as why:
                    wrong(key, str(why))
        return replace(self, **said)


# How each is read ---------------------------------------------------------------------------------


def _fitting(pattern: re.Pattern[str], expected: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if len(text) > 1024 or not pattern.fullmatch(text):
            raise refuse(expected, text)
        return text

    return read


image = _fitting(_IMAGE, "an image such as meshproxy:1.0")
name = _fitting(_NAME, "a name of Kubernetes such as meshproxy")
cpu = _fitting(_CPU, "an amount such as 100m or 2")
memory = _fitting(_MEMORY, "an amount such as 128Mi")


def control_plane(text: str) -> str:
    _fitting(_URL, "an address such as http://plane:8080/{namespace}/{serviceAccount}")(text)
    for placeholder in _PLACEHOLDER.findall(text):
        if placeholder not in ("namespace", "serviceAccount"):
            raise ValueError(f"may have {{namespace}} and {{serviceAccount}} in it, not {{{placeholder}}}")
    return text


def chosen(text: str) -> bool:
    if text not in ("true", "false"):
        raise refuse('"true" or "false"', text)
    return text == "true"


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise refuse(" or ".join(words), text)
        return text

    return read


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise refuse("a whole number", text)
    return int(text)


def _positive(text: str) -> int:
    if not (number := _number(text)):
        raise refuse("a whole number above 0", text)
    return number


def _items(text: str, read: Callable[[str], str]) -> str:
    items = [item.strip() for item in text.split(",")] if text.strip() else []
    if len(items) > MOST_OF_A_LIST:
        raise ValueError(f"has {len(items)} items; at most {MOST_OF_A_LIST} are accepted")
    return ",".join(map(read, items))


def _port(text: str) -> str:
    """Or a range of them."""
    ends = text.split("-")
    if len(ends) > 2 or not all(end.isascii() and end.isdigit() and len(end) <= 5 for end in ends):
        raise refuse("ports such as 80,8000-8100", text)
    if not 1 <= int(ends[0]) <= int(ends[-1]) <= 65535:
        raise refuse("ports from 1 to 65535", text)
    return "-".join(str(int(end)) for end in ends)


def _ports(text: str) -> str:
    return _items(text, _port)


def _ports_or_all(text: str) -> str:
    return "all" if text.strip() == "*" else _ports(text)


def _networks(text: str) -> str:
    return _items(text, lambda item: str(read_network(item)))


def _networks_or_all(text: str) -> str:
    if not text.strip():
        raise ValueError('must be networks such as 10.0.0.0/8, or "*"')
    return "" if text.strip() == "*" else _networks(text)


ANNOTATIONS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    f"{PREFIX}proxyImage": ("image", image),
    f"{PREFIX}proxyCPU": ("cpu", cpu),
    f"{PREFIX}proxyCPULimit": ("cpu_limit", cpu),
    f"{PREFIX}proxyMemory": ("memory", memory),
    f"{PREFIX}proxyMemoryLimit": ("memory_limit", memory),
    f"{PREFIX}logLevel": ("log_level", _one_of(LEVELS)),
    f"{PREFIX}config": ("config_map", name),
    f"{PREFIX}interceptionMode": ("interception", _one_of(INTERCEPTIONS)),
    f"{PREFIX}rewriteAppProbes": ("rewrite_probes", chosen),
    f"{TRAFFIC}includeInboundPorts": ("inbound_ports", _ports_or_all),
    f"{TRAFFIC}excludeInboundPorts": ("exclude_inbound_ports", _ports),
    f"{TRAFFIC}includeOutboundPorts": ("outbound_ports", _ports_or_all),
    f"{TRAFFIC}excludeOutboundPorts": ("exclude_outbound_ports", _ports),
    f"{TRAFFIC}includeOutboundIPRanges": ("outbound_cidrs", _networks_or_all),
    f"{TRAFFIC}excludeOutboundIPRanges": ("exclude_outbound_cidrs", _networks),
    f"{READINESS}initialDelaySeconds": ("ready_delay", _number),
    f"{READINESS}periodSeconds": ("ready_period", _positive),
    f"{READINESS}failureThreshold": ("ready_failures", _positive),
}
"""What a pod may say about its own, with the field that it sets."""


def unknown(annotations: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Those that look as if they were ours, and mean nothing: each with a hint."""
    known = Names((*ANNOTATIONS, INJECT, STATUS))
    for key in annotations:
        if key.startswith((PREFIX, TRAFFIC, READINESS)) and key not in ANNOTATIONS and key not in (INJECT, STATUS):
            yield key, known.nearest(key)
