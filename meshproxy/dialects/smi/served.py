"""Who serves a service, asked from outside of any workload.

    behind(sheets, "shop", "books")     # {("shop", "books-v1"), ("shop", "books-v2")}
"""

from __future__ import annotations

from collections.abc import Sequence

from meshproxy.dialects.smi.mesh import Mesh
from meshproxy.dialects.smi.reading import objects_of
from meshproxy.dialects.smi.resources import Key
from meshproxy.dialects.translation import Sheet, Words
from meshproxy.errors import Invalid
from meshproxy.model.combine import bounded


def behind(sheets: Sequence[Sheet], namespace: str, name: str) -> set[Key]:
    """Namespace and service account of each, as far as they are known; `Invalid` if the resources cannot be read."""
    words = Words()
    mesh = Mesh(objects_of(sheets, words), "")
    if words.problems:
        raise Invalid(bounded(words.problems))
    service = mesh.services.get((namespace, name))
    if service is None:
        return set()
    endpoints = (endpoint for port in service.ports for endpoint in service.endpoints(port))
    return {*(pod.account for pod in service.pods), *(each.account for each in endpoints if each.account is not None)}
