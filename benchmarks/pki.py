"""Certificates for as long as a run lasts, made by the command `openssl`: a CA, a server and a client.

    with pki.mesh() as mesh:
        mesh.ecdsa.certificate, mesh.ecdsa.key, mesh.client.ca

The server has two certificates, with a key of each kind; every proxy shows the same ones.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import tools

SERVER = "spiffe://cluster.local/ns/shop/sa/bookstore"
CLIENT = "spiffe://cluster.local/ns/shop/sa/bookbuyer"
ECDSA = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("-newkey", "rsa:2048")


@dataclass(frozen=True, slots=True)
class Credential:
    """What a workload proves itself with, and the CA that the others believe."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True)
class Mesh:
    ecdsa: Credential
    rsa: Credential
    client: Credential


def missing() -> str | None:
    return tools.missing("openssl")


@contextmanager
def mesh() -> Iterator[Mesh]:
    with tempfile.TemporaryDirectory(prefix="benchmark-pki-") as name:
        ca, ca_key = Path(name, "ca.pem"), Path(name, "ca.key")
        made(ca, ca_key, ECDSA, ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"))

        def signed(who: str, kind: Sequence[str], identity: str) -> Credential:
            # HAProxy looks for a key under the certificate's name and `.key`
            certificate, key = Path(name, f"{who}.pem"), Path(name, f"{who}.pem.key")
            extensions = (
                "basicConstraints=critical,CA:FALSE",
                "keyUsage=critical,digitalSignature",
                "extendedKeyUsage=serverAuth,clientAuth",
                f"subjectAltName=DNS:localhost,IP:127.0.0.1,URI:{identity}",
            )
            made(certificate, key, kind, extensions, "-CA", str(ca), "-CAkey", str(ca_key))
            return Credential(certificate, key, ca)

        yield Mesh(signed("ecdsa", ECDSA, SERVER), signed("rsa", RSA, SERVER), signed("client", ECDSA, CLIENT))


def made(certificate: Path, key: Path, kind: Sequence[str], extensions: Sequence[str], *signer: str) -> None:
    """A certificate with a new key; without a signer it signs itself."""
    added = [word for extension in extensions for word in ("-addext", extension)]
    subject = ("-subj", f"/CN={certificate.stem}", "-days", "2")
    files = ("-keyout", str(key), "-out", str(certificate))
    command = ("openssl", "req", "-x509", "-batch", "-nodes", *kind, *subject, *added, *signer, *files)
    subprocess.run(command, check=True, capture_output=True)
