"""Who the workload is, and what it shows to others: certificates, the authority that it believes, names.

    papers = Papers.own(draft)              # None: the mesh speaks plain text
    papers.server(permissive=False)         # `tls` of a listener
    papers.client(names_of("shop/books|80", "cluster.local"), verified=True)    # `tls` of a cluster
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from meshproxy.dialects.fsm.draft import Data, Draft
from meshproxy.dialects.fsm.said import Certificate
from meshproxy.model import Node
from meshproxy.schema.kinds import Secret, cut
from meshproxy.schema.shapes import Path

_MESH_CLUSTER = re.compile(r"([a-z0-9-]+)/([a-z0-9.-]+)\|[0-9]+")
_EGRESS_CLUSTER = re.compile(r"([A-Za-z0-9_.-]*[A-Za-z_][A-Za-z0-9_.-]*):[0-9]+")


@dataclass(frozen=True, slots=True)
class Papers:
    certificate: str
    key: object = field(repr=False)
    """PEM text, or as a secret is shown that is known by its digest only."""
    ca: str

    @classmethod
    def own(cls, draft: Draft) -> Papers | None:
        """What the operator has given the workload, or what the document brings."""
        said = draft.setting.sidecar
        if said.certificate is not None and said.ca is not None:
            return cls(said.certificate, said.key.show(False) if isinstance(said.key, Secret) else said.key, said.ca)
        given = draft.said.certificate
        return None if given is None else cls._brought(draft, given, ("Certificate",))

    @classmethod
    def of_source(cls, draft: Draft, given: Certificate, own: Papers | None, path: Path) -> Papers | None:
        """Those of a `SourceCert`."""
        if given.own and own is None:
            draft.problem(path, "the workload's own `Certificate` is to be shown, and there is none")
        return own if given.own else cls._brought(draft, given, path)

    @classmethod
    def _brought(cls, draft: Draft, given: Certificate, path: Path) -> Papers | None:
        said = {"CertChain": given.chain, "PrivateKey": given.key, "IssuingCA": given.ca}
        for key, text in said.items():
            if "-----BEGIN " not in text:
                # What is no PEM would be the path of a file of ours.
                draft.problem((*path, key), f"`{key}` must be PEM text")
        return cls(given.chain, given.key, given.ca)

    @property
    def digest(self) -> str:
        return sha256(self.certificate.encode()).hexdigest()[:8]

    def server(self) -> Data:
        return {"certificate": self.certificate, "key": self.key, "client_ca": self.ca, "identity": "cn"}

    def client(self, names: list[str] | None, *, verified: bool) -> Data:
        """`names` are those that a server may have, of which none stands for that of its address; None: unknown."""
        shown: Data = {"ca": self.ca, "certificate": self.certificate, "key": self.key}
        if not verified or names is None:
            return {**shown, "verify": "chain"}
        return {**shown, "names": names} if names else shown


def mesh_names(cluster: str, trust_domain: str) -> list[str] | None:
    """The names of a service by that of its cluster. Its bare name is not among them: other namespaces have it too."""
    found = _MESH_CLUSTER.fullmatch(cluster)
    if found is None:
        return None
    name = f"{found[2]}.{found[1]}"
    return [f"{name}.svc.{trust_domain}", f"{name}.svc", name]


def egress_names(cluster: str) -> list[str]:
    found = _EGRESS_CLUSTER.fullmatch(cluster)
    return [found[1]] if found else []


def own_identity(draft: Draft) -> str:
    """`<service account>.<namespace>`, or nothing if nobody says so."""
    common = draft.said.certificate.common_name if draft.said.certificate else ""
    return next(_identities(draft), "") or ".".join(common.split(".")[:2])


def trust_domain(draft: Draft) -> str:
    """What the name in the own certificate ends with; a service account may have dots in its name."""
    common = draft.said.certificate.common_name if draft.said.certificate else ""
    for identity in _identities(draft):
        if common.startswith(f"{identity}."):
            return common.removeprefix(f"{identity}.")
    parts = common.split(".", 2)
    return parts[2] if len(parts) > 2 else draft.setting.node.trust_domain


def put_trust_domain(draft: Draft) -> None:
    """What a client calls itself is compared with names of the node's trust domain: it must be that of the mesh.

    The policy of one of several workloads does not say it for the others.
    """
    found, node = trust_domain(draft), draft.setting.node
    path: Path = ("Certificate", "CommonName")
    if found == node.trust_domain:
        return
    if node != Node() or draft.setting.workload is not None:
        draft.problem(path, f"the trust domain is {cut(found)}, and not {cut(node.trust_domain)}: say it in `node`")
        return
    draft.say("node", {"trust_domain": found}, path)


def _identities(draft: Draft) -> Iterator[str]:
    if draft.said.spec.service_identity:
        yield draft.said.spec.service_identity
    for _, matches in draft.said.outbound.matches if draft.said.outbound else ():
        for match in matches:
            yield from (service.identity for _, service in match.services if service.identity)
    node = draft.setting.node
    if node.service_account and node.namespace:
        yield f"{node.service_account}.{node.namespace}"
