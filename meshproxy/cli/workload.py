"""Whose proxy is meant, where policy in the words of a mesh is read and no file says it.

    meshproxy check --as sidecar --service-account shop/books --service books --label version=v1 policy/
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from meshproxy.dialects.translation import Setting
from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, Node, decode

ON_THE_LINE = "the command line"
PAPERS = "papers"
"""A file that nobody opens."""


def on_the_line(arguments: argparse.Namespace, documents: Sequence[Document]) -> list[Document]:
    """The documents, with the workload of the command line in the place of what they say of one."""
    if arguments.service_account is None:
        return list(documents)
    namespace, name = arguments.service_account
    return standing(documents, namespace, name, arguments.service, dict(arguments.label))


def is_named(documents: Sequence[Document]) -> bool:
    """Whether they say whose proxy it is."""
    node = Setting.of(documents).node
    return bool(node.service_account or node.service or any(document.config.workloads for document in documents))


def standing(
    documents: Sequence[Document], namespace: str, name: str, service: str = "", labels: dict[str, str] | None = None
) -> list[Document]:
    """The documents as if `node` had said that it is this workload."""
    before = Setting.of(documents).node
    said = {"namespace": namespace, "service_account": name, "service": service, "labels": labels or {}}
    try:
        here = decode(Node, {"trust_domain": before.trust_domain, "zone": before.zone, **said})
    except Invalid as invalid:
        raise Invalid([replace(problem, source=ON_THE_LINE) for problem in invalid.problems]) from None
    alone = [replace(document, config=replace(document.config, workloads=())) for document in documents]
    others = [
        replace(document, config=replace(document.config, node=here)) if "node" in document.said else document
        for document in alone
    ]
    return [*others, Document(ON_THE_LINE, Config(node=here), frozenset({"node"}), lambda _: None)]


def have_papers(documents: Sequence[Document]) -> bool:
    return Setting.of(documents).sidecar.certificate is not None


def with_papers(documents: Sequence[Document]) -> list[Document]:
    """The documents as if all of the mesh could prove who they are, which is for those who run it to see to."""
    if have_papers(documents):
        return list(documents)
    sidecar = replace(Setting.of(documents).sidecar, certificate=PAPERS, key=PAPERS, ca=PAPERS)
    others = [
        replace(document, config=replace(document.config, sidecar=sidecar)) if "sidecar" in document.said else document
        for document in documents
    ]
    return [*others, Document(ON_THE_LINE, Config(sidecar=sidecar), frozenset({"sidecar"}), lambda _: None)]
