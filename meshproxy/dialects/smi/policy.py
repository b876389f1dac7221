"""A policy of SMI put in our words for one workload; what cannot be read hides nothing else that is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from meshproxy.dialects.smi import inbound, notices, outbound
from meshproxy.dialects.smi.grants import Grants
from meshproxy.dialects.smi.mesh import Mesh
from meshproxy.dialects.smi.protocols import Protocols
from meshproxy.dialects.smi.reading import objects_of
from meshproxy.dialects.smi.references import check
from meshproxy.dialects.smi.workload import Workload
from meshproxy.dialects.translation import Setting, Sheet, Words
from meshproxy.errors import Invalid
from meshproxy.model.combine import bounded


def translate(sheets: Sequence[Sheet], setting: Setting) -> Words:
    words = Words()
    mesh = Mesh(objects_of(sheets, words), setting.node.trust_domain)
    whole = not words.problems
    check(mesh, words)
    # Of damaged resources nobody can tell whose proxy this is.
    here = Workload.of(mesh, setting, words) if whole else None
    if words.problems or here is None:
        return words
    notices.tell(mesh, words)
    protocols = Protocols(mesh, ((service, here.account) for service in here.services))
    inbound.write(here, Grants(here, protocols, words), setting, words)
    outbound.write(mesh, protocols, setting, words)
    return words


def workloads(sheets: Sequence[Sheet]) -> list[str]:
    words = Words()
    objects = objects_of(sheets, words)
    if words.problems:
        raise Invalid(bounded(words.problems))
    return sorted("/".join(account) for account in Mesh(objects, "").accounts)
