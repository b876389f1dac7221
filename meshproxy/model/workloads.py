"""What an operator can say about the workloads behind a proxy that serves several: who each is, and how it is known.

    said = decode(Workload, {"name": "books", "addresses": ["10.244.1.7"], "service_account": "books"})

On a connection nothing says whose it is but its addresses: what comes from an address of a workload is sent by it, and
what was made to one is for it. So no two have the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from meshproxy.model.address import HostAddress
from meshproxy.model.matching import Found
from meshproxy.model.sidecar import papers_problems
from meshproxy.model.tls import KeyPem, Pem
from meshproxy.schema.kinds import Name, Text, string
from meshproxy.schema.shapes import AT_LEAST_ONE

MOST_WORKLOADS = 256
"""Of one proxy: policy is put in our words for each of them."""

WorkloadName = Annotated[
    str, string("name", "a name (letters, digits, and _ . - after the first)", "[A-Za-z0-9_][A-Za-z0-9_.-]*", 63)
]


@dataclass(frozen=True, slots=True)
class Workload:
    """One of those whose connections the proxy serves, each by its own policy."""

    name: Annotated[WorkloadName, "a unique name; with it begins that of everything that is made for it"]
    addresses: Annotated[
        tuple[HostAddress, ...],
        AT_LEAST_ONE,
        "from them come its connections, and to them those for it; at the first one it is asked",
    ]
    namespace: Annotated[Text, "its namespace"] = ""
    service_account: Annotated[Text, "its service account"] = ""
    service: Annotated[Text, "the service that it is, where nothing else is known of it"] = ""
    labels: Annotated[tuple[tuple[str, Text], ...], "which pods of the service account it is; empty: any"] = ()
    certificate: Annotated[
        Pem | None, "what it shows to others of the mesh; absent: what its policy brings, or nothing"
    ] = None
    key: Annotated[KeyPem | None, "its key"] = None
    ca: Annotated[Pem | None, "who may sign certificates of others of the mesh"] = None
    layer: Annotated[
        Name | None, "the layer that is its policy, and nobody else's; absent: those that are nobody's"
    ] = None


def workload_problems(said: Workload) -> Found:
    yield from papers_problems(said.certificate, said.key, said.ca)
