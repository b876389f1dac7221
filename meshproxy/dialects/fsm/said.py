"""What a document of FSM 1.7 can say, key by key; older ones are put in this shape first, by `older`.

    said = decode(Fsm, {"Spec": {"SidecarTimeout": 60}, "Inbound": None})
    said.spec.sidecar_timeout       # 60.0

Everything may be missing or null: then it is as if Go had left out a zero. Durations are numbers of seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from meshproxy.dialects.fsm.kinds import (
    ANYTHING,
    CONTENT,
    COUNT,
    CREDENTIALS,
    FRACTION,
    PEM,
    SECONDS,
    SHARE,
    TEXT,
    PortKey,
    Range,
    Text,
    Texts,
    Weights,
)
from meshproxy.schema.kinds import BOOL, choice, whole
from meshproxy.schema.shapes import Key

PASSED = frozenset(
    "Ts Version Metrics HTTP1PerRequestLoadBalancing HTTP2PerRequestLoadBalancing SidecarLogLevel ClusterSet "
    "Expiration SubjectAltNames Backlog AllowedEndpoints Plugins Port Hash path host scheme exec grpc "
    "tcpSocket initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold "
    "terminationGracePeriodSeconds".split()
)
"""Keys that are known, and ask for nothing that a proxy would do."""


class Said:
    """A part of the document."""

    FOREIGN: ClassVar[bool] = True
    OPEN: ClassVar[bool] = True
    __slots__ = ()


# What holds for the whole mesh --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Traffic(Said):
    enable_egress: Annotated[bool, BOOL, Key("EnableEgress")] = False


@dataclass(frozen=True, slots=True)
class FeatureFlags(Said):
    active_health_checks: Annotated[bool, BOOL, Key("EnableSidecarActiveHealthChecks")] = False
    auto_default_route: Annotated[bool, BOOL, Key("EnableAutoDefaultRoute")] = False


@dataclass(frozen=True, slots=True)
class Header(Said):
    name: Annotated[str, TEXT]
    value: Annotated[str, TEXT] = ""


@dataclass(frozen=True, slots=True)
class HttpGet(Said):
    port: Annotated[int, whole(1, 65535)]
    headers: Annotated[tuple[Header, ...], Key("httpHeaders")] = ()


@dataclass(frozen=True, slots=True)
class Probe(Said):
    """Of Kubernetes; how often it is asked is the affair of the one who asks."""

    http_get: Annotated[HttpGet | None, Key("httpGet")] = None


@dataclass(frozen=True, slots=True)
class Probes(Said):
    liveness: Annotated[tuple[Probe, ...], Key("LivenessProbes")] = ()
    readiness: Annotated[tuple[Probe, ...], Key("ReadinessProbes")] = ()
    startup: Annotated[tuple[Probe, ...], Key("StartupProbes")] = ()


@dataclass(frozen=True, slots=True)
class Tracing(Said):
    address: Annotated[str, TEXT] = ""
    endpoint: Annotated[str, TEXT] = ""
    fraction: Annotated[float, FRACTION, Key("sampledFraction")] = 1.0


@dataclass(frozen=True, slots=True)
class RemoteLogging(Said):
    level: Annotated[int, COUNT] = 0
    address: Annotated[str, TEXT] = ""
    endpoint: Annotated[str, TEXT] = ""
    authorization: Annotated[str, CREDENTIALS] = field(default="", repr=False)
    fraction: Annotated[float, FRACTION, Key("sampledFraction")] = 1.0


@dataclass(frozen=True, slots=True)
class DnsServers(Said):
    primary: Annotated[str, TEXT, Key("Primary")] = ""
    secondary: Annotated[str, TEXT, Key("Secondary")] = ""


@dataclass(frozen=True, slots=True)
class DnsProxy(Said):
    servers: Annotated[DnsServers, Key("UpstreamDNSServers")] = DnsServers()


@dataclass(frozen=True, slots=True)
class Observability(Said):
    tracing: Tracing | None = None
    remote_logging: Annotated[RemoteLogging | None, Key("remoteLogging")] = None


@dataclass(frozen=True, slots=True)
class Spec(Said):
    sidecar_timeout: Annotated[float | None, SECONDS, Key("SidecarTimeout")] = None
    service_identity: Annotated[str, TEXT, Key("ServiceIdentity")] = ""
    traffic: Annotated[Traffic, Key("Traffic")] = Traffic()
    flags: Annotated[FeatureFlags, Key("FeatureFlags")] = FeatureFlags()
    probes: Annotated[Probes, Key("Probes")] = Probes()
    dns_proxy: Annotated[DnsProxy | None, Key("LocalDNSProxy")] = None
    observability: Annotated[Observability, Key("Observability")] = Observability()
    logging_level: Annotated[int, COUNT, Key("RemoteLoggingLevel")] = 0


@dataclass(frozen=True, slots=True)
class Certificate(Said):
    fsm_issued: Annotated[bool, BOOL, Key("FsmIssued")] = False
    osm_issued: Annotated[bool, BOOL, Key("OsmIssued")] = False
    common_name: Annotated[str, TEXT, Key("CommonName")] = ""
    chain: Annotated[str, PEM, Key("CertChain")] = ""
    key: Annotated[str, PEM, Key("PrivateKey")] = field(default="", repr=False)
    ca: Annotated[str, PEM, Key("IssuingCA")] = ""

    @property
    def own(self) -> bool:
        """Whether the workload's own is meant."""
        return self.fsm_issued or self.osm_issued


# Limits -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LimitHeader(Said):
    name: Annotated[str, TEXT, Key("Name")]
    value: Annotated[str, TEXT, Key("Value")] = ""


@dataclass(frozen=True, slots=True)
class RequestLimit(Said):
    requests: Annotated[int, COUNT, Key("Requests")]
    window: Annotated[float, SECONDS, Key("StatTimeWindow")] = 0.0
    burst: Annotated[int, COUNT, Key("Burst")] = 0
    status: Annotated[int, COUNT, Key("ResponseStatusCode")] = 0
    headers: Annotated[tuple[LimitHeader, ...], Key("ResponseHeadersToAdd")] = ()


@dataclass(frozen=True, slots=True)
class RequestLimits(Said):
    local: Annotated[RequestLimit | None, Key("Local")] = None


@dataclass(frozen=True, slots=True)
class ConnectionLimit(Said):
    connections: Annotated[int, COUNT, Key("Connections")]
    window: Annotated[float, SECONDS, Key("StatTimeWindow")] = 0.0
    burst: Annotated[int, COUNT, Key("Burst")] = 0


@dataclass(frozen=True, slots=True)
class ConnectionLimits(Said):
    local: Annotated[ConnectionLimit | None, Key("Local")] = None


# Who is asked for what ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule(Said):
    path: Annotated[str, TEXT, Key("Path")] = ""
    type: Annotated[Literal["Regex", "Exact", "Prefix"], choice("Regex", "Exact", "Prefix"), Key("Type")] = "Regex"
    headers: Annotated[tuple[tuple[Text, Annotated[str, TEXT]], ...], Key("Headers")] = ()
    methods: Annotated[Texts, Key("Methods")] = ()
    targets: Annotated[Weights, Key("TargetClusters")] = ()
    services: Annotated[Texts | None, Key("AllowedServices")] = None
    limits: Annotated[RequestLimits, Key("RateLimit")] = RequestLimits()


@dataclass(frozen=True, slots=True)
class HttpService(Said):
    rules: Annotated[tuple[Rule, ...], Key("RouteRules")] = ()
    limits: Annotated[RequestLimits, Key("RateLimit")] = RequestLimits()
    header_limits: Annotated[Any, ANYTHING, Key("HeaderRateLimits")] = None
    identity: Annotated[str, TEXT, Key("ServiceIdentity")] = ""
    gateway: Annotated[str, TEXT, Key("EgressForwardGateway")] = ""


@dataclass(frozen=True, slots=True)
class TcpService(Said):
    targets: Annotated[Weights, Key("TargetClusters")] = ()
    egress: Annotated[bool, BOOL, Key("AllowedEgressTraffic")] = False
    gateway: Annotated[str, TEXT, Key("EgressForwardGateway")] = ""


@dataclass(frozen=True, slots=True)
class RuleName(Said):
    """The rules of a host; plain text in older versions."""

    SHORTHAND: ClassVar[str] = "RuleName"
    name: Annotated[str, TEXT, Key("RuleName")]
    service: Annotated[str, TEXT, Key("Service")] = ""


@dataclass(frozen=True, slots=True)
class Match(Said):
    """What both directions have."""

    protocol: Annotated[str, TEXT, Key("Protocol")] = ""
    hosts: Annotated[tuple[tuple[Text, RuleName], ...], Key("HttpHostPort2Service")] = ()
    services: Annotated[tuple[tuple[Text, HttpService], ...], Key("HttpServiceRouteRules")] = ()
    tcp: Annotated[TcpService, Key("TcpServiceRouteRules")] = TcpService()

    @property
    def is_http(self) -> bool:
        return self.protocol == "http" or self.is_grpc

    @property
    def is_grpc(self) -> bool:
        return self.protocol == "grpc"


@dataclass(frozen=True, slots=True)
class SourceSpec(Said):
    mtls: Annotated[bool, BOOL, Key("mTLS")] = False
    skip: Annotated[bool, BOOL, Key("SkipClientCertValidation")] = False
    principals: Annotated[Texts, Key("AuthenticatedPrincipals")] = ()


@dataclass(frozen=True, slots=True)
class InboundMatch(Match):
    sources: Annotated[tuple[tuple[Range, SourceSpec | None], ...], Key("SourceIPRanges")] = ()
    limits: Annotated[ConnectionLimits, Key("RateLimit")] = ConnectionLimits()
    endpoints: Annotated[tuple[tuple[Range, Annotated[Any, ANYTHING]], ...] | None, Key("AllowedEndpoints")] = None


@dataclass(frozen=True, slots=True)
class DestinationSpec(Said):
    certificate: Annotated[Certificate | None, Key("SourceCert")] = None


@dataclass(frozen=True, slots=True)
class OutboundMatch(Match):
    destinations: Annotated[
        tuple[tuple[Range, DestinationSpec | None], ...] | None, Key("DestinationIPRanges")
    ] = None
    gateway: Annotated[str, TEXT, Key("EgressForwardGateway")] = ""


# Who answers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Weighted(Said):
    """Its weight alone, in older versions."""

    SHORTHAND: ClassVar[str] = "Weight"

    weight: Annotated[int, COUNT, Key("Weight")] = 0


@dataclass(frozen=True, slots=True)
class Endpoint(Weighted):
    key: Annotated[str, TEXT, Key("Key")] = ""
    path: Annotated[str, TEXT, Key("Path")] = ""
    gateway: Annotated[str, TEXT, Key("ViaGateway")] = ""


@dataclass(frozen=True, slots=True)
class CircuitBreaking(Said):
    window: Annotated[float, SECONDS, Key("StatTimeWindow")] = 0.0
    min_requests: Annotated[int, COUNT, Key("MinRequestAmount")] = 0
    open: Annotated[float, SECONDS, Key("DegradedTimeWindow")] = 0.0
    slow: Annotated[float, SECONDS, Key("SlowTimeThreshold")] = 0.0
    slow_amount: Annotated[int, COUNT, Key("SlowAmountThreshold")] = 0
    slow_ratio: Annotated[float, SHARE, Key("SlowRatioThreshold")] = 0.0
    error_amount: Annotated[int, COUNT, Key("ErrorAmountThreshold")] = 0
    error_ratio: Annotated[float, SHARE, Key("ErrorRatioThreshold")] = 0.0
    status: Annotated[int, COUNT, Key("DegradedStatusCode")] = 0
    content: Annotated[str | None, CONTENT, Key("DegradedResponseContent")] = None


@dataclass(frozen=True, slots=True)
class HttpSettings(Said):
    max_requests: Annotated[int, COUNT, Key("MaxRequests")] = 0
    per_connection: Annotated[int, COUNT, Key("MaxRequestsPerConnection")] = 0
    max_pending: Annotated[int, COUNT, Key("MaxPendingRequests")] = 0
    max_retries: Annotated[int, COUNT, Key("MaxRetries")] = 0
    breaking: Annotated[CircuitBreaking, Key("CircuitBreaking")] = CircuitBreaking()


@dataclass(frozen=True, slots=True)
class TcpSettings(Said):
    max_connections: Annotated[int, COUNT, Key("MaxConnections")] = 0
    connect_timeout: Annotated[float, SECONDS, Key("ConnectTimeout")] = 0.0


@dataclass(frozen=True, slots=True)
class ConnectionSettings(Said):
    tcp: TcpSettings = TcpSettings()
    http: HttpSettings = HttpSettings()


@dataclass(frozen=True, slots=True)
class RetryPolicy(Said):
    on: Annotated[str, TEXT, Key("RetryOn")] = ""
    per_try: Annotated[float, SECONDS, Key("PerTryTimeout")] = 0.0
    retries: Annotated[int, COUNT, Key("NumRetries")] = 0
    backoff: Annotated[float, SECONDS, Key("RetryBackoffBaseInterval")] = 0.0


@dataclass(frozen=True, slots=True)
class Cluster(Said):
    endpoints: Annotated[tuple[tuple[Text, Endpoint], ...], Key("Endpoints")] = ()
    settings: Annotated[ConnectionSettings, Key("ConnectionSettings")] = ConnectionSettings()
    retry: Annotated[RetryPolicy, Key("RetryPolicy")] = RetryPolicy()
    certificate: Annotated[Certificate | None, Key("SourceCert")] = None


Clusters = tuple[tuple[Text, Cluster], ...]

# The whole ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inbound(Said):
    matches: Annotated[tuple[tuple[PortKey, InboundMatch], ...], Key("TrafficMatches")] = ()
    clusters: Annotated[Clusters, Key("ClustersConfigs")] = ()


@dataclass(frozen=True, slots=True)
class Outbound(Said):
    matches: Annotated[tuple[tuple[PortKey, tuple[OutboundMatch, ...]], ...], Key("TrafficMatches")] = ()
    clusters: Annotated[Clusters, Key("ClustersConfigs")] = ()


@dataclass(frozen=True, slots=True)
class EgressGateway(Said):
    endpoints: Annotated[tuple[tuple[Text, Weighted], ...], Key("Endpoints")] = ()
    mode: Annotated[
        Literal["http2tunnel", "sock5"], choice("http2tunnel", "sock5"), Key("Mode")
    ] = "http2tunnel"


@dataclass(frozen=True, slots=True)
class Forward(Said):
    matches: Annotated[tuple[tuple[Text, Weights | None], ...], Key("ForwardMatches")] = ()
    gateways: Annotated[tuple[tuple[Text, EgressGateway], ...], Key("EgressGateways")] = ()


@dataclass(frozen=True, slots=True)
class Fsm(Said):
    spec: Annotated[Spec, Key("Spec")] = Spec()
    certificate: Annotated[Certificate | None, Key("Certificate")] = None
    inbound: Annotated[Inbound | None, Key("Inbound")] = None
    outbound: Annotated[Outbound | None, Key("Outbound")] = None
    forward: Annotated[Forward, Key("Forward")] = Forward()
    allowed: Annotated[tuple[tuple[Range, Annotated[Any, ANYTHING]], ...] | None, Key("AllowedEndpoints")] = None
    chains: Annotated[tuple[tuple[Text, Texts], ...], Key("Chains")] = ()
    dns: Annotated[tuple[tuple[Text, Texts | None], ...], Key("DNSResolveDB")] = ()
