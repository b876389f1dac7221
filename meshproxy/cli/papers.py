"""`meshproxy check --files`: what is wrong with the files that a configuration names, or soon will be.

    problems, warnings = look(documents, time.time())
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence

from meshproxy.core.papers import survey, text_of
from meshproxy.errors import Problem
from meshproxy.model import Document
from meshproxy.model.papers import Use, uses
from meshproxy.net.tls.context import Pair, Unusable, load_pair
from meshproxy.plan.authenticate import unusable
from meshproxy.plan.squeezing import unusable_dictionary
from meshproxy.sources.papers import read


def look(documents: Sequence[Document], now: float) -> tuple[list[Problem], list[Problem]]:
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for document in documents:
        used = [*uses(document.config)]
        bad: set[Use] = set()

        def fault(use: Use, words: str, document: Document = document, bad: set[Use] = bad) -> None:
            problems.append(document.problem(use.path, use.about(words)))
            bad.add(use)

        texts = read(used, fault)
        papers = survey(used, texts, fault)
        for use in used:
            text = text_of(use, texts)
            if text is not None and (why := _unusable(use, text)):
                fault(use, why)
        for certificate, key in _pairs(used):
            if not bad & {certificate, key} and (why := _misfit(certificate, key, texts)):
                fault(key, why)
        warnings.extend(
            document.problem(paper.use.path, paper.use.about(words))
            for paper in papers
            if (words := paper.out_of_time(now) or paper.ends_soon(now))
        )
    return problems, warnings


def _unusable(use: Use, text: str) -> str:
    return unusable_dictionary(text) if use.role == "dictionary" else unusable(use, text)


def _pairs(used: Sequence[Use]) -> Iterator[tuple[Use, Use]]:
    certificates = {use.path[:-1]: use for use in used if use.role == "certificate"}
    for use in used:
        if use.role == "key" and use.path[:-1] in certificates:
            yield certificates[use.path[:-1]], use


def _misfit(certificate: Use, key: Use, texts: Mapping[str, str]) -> str:
    """Why OpenSSL does not take them, or nothing; also where one cannot be read, which is told of its first use."""
    chain, own = text_of(certificate, texts), text_of(key, texts)
    if chain is None or own is None:
        return ""
    try:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Pair(chain, own))
    except Unusable as why:
        return str(why)
    return ""
