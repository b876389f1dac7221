"""Resources of the Service Mesh Interface, and those of Kubernetes that give them meaning.

    words = translate(sheets, Setting(node=Node(namespace="shop", service_account="books")))
    workloads(sheets)       # ["shop/bookbuyer", "shop/books"]: whose proxy this may be

What is ambiguous in SMI is decided, and the reasons are told, in docs/smi.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshproxy.dialects.translation import Setting, Sheet, Words


def recognises(value: Any) -> bool:
    return "apiVersion" in value and "kind" in value


def translate(sheets: Sequence[Sheet], setting: Setting) -> Words:
    """What the policy means for the workload of `setting.node`."""
    from meshproxy.dialects.smi import policy

    return policy.translate(sheets, setting)


def workloads(sheets: Sequence[Sheet]) -> list[str]:
    """`namespace/service-account` of every workload that the resources know; `Invalid` if they cannot be read."""
    from meshproxy.dialects.smi import policy

    return policy.workloads(sheets)
