"""What the workload shows to others of the mesh, and whom it believes: all that SMI does not speak of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meshproxy.model import Secret, Sidecar


@dataclass(frozen=True, slots=True)
class Papers:
    certificate: str
    key: object
    """The path of a file, PEM text, or as a secret is shown of which only the digest is known."""
    ca: str

    @classmethod
    def of(cls, sidecar: Sidecar) -> Papers | None:
        if sidecar.certificate is None or sidecar.key is None or sidecar.ca is None:
            return None
        key = sidecar.key.show(redact=False) if isinstance(sidecar.key, Secret) else sidecar.key
        return cls(sidecar.certificate, key, sidecar.ca)

    @property
    def server(self) -> dict[str, Any]:
        return {"certificate": self.certificate, "key": self.key, "client_ca": self.ca}

    @property
    def client(self) -> dict[str, Any]:
        return {"certificate": self.certificate, "key": self.key, "ca": self.ca}
