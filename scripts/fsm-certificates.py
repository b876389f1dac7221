#!/usr/bin/env python3
"""Fills the `Certificate` and `SourceCert` of config.json files of FSM with certificates of a CA made for the purpose.

    scripts/fsm-certificates.py --ca DIR bookstore.json bookbuyer.json

The CA is kept in DIR, which is made if it is not there, so that workloads that are filled with it trust each other.
What stands as `CommonName` is the name of a certificate, and its other names are those of the workload's services.
Needs the extra `certs`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from meshproxy.certs import files, pem
from meshproxy.certs.authority import Authority, Validity, new_key
from meshproxy.certs.names import Names

LIFETIME = timedelta(days=1)
"""As FSM has it."""
TRUST_DOMAIN = "cluster.local"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ca", required=True, type=Path, metavar="DIR", help="where the CA is, or is to be")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="each is replaced by what it becomes")
    arguments = parser.parse_args()
    authority = of_directory(arguments.ca)
    for path in arguments.files:
        config = json.loads(path.read_text())
        fill(config, authority)
        path.write_text(json.dumps(config, indent=1))


def of_directory(directory: Path) -> Authority:
    if not (directory / files.CA).exists():
        key = new_key("rsa")
        made = Authority.root("FSM example CA", TRUST_DOMAIN, Validity.of(2 * LIFETIME), key)
        files.write(directory, {files.CA: pem.of(made.chain), files.CA_KEY: pem.of_key(key)}, replace=False)
    return files.authority(directory)


def fill(config: dict[str, Any], authority: Authority) -> None:
    own = config.get("Certificate")
    if own:
        own.update(issued(own, authority, (own["CommonName"], *service_names(config))))
    for each in source_certificates(config):
        if not (each.get("OsmIssued") or each.get("FsmIssued")):
            each.update(issued(each, authority, each.get("SubjectAltNames") or ()))


def service_names(config: dict[str, Any]) -> Iterator[str]:
    for match in ((config.get("Inbound") or {}).get("TrafficMatches") or {}).values():
        for host in match.get("HttpHostPort2Service") or {}:
            if host != "*" and ":" not in host:
                yield host


def source_certificates(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        for key, below in value.items():
            if key == "SourceCert" and below:
                yield below
            yield from source_certificates(below)
    elif isinstance(value, list):
        for below in value:
            yield from source_certificates(below)


def issued(said: dict[str, Any], authority: Authority, names: Any) -> dict[str, str]:
    key = new_key("rsa")
    validity = Validity.of(LIFETIME)
    holder = Names(said.get("CommonName", ""), dns=tuple(dict.fromkeys(names)))
    return {
        "Expiration": validity.end.strftime("%Y-%m-%d %H:%M:%S"),
        "CertChain": pem.of(authority.issue(key.public_key(), holder, validity)).decode(),
        "PrivateKey": pem.of_key(key).decode(),
        "IssuingCA": pem.of([authority.root_certificate]).decode(),
    }


if __name__ == "__main__":
    main()
