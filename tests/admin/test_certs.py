"""Certificates as rows: what is said of each, and of keys nothing."""

from __future__ import annotations

import json
import time
from hashlib import sha256
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import Any

from meshproxy.admin.certs import certificate_rows
from meshproxy.admin.tables import text_table
from meshproxy.core.papers import Paper, survey
from meshproxy.model import Config, decode
from meshproxy.model.papers import uses
from tests.pki import Pair, Pki


def papers_of(listeners: list[Any], clusters: dict[str, Any]) -> list[Paper]:
    said = [
        {"name": name, "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up", **more} for name, more in listeners
    ]
    config = decode(Config, {"listeners": said, "clusters": clusters})
    used = [*uses(config)]
    texts = {use.file: Path(use.file).read_text() for use in used if use.file is not None}
    faults: list[object] = []
    found = survey(used, texts, lambda *fault: faults.append(fault))
    assert faults == []
    return found


def server(pair: Pair, **more: Any) -> dict[str, Any]:
    return {"certificate": str(pair.certificate), "key": str(pair.key), **more}


def test_each_certificate_is_there_once_with_all_who_use_it(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    ca = pki.ca("shop CA")
    web = ca.below("below").issue("shop/web", dns=["web.shop"], ips=["10.0.0.1"], days=10)
    inline = {"certificate": web.certificate.read_text(), "key": web.key.read_text()}
    listeners = [
        ("web", {"tls": [server(web, client_ca=str(ca.root)), server(web, sni=["other.shop"])]}),
        ("in", {"chains": [{"match": {"ports": [1]}, "tls": [inline]}]}),
    ]
    papers = papers_of(listeners, {"up": {"endpoints": ["127.0.0.1:1"], "tls": {"ca": str(ca.root), **server(web)}}})
    rows: list[dict[str, Any]] = certificate_rows(papers, time.time())
    assert [(row["file"], row["place"]) for row in rows] == [
        (str(web.certificate), 0), (str(web.certificate), 1), (str(ca.root), 0), ("inline", 0), ("inline", 1),
    ]  # fmt: skip
    leaf, below, root = rows[:3]
    assert leaf["identity"] == "spiffe://cluster.local/ns/shop/sa/web"
    assert (leaf["dns"], leaf["uris"], leaf["ips"]) == (["web.shop"], [leaf["identity"]], ["10.0.0.1"])
    assert (leaf["is_ca"], below["is_ca"], root["is_ca"]) == (False, True, True)
    assert leaf["issuer"] == below["subject"]
    assert below["issuer"] == root["subject"]
    assert 9.9 < leaf["days_left"] <= 10
    assert leaf["not_after"].endswith("Z")
    assert int(leaf["serial"], 16) > 0
    assert root["sha256"] == sha256(PEM_cert_to_DER_cert(ca.root.read_text())).hexdigest()
    assert [use["key"] for use in leaf["used"]] == [
        "listeners.web.tls[0].certificate", "listeners.web.tls[1].certificate", "clusters.up.tls.certificate",
    ]  # fmt: skip
    assert root["used"] == [
        {"listener": "web", "cluster": None, "role": "client_ca", "key": "listeners.web.tls[0].client_ca"},
        {"listener": None, "cluster": "up", "role": "ca", "key": "clusters.up.tls.ca"},
    ]
    assert rows[3]["used"][0]["key"] == "listeners.in.chains[0].tls.certificate"


def test_no_key_is_shown_wherever_it_stands(tmp_path: Path) -> None:
    web = Pki(tmp_path).ca().issue("shop/web")
    alone = web.certificate.read_text()
    both = alone + web.key.read_text()
    web.certificate.write_text(both)
    papers = papers_of([("web", {"tls": [server(web), {"certificate": alone, "key": both}]})], {})
    rows = certificate_rows(papers, time.time())
    shown = json.dumps(rows) + text_table(rows) + repr(rows)
    assert len(rows) == 2
    assert "PRIVATE" not in shown
    for line in web.key.read_text().splitlines()[1:-1]:
        assert line not in shown


def test_one_that_cannot_be_read_is_told_and_hides_no_other(tmp_path: Path) -> None:
    ca = Pki(tmp_path).ca()
    good = ca.root.read_text()
    ca.root.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + good)
    rows = certificate_rows(papers_of([], {"up": {"endpoints": ["127.0.0.1:1"], "tls": {"ca": str(ca.root)}}}), 0)
    assert [(row["place"], "error" in row) for row in rows] == [(0, True), (1, False)]
    assert text_table(rows).splitlines()[0].split()[:3] == ["file", "place", "error"]
