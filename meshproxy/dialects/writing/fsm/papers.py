"""Certificates, which FSM holds as text: that of the workload itself, and those for others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshproxy.dialects.writing.said import Said
from meshproxy.model import Config, Node
from meshproxy.model.tls import is_inline

PATHS = "FSM has certificates in the text, not by the path of a file"


@dataclass(frozen=True, slots=True)
class Papers:
    chain: str
    key: str = field(repr=False)
    ca: str

    @classmethod
    def of(cls, tls: Said, ca: str) -> Papers | None:
        """Those of a listener or a cluster, if they can be said."""
        found = [tls[key].value for key in ("certificate", "key", ca)]
        if not all(isinstance(each, str) and is_inline(each) for each in found):
            return None
        return cls(*found)

    @classmethod
    def own(cls, config: Config, said: Said) -> Papers | None:
        """What the workload shows to all of the mesh: that of its inbound listener, or else of its first cluster."""
        for listener, there in zip(config.listeners, said["listeners"], strict=True):
            if set(listener.listen) & set(config.sidecar.inbound) and (found := cls.of(there["tls"], "client_ca")):
                return found
        return next((found for each in said["clusters"] if (found := cls.of(each["tls"], "ca"))), None)

    def certificate(self, node: Node) -> dict[str, Any]:
        name = f"{node.service_account}.{node.namespace}.{node.trust_domain}" if node.service_account else ""
        return {"CommonName": name, "Expiration": "", **self.text}

    @property
    def text(self) -> dict[str, str]:
        return {"CertChain": self.chain, "PrivateKey": self.key, "IssuingCA": self.ca}
