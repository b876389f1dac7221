"""To whom the proxy says what it is, and whom it believes: those who have proved who they are, and nobody else."""

from __future__ import annotations

from meshproxy import model
from meshproxy.core.introduction import Introduction
from meshproxy.plan.rim import Rim
from meshproxy.wire.introduction import line


def introduction_of(config: model.Config, rim: Rim) -> Introduction | None:
    """None: nobody is told anything, nor asked."""
    if not config.metrics.peers:
        return None
    node = config.node
    said = {
        "service": node.service,
        "namespace": node.namespace,
        "version": dict(node.labels).get("version", ""),
        "zone": node.zone,
    }
    return Introduction(line(said), rim.peers)


def to_endpoints(introduction: Introduction | None, said: model.Cluster) -> Introduction | None:
    """Both have to show a certificate, and theirs has to be verified."""
    tls = said.tls
    mutual = tls is not None and tls.certificate is not None and tls.verify != "off"
    return introduction if introduction is not None and introduction.line and mutual else None


def to_clients(introduction: Introduction | None, chain: model.Chain) -> Introduction | None:
    """Where none can show a certificate that is verified, none is listened to."""
    return introduction if any(each.client_ca is not None for each in chain.tls or ()) else None
