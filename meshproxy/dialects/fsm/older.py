"""Documents of older versions in the shape of the newest one, before they are read.

    value, moved = newest({"Inbound": {"TrafficMatches": {"80": {"SourceIPRanges": ["10.0.0.0/8"]}}}})
    value           # {"Inbound": {"TrafficMatches": {"80": {"SourceIPRanges": {"10.0.0.0/8": None}}}}}
    moved           # {}: where it stands now -> where it was written, of what has moved

| until        | was                                              | is                                        |
| ---          | ---                                              | ---                                       |
| osm-edge 1.1 | rules of a host: {path: rule}                    | {"RouteRules": [rule, ...]}               |
| osm-edge 1.2 | RouteRules: {path: rule}                         | [rule, ...], as written but `.*` last     |
| osm-edge 1.1 | ranges: [range, ...]                             | {range: null, ...}                        |
| osm-edge 1.2 | TargetClusters, AllowedEgressTraffic on a match  | in its TcpServiceRouteRules               |
| osm-edge 1.2 | ServiceIdentity on a match                       | in each of its HttpServiceRouteRules      |
| osm-edge 1.1 | cluster: {address: weight}; inbound: all         | {"Endpoints": {address: weight}}          |

What is not as any version has it stays as it is, for the one who reads it to complain. What differs less is told apart
there: a weight alone for an endpoint, a name alone for the rules of a host, and keys that have another name now.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshproxy.schema.shapes import Path

Moved = dict[Path, Path]
"""Where something stands now, and where it was written."""

_OF_RULES = frozenset(
    "RouteRules Plugins RateLimit HeaderRateLimits AllowedEndpoints ServiceIdentity EgressForwardGateway".split()
)
_OF_CLUSTERS = frozenset(("Endpoints", "ConnectionSettings", "RetryPolicy", "SourceCert", "Hash"))
_OF_TCP = ("TargetClusters", "AllowedEgressTraffic")
_RANGES = ("SourceIPRanges", "DestinationIPRanges")
_ANY_PATH = ".*"


def newest(value: dict[str, Any]) -> tuple[dict[str, Any], Moved]:
    moved: Moved = {}
    sides = {
        name: _side(side, (name,), moved) for name, side in _mappings(value, ("Inbound", "Outbound"))
    }
    return {**value, **sides}, moved


def written(path: Path, moved: Moved) -> Path:
    """Where it was written what stands at a path now."""
    if moved:
        for end in range(len(path), 0, -1):
            if path[:end] in moved:
                return moved[path[:end]] + path[end:]
    return path


def _mappings(value: dict[str, Any], keys: Iterable[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    return [(key, value[key]) for key in keys if isinstance(value.get(key), dict)]


def _side(side: dict[str, Any], path: Path, moved: Moved) -> dict[str, Any]:
    found = dict(side)
    for key, matches in _mappings(side, ("TrafficMatches",)):
        found[key] = {port: _matches(match, (*path, key, port), moved) for port, match in matches.items()}
    for key, clusters in _mappings(side, ("ClustersConfigs",)):
        found[key] = {name: _cluster(cluster, (*path, key, name), moved) for name, cluster in clusters.items()}
    return found


def _matches(said: Any, path: Path, moved: Moved) -> Any:
    if isinstance(said, list):
        return [_matches(match, (*path, place), moved) for place, match in enumerate(said)]
    return _match(said, path, moved) if isinstance(said, dict) else said


def _match(said: dict[str, Any], path: Path, moved: Moved) -> dict[str, Any]:
    found = dict(said)
    for key in _RANGES:
        ranges = said.get(key)
        if isinstance(ranges, list) and all(isinstance(each, str) for each in ranges):
            found[key] = dict.fromkeys(ranges)
    identity = found.pop("ServiceIdentity", None)
    for key, services in _mappings(said, ("HttpServiceRouteRules",)):
        found[key] = {
            name: _service(service, identity, (*path, key, name), moved) for name, service in services.items()
        }
    of_tcp = {key: said[key] for key in _OF_TCP if key in said}
    if of_tcp and said.get("TcpServiceRouteRules") is None:
        found["TcpServiceRouteRules"] = of_tcp
        moved[(*path, "TcpServiceRouteRules")] = path
        for key in of_tcp:
            del found[key]
    return found


def _service(said: Any, identity: Any, path: Path, moved: Moved) -> Any:
    if not isinstance(said, dict):
        return said
    rules = (*path, "RouteRules")
    if said and _OF_RULES.isdisjoint(said) and all(isinstance(rule, dict) for rule in said.values()):
        said = {"RouteRules": _by_path(said, rules, path, moved)}
    elif isinstance(said.get("RouteRules"), dict):
        said = {**said, "RouteRules": _by_path(said["RouteRules"], rules, rules, moved)}
    return said if identity is None else {"ServiceIdentity": identity, **said}


def _by_path(said: dict[str, Any], path: Path, before: Path, moved: Moved) -> list[Any]:
    rules: list[Any] = []
    for key in sorted(said, key=_ANY_PATH.__eq__):
        moved[(*path, len(rules))] = (*before, key)
        rule = said[key]
        rules.append({"Path": key, "Type": "Regex", **rule} if isinstance(rule, dict) else rule)
    return rules


def _cluster(said: Any, path: Path, moved: Moved) -> Any:
    if not isinstance(said, dict) or not _OF_CLUSTERS.isdisjoint(said):
        return said
    moved[(*path, "Endpoints")] = path
    return {"Endpoints": said}
