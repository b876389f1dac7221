"""What the injector mounts into a sidecar: a certificate of which only the name is of use, for it has the trust domain.

    trust_domain("/etc/pipy", "books", "shop")      # "cluster.local", of "0c5f….sidecar.books.shop.cluster.local"
"""

from __future__ import annotations

from pathlib import Path

from meshproxy.sources.regular import open_regular
from meshproxy.wire import x509

DIRECTORY = "/etc/pipy"
CERTIFICATE = "repo_cert.pem"
LARGEST = 64 * 1024


def trust_domain(directory: str, account: str, namespace: str) -> str | None:
    """None where it cannot be found out."""
    try:
        with open_regular(Path(directory) / CERTIFICATE) as file:
            pem = file.read(LARGEST).decode("ascii", "replace")
        name = x509.read(x509.blocks(pem, "CERTIFICATE")[0]).common_name
    except (OSError, x509.Unreadable):
        return None
    _, found, domain = name.partition(f".sidecar.{account}.{namespace}.")
    return domain if found else None
