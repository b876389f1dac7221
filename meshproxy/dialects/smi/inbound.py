"""The side on which a workload is asked: a chain for each port of its services, and on it only who is admitted."""

from __future__ import annotations

from typing import Any

from meshproxy.dialects.smi.grants import Grant, Grants
from meshproxy.dialects.smi.matches import headers_of, path_of
from meshproxy.dialects.smi.papers import Papers
from meshproxy.dialects.smi.workload import Workload
from meshproxy.dialects.translation import Setting, Words
from meshproxy.schema.shapes import Path

NAME = "inbound"


def write(here: Workload, grants: Grants, setting: Setting, words: Words) -> None:
    if not here.ports:
        return
    sidecar, papers = setting.sidecar, Papers.of(setting.sidecar)
    for target in grants.targets if papers is None else ():
        message = f"{target} admits nobody: without `sidecar.certificate` nobody can prove who they are"
        target.called.note(words, "ignored", message)
    at = len(words.value.get("listeners", ()))
    chains = [
        _chain(("listeners", at, "chains", index), number, here, grants, papers is not None, words)
        for index, number in enumerate(here.ports)
    ]
    listener: dict[str, Any] = {
        "listen": [str(address) for address in sidecar.inbound],
        "transparent": True,
        "protocol": "tcp",
        "chains": chains,
    }
    if papers is not None:
        listener.update(tls=papers.server, permissive=sidecar.permissive)
    first = next(iter(here.ports.values()))[0].service.place
    words.put("listeners", NAME, listener, first.sheet, first.path)


def _chain(at: Path, number: int, here: Workload, grants: Grants, proven: bool, words: Words) -> dict[str, Any]:
    place = here.ports[number][0].port.place
    cluster, admitted = f"local|{number}", grants.at(number) if proven else []
    words.put("clusters", cluster, {"endpoints": [f"127.0.0.1:{number}"]}, place.sheet, place.path)
    place.said(words, *at)
    match = {"ports": [number]}
    if grants.protocol(number) == "http":
        table = f"{NAME}|{number}"
        entries = [_admission(grant) for grant in admitted]
        rules = [{"cluster": cluster, "authorize": entries}]
        words.put("routes", table, {"rules": rules}, place.sheet, place.path)
        _tell(("routes", table, "rules", 0), admitted, words)
        return {"match": match, "protocol": "http", "routes": table}
    _tell(at, admitted, words)
    callers = [{"identities": [*grant.identities]} for grant in admitted]
    return {"match": match, "protocol": "tcp", "cluster": cluster, "authorize": callers}


def _admission(grant: Grant) -> dict[str, Any]:
    entry: dict[str, Any] = {"identities": [*grant.identities]}
    if grant.match is not None:
        path, headers = path_of(grant.match), headers_of(grant.match)
        entry.update({"paths": [path]} if path is not None else {})
        entry.update({"methods": [*grant.match.methods]} if grant.match.methods else {})
        entry.update({"headers": headers} if headers else {})
    return entry


def _tell(at: Path, admitted: list[Grant], words: Words) -> None:
    for index, grant in enumerate(admitted):
        entry = (*at, "authorize", index)
        grant.place.said(words, *entry)
        grant.sources.said(words, *entry, "identities")
        if grant.match is not None:
            grant.match.place.below("pathRegex").said(words, *entry, "paths")
            for key in ("methods", "headers"):
                grant.match.place.below(key).said(words, *entry, key)
