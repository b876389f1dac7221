"""A shop of FSM: one buyer, two stores, a database and calls, as a control plane tells their sidecars.

    mesh = Mesh("10.77.0.1:9411", "10.77.0.1")
    documents = {
        "buyer": buyer({"v1": "10.77.0.3", "v2": "10.77.0.4"}, mesh),
        "v1": store("v1", "10.77.0.2", "127.0.0.1:3306", mesh),
    }

What is special about a request is in its path: `/buy/limited`, `.../broken`, `.../flaky`, `.../second`, `.../spare`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SERVICE, DATABASE, CALLS = "10.96.0.5", "10.96.0.6", "10.96.0.7"
"""Addresses of services, which nobody owns."""
HOST, CALLED, IDENTITY = "bookstore.shop", "calls.shop", "bookbuyer.shop"
STORES = ("v1", "v2")
APP, CALLS_APP = 14001, 50051
LIMITED_SQL = 3307
"""Leads to the database as 3306 does, twice."""
NOBODY_HERE = 82
"""A port of a store of which its sidecar knows nothing."""
BROKEN, FLAKY, GONE, SECOND = (f"shop/bookstore-v1|{number}" for number in range(1, 5))
"""Clusters of the first store."""
RULE = {"Type": "Regex", "Headers": None, "Methods": None}

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mesh:
    """What all sidecars are told."""

    collector: str
    """Of traces: an address."""
    dns: str

    def spec(self) -> Data:
        tracing = {"address": self.collector, "endpoint": "/api/v2/spans", "sampledFraction": "1.00"}
        servers = {"UpstreamDNSServers": {"Primary": self.dns}}
        return {"SidecarTimeout": 60, "Observability": {"tracing": tracing}, "LocalDNSProxy": servers}


def store(version: str, buyer: str, database: str, mesh: Mesh) -> Data:
    """Only bookbuyers may buy there."""
    name = f"bookstore-{version}"
    service = f"{name}.shop.svc.cluster.local"
    local, calls, tcp = (f"shop/{name}|{port}|local" for port in (APP, CALLS_APP, 3306))
    few = {"Local": {"Requests": 2, "StatTimeWindow": 60, "ResponseHeadersToAdd": [{"Name": "x-wait", "Value": "1m"}]}}
    limited = {**RULE, "Path": "/buy/limited", "TargetClusters": {local: 100}, "RateLimit": few}
    rules = [_for(who, path, local) for path, who in (("/buy", IDENTITY), ("/steal", "bookthief.shop"))]
    methods = (("Echo", IDENTITY), ("Talk", IDENTITY), ("Steal", "bookthief.shop"))
    called = [_for(who, f"/test.Service/{method}", calls) for method, who in methods]
    to_database = {"Port": 3306, "Protocol": "tcp", "TcpServiceRouteRules": {"TargetClusters": {tcp: 100}}}
    headers = {"Original-Http-Port": str(APP), "Original-Http-Path": "/alive"}
    probe = {"httpGet": {"port": 15901, "httpHeaders": [{"name": key, "value": headers[key]} for key in headers]}}
    return {
        "Spec": {**mesh.spec(), "Probes": {"LivenessProbes": [probe]}},
        "Certificate": {"CommonName": "bookstore.shop.cluster.local"},
        "Inbound": {
            "TrafficMatches": {
                "80": {**_served(APP, "http", (HOST, service), service), **_rules(service, [limited, *rules])},
                "9000": {**_served(CALLS_APP, "grpc", (CALLED, service), service), **_rules(service, called)},
                "3306": to_database,
                str(LIMITED_SQL): {**to_database, "RateLimit": {"Local": {"Connections": 2, "StatTimeWindow": 60}}},
            },
            "ClustersConfigs": {
                local: {f"127.0.0.1:{APP}": 100},
                calls: {f"127.0.0.1:{CALLS_APP}": 100},
                tcp: {database: 100},
            },
        },
        "Outbound": None,
        "AllowedEndpoints": {buyer: "shop.bookbuyer"},
    }


def buyer(stores: dict[str, str], mesh: Mesh) -> Data:
    service = "bookstore.shop.svc.cluster.local"
    first = stores["v1"]
    breaking = {"ErrorAmountThreshold": 2, "DegradedStatusCode": 520, "DegradedResponseContent": "later"}
    retry = {"RetryOn": "5xx", "NumRetries": 2, "RetryBackoffBaseInterval": 0.01}
    clusters = {
        **{f"shop/bookstore-{version}|{APP}": _cluster(f"{address}:80") for version, address in stores.items()},
        BROKEN: {
            **_cluster(f"{first}:80"), "ConnectionSettings": {"http": {"CircuitBreaking": breaking}},
        },
        FLAKY: {**_cluster(f"{first}:80"), "RetryPolicy": retry},
        GONE: _cluster(f"{first}:{NOBODY_HERE}"),
        SECOND: _cluster(f"{first}:{NOBODY_HERE}", **{f"{first}:80": 0}),
        "shop/bookstore-v1|9000": _cluster(f"{first}:9000"),
        "shop/bookstore-v1|3306": _cluster(f"{first}:3306"),
        f"shop/bookstore-v1|{LIMITED_SQL}": _cluster(f"{first}:{LIMITED_SQL}"),
    }  # fmt: skip
    targets = {
        "/buy/limited": {f"shop/bookstore-v1|{APP}": 100},
        "/buy/broken": {BROKEN: 100},
        "/buy/flaky": {FLAKY: 100},
        "/buy/second": {SECOND: 100},
        "/buy/spare": {GONE: 100, f"shop/bookstore-v2|{APP}": 0},
        ".*": {f"shop/bookstore-{version}|{APP}": 50 for version in stores},
    }
    rules = [{**RULE, "Path": path, "TargetClusters": shares} for path, shares in targets.items()]
    calls = [{**RULE, "Path": ".*", "TargetClusters": {"shop/bookstore-v1|9000": 100}}]
    return {
        "Spec": mesh.spec(),
        "Certificate": {"CommonName": f"{IDENTITY}.cluster.local"},
        "Inbound": None,
        "Outbound": {
            "TrafficMatches": {
                "80": [{**_to(SERVICE), **_served(80, "http", (HOST,), service), **_rules(service, rules, IDENTITY)}],
                "9000": [{**_to(CALLS), **_served(9000, "grpc", (CALLED,), CALLED), **_rules(CALLED, calls, IDENTITY)}],
                **{
                    str(port): [
                        {
                            **_to(DATABASE), "Port": port, "Protocol": "tcp",
                            "TcpServiceRouteRules": {"TargetClusters": {f"shop/bookstore-v1|{port}": 100}},
                        }
                    ]
                    for port in (3306, LIMITED_SQL)
                },
            },
            "ClustersConfigs": clusters,
        },
        "AllowedEndpoints": {},
        "DNSResolveDB": {HOST: [SERVICE]},
    }  # fmt: skip


def _served(port: int, protocol: str, hosts: tuple[str, ...], service: str) -> Data:
    return {"Port": port, "Protocol": protocol, "HttpHostPort2Service": dict.fromkeys(hosts, service)}


def _for(who: str, path: str, cluster: str) -> Data:
    return {**RULE, "Path": path, "TargetClusters": {cluster: 100}, "AllowedServices": [who]}


def _rules(service: str, rules: list[Data], identity: str = "") -> Data:
    said: Data = {"RouteRules": rules, **({"ServiceIdentity": identity} if identity else {})}
    return {"HttpServiceRouteRules": {service: said}}


def _to(address: str) -> Data:
    return {"DestinationIPRanges": {f"{address}/32": None}}


def _cluster(endpoint: str, **others: int) -> Data:
    return {"Endpoints": {address: {"Weight": weight} for address, weight in {endpoint: 100, **others}.items()}}
