"""Certificates as rows: what each says, how long it holds, and where the configuration uses it.

A row is made of what was read out of certificates, so that no key can ever stand in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshproxy.core.papers import DAY, Paper, date
from meshproxy.wire.x509 import Certificate

Row = dict[str, object]


def certificate_rows(papers: Iterable[Paper], now: float) -> list[Row]:
    """Each certificate of a file once, or of a text in the configuration, however many use it."""
    by_source: dict[object, list[Paper]] = {}
    for paper in papers:
        by_source.setdefault(paper.use.source, []).append(paper)
    return [
        {
            "file": alike[0].use.file or "inline",
            "place": place,
            **(_row(said, now) if isinstance(said, Certificate) else {"error": said}),
            "used": [_use(paper) for paper in alike],
        }
        for alike in by_source.values()
        for place, said in enumerate(alike[0].certificates)
    ]


def _row(said: Certificate, now: float) -> Row:
    return {
        "subject": said.subject,
        "issuer": said.issuer,
        "serial": f"{said.serial:x}",
        "identity": said.identity,
        "dns": list(said.dns),
        "uris": list(said.uris),
        "ips": list(said.ips),
        "is_ca": said.is_ca,
        "not_before": date(said.not_before),
        "not_after": date(said.not_after),
        "days_left": round((said.not_after - now) / DAY, 1),
        "sha256": said.sha256,
    }


def _use(paper: Paper) -> Row:
    use = paper.use
    return {"listener": use.listener or None, "cluster": use.cluster or None, "role": use.role, "key": use.key}
