"""The gateways with TLS: towards their clients, or as two sidecars towards each other.

All speak TLS 1.3 and nothing else.  No two of them let us choose its cipher and its key exchange in the same words, so
these are what each agrees on by itself with a client of OpenSSL; whether that is the same is looked at before a run.
"""

from __future__ import annotations

from typing import ClassVar

from benchmarks.gateways import (
    HttpEnvoy,
    HttpHAProxy,
    HttpMeshproxy,
    HttpNginx,
    HttpNginxLarge,
    PlainMeshproxy,
    PolicyMeshproxy,
)
from benchmarks.peers import Peer, said
from benchmarks.pki import CLIENT, SERVER, Credential


class Trusted(Peer):
    """Has a credential."""

    def __init__(self, upstream: int, core: int, credential: Credential) -> None:
        super().__init__(upstream, core)
        self.credential = credential


class Terminating(Trusted):
    """Shows it to clients, and is plain towards its upstream."""

    scheme = "https"


# Whoever comes ------------------------------------------------------------------------------------


class TlsMeshproxy(Terminating, HttpMeshproxy):
    def listener(self) -> dict[str, object]:
        return {"tls": self.tls()}

    def tls(self) -> dict[str, object]:
        return shown(self.credential)


class TlsNginx(Terminating, HttpNginx):
    @classmethod
    def missing(cls) -> str | None:
        if reason := super().missing():
            return reason
        return None if "--with-http_ssl_module" in said("nginx", "-V") else "this nginx has no TLS"

    def listen(self) -> str:
        return f""" ssl;
    ssl_certificate {self.credential.certificate};
    ssl_certificate_key {self.credential.key};
    ssl_protocols TLSv1.3"""


class TlsNginxLarge(TlsNginx):
    name = HttpNginxLarge.name
    buffers = HttpNginxLarge.buffers


class TlsHAProxy(Terminating, HttpHAProxy):
    alpn: ClassVar[str] = "http/1.1"

    def bind(self) -> str:
        return f"ssl crt {self.credential.certificate} ssl-min-ver TLSv1.3 alpn {self.alpn}"


class TlsEnvoy(Terminating, HttpEnvoy):
    def chain(self) -> dict[str, object]:
        return {"transport_socket": envoy_tls("Downstream", self.credential)}


# Whoever proves to be the one ---------------------------------------------------------------------


class PlainTlsMeshproxy(TlsMeshproxy):
    """Without policy, to compare with."""

    name = PlainMeshproxy.name


class KnowingMeshproxy(TlsMeshproxy):
    """Serves one identity and nobody else."""

    def tls(self) -> dict[str, object]:
        return {**super().tls(), "client_ca": str(self.credential.ca)}

    def rule(self) -> dict[str, object]:
        return {**super().rule(), "authorize": [{"identities": [CLIENT], "methods": ["GET"]}]}


class PolicyTlsMeshproxy(KnowingMeshproxy, PolicyMeshproxy):
    """And with what a sidecar usually has."""


class KnowingEnvoy(TlsEnvoy):
    def chain(self) -> dict[str, object]:
        return {"transport_socket": envoy_tls("Downstream", self.credential, CLIENT)}


class CallingMeshproxy(Trusted, HttpMeshproxy):
    """The other sidecar: plain towards its client, and known to the next."""

    def cluster(self) -> dict[str, object]:
        return {"tls": {**shown(self.credential), "ca": str(self.credential.ca), "names": [SERVER]}}


class CallingEnvoy(Trusted, HttpEnvoy):
    def cluster(self) -> dict[str, object]:
        return {"transport_socket": envoy_tls("Upstream", self.credential, SERVER)}


def shown(own: Credential) -> dict[str, object]:
    return {"certificate": str(own.certificate), "key": str(own.key), "min_version": "1.3"}


def envoy_tls(side: str, own: Credential, other: str | None = None, alpn: str = "http/1.1") -> dict[str, object]:
    """`other` is who must be at the far end; without it, anybody may."""
    files = {"certificate_chain": {"filename": str(own.certificate)}, "private_key": {"filename": str(own.key)}}
    common: dict[str, object] = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [files],
        "alpn_protocols": [alpn],
    }
    context: dict[str, object] = {
        "@type": f"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{side}TlsContext",
        "common_tls_context": common,
    }
    if other:
        names = [{"san_type": "URI", "matcher": {"exact": other}}]
        common["validation_context"] = {
            "trusted_ca": {"filename": str(own.ca)},
            "match_typed_subject_alt_names": names,
        }
        if side == "Downstream":
            context["require_client_certificate"] = True
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


TERMINATING: tuple[type[Trusted], ...] = (TlsMeshproxy, TlsNginx, TlsHAProxy, TlsEnvoy)
CARRYING: tuple[type[Trusted], ...] = (TlsMeshproxy, TlsNginx, TlsNginxLarge, TlsHAProxy, TlsEnvoy)
GUARDED: tuple[type[Trusted], ...] = (PolicyTlsMeshproxy, PlainTlsMeshproxy, TlsEnvoy)
PAIRS: dict[type[Trusted], type[Trusted]] = {KnowingMeshproxy: CallingMeshproxy, KnowingEnvoy: CallingEnvoy}
"""Who is called, and who calls."""
