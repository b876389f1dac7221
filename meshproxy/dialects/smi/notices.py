"""What a policy asks for that is not done here, or not yet: each is told, once for its kind or where it stands."""

from __future__ import annotations

from meshproxy.dialects.smi.mesh import SERVES, Mesh
from meshproxy.dialects.smi.protocols import needs_http2
from meshproxy.dialects.translation import Words

EXTERNAL = "ExternalName"


def tell(mesh: Mesh, words: Words) -> None:
    _datagrams(mesh, words)
    _http2(mesh, words)
    for service in mesh.services.values():
        if service.said.spec.type == EXTERNAL:
            at = service.place.below("spec", "type")
            at.note(words, "ignored", f"{service} is a name outside of the mesh: it has no address to be redirected")
    for _, found in sorted(mesh.objects.slices.items()):
        if found.said.address_type == "FQDN":
            at = found.place.below("addressType")
            at.note(words, "ignored", "endpoints of this type are names, and connections are made to addresses")


def _datagrams(mesh: Mesh, words: Words) -> None:
    for _, target in sorted(mesh.objects.targets.items()):
        for rule in target.rules:
            if rule.kind == "UDPRoute":
                message = f"{rule.name} is for datagrams, which are not redirected to a sidecar yet"
                rule.place.note(words, "not-in-force", message)
    for service in mesh.services.values():
        for index, port in enumerate(service.said.spec.ports):
            if port.protocol != SERVES:
                at = service.place.below("spec", "ports", index, "protocol")
                at.note(words, "not-in-force", f"port {port.port} of {service} is {port.protocol}, not redirected yet")
                return


def _http2(mesh: Mesh, words: Words) -> None:
    for service in mesh.services.values():
        for port in service.ports:
            if needs_http2(port.said):
                message = f"port {port.number} of {service} is of HTTP/2, of which this version speaks none"
                port.place.note(words, "not-in-force", message)
                return
