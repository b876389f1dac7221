"""`meshproxy certs`: X.509 for tests and small sites, from files to files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from meshproxy.admin.tables import text_table
from meshproxy.certs import Refused, files, pem
from meshproxy.certs.authority import BOTH, Authority, Chain, Role, Validity, new_key
from meshproxy.certs.names import MOST_NAMES, TRUST_DOMAIN, Names, domain_of, spiffe
from meshproxy.certs.request import request, require_same, wanted
from meshproxy.certs.shown import said
from meshproxy.cli import FAILED, OK, USAGE

ROOT, BELOW = timedelta(days=3650), timedelta(days=365)
"""How long a CA is valid unless something else is said."""
COLUMNS = ("file", "subject", "names", "issuer", "state", "until")
"""Of a table of certificates; the rest is in JSON."""

Command = Callable[[argparse.Namespace], int]


class _Misused(Exception):
    """What was said on the command line is not enough, or too much."""


def _ca(arguments: argparse.Namespace) -> int:
    key = new_key(arguments.key)
    validity = Validity.of(arguments.lifetime or (BELOW if arguments.ca else ROOT), arguments.start)
    if not arguments.ca:
        made = Authority.root(arguments.name, arguments.trust_domain or TRUST_DOMAIN, validity, key)
    elif arguments.trust_domain:
        raise _Misused("--trust-domain is that of the CA above")
    else:
        made = _authority(arguments).below(arguments.name, validity, key)
    return _write(arguments, {files.CA_KEY: pem.of_key(key), files.CA: pem.of(made.chain)})


def _issue(arguments: argparse.Namespace) -> int:
    authority, key = _authority(arguments), new_key(arguments.key)
    names = _names(arguments, authority.trust_domain)
    chain = authority.issue(key.public_key(), names, _validity(arguments), _roles(arguments))
    return _write(arguments, {files.KEY: pem.of_key(key), **_issued(authority, chain)})


def _csr(arguments: argparse.Namespace) -> int:
    key = new_key(arguments.key)
    asked = request(_names(arguments, arguments.trust_domain or TRUST_DOMAIN), key)
    return _write(arguments, {files.KEY: pem.of_key(key), files.REQUEST: pem.of([asked])})


def _sign(arguments: argparse.Namespace) -> int:
    authority = _authority(arguments)
    asked = wanted(files.read(Path(arguments.request), pem.request))
    names = _names(arguments, authority.trust_domain)
    require_same(asked.names, names)
    if asked.ignored:
        _tell(f"not taken from the request: {', '.join(asked.ignored)}")
    chain = authority.issue(asked.public_key, names, _validity(arguments), _roles(arguments))
    return _write(arguments, _issued(authority, chain))


def _crl(arguments: argparse.Namespace) -> int:
    directory = Path(arguments.ca)
    path = directory / files.REVOKED
    before = files.read(path, pem.revoked) if path.exists() else None
    revoked = [files.read(Path(name), pem.certificates)[0] for name in arguments.revoke]
    made = files.authority(directory).revoke(revoked, _validity(arguments), before)
    return _written(files.write(directory, {files.REVOKED: pem.of([made])}, replace=True))


def _show(arguments: argparse.Namespace) -> int:
    rows = [
        {"file": name, **said(certificate)}
        for name in arguments.files
        for certificate in files.read(Path(name), pem.certificates)
    ]
    if arguments.output == "json":
        print(json.dumps(rows, indent=1))
    else:
        print(_printable(text_table([{column: row[column] or None for column in COLUMNS} for row in rows])), end="")
    return OK


def _authority(arguments: argparse.Namespace) -> Authority:
    directory, out = Path(arguments.ca), Path(arguments.out)
    if out.exists() and out.samefile(directory):
        raise _Misused("--out is where the CA is: each has a directory of its own")
    return files.authority(directory)


def _names(arguments: argparse.Namespace, trust_domain: str) -> Names:
    """Those that were said; the identity has to be of this trust domain, if there is one."""
    said = arguments.identity or ""
    if not (said or arguments.dns or arguments.ip or arguments.name):
        raise _Misused("say whose certificate it is: --identity, --dns, --ip or --name")
    if len(arguments.dns) + len(arguments.ip) > MOST_NAMES:
        raise _Misused(f"a certificate has at most {MOST_NAMES} names")
    if said and not trust_domain and not said.startswith("spiffe://"):
        raise Refused(f"this CA names no trust domain: say {said} in full, as spiffe://...")
    identity = spiffe(said, trust_domain) if said else ""
    if identity and trust_domain and domain_of(identity) != trust_domain:
        raise Refused(f"{identity} is not of the trust domain {trust_domain}")
    return Names(
        arguments.name or "",
        (identity,) if identity else (),
        tuple(dict.fromkeys(arguments.dns)),
        tuple(dict.fromkeys(arguments.ip)),
    )


def _validity(arguments: argparse.Namespace) -> Validity:
    return Validity.of(arguments.lifetime, arguments.start)


def _roles(arguments: argparse.Namespace) -> frozenset[Role]:
    return frozenset((arguments.only,)) if arguments.only else BOTH


def _issued(authority: Authority, chain: Chain) -> dict[str, bytes]:
    return {files.CERTIFICATE: pem.of(chain), files.CA: pem.of([authority.root_certificate])}


def _write(arguments: argparse.Namespace, made: dict[str, bytes]) -> int:
    return _written(files.write(Path(arguments.out), made, replace=arguments.force))


def _written(paths: list[Path]) -> int:
    print(*paths, sep="\n")
    return OK


def _tell(words: object) -> None:
    print(f"meshproxy: {_printable(str(words))}", file=sys.stderr)


def _printable(text: str) -> str:
    """Names come from others, who may have put in what moves the cursor."""
    return "".join(each if each.isprintable() or each == "\n" else "\ufffd" for each in text)


def _told(command: Command) -> Command:
    def told(arguments: argparse.Namespace) -> int:
        try:
            return command(arguments)
        except _Misused as misused:
            _tell(misused)
            return USAGE
        except Refused as refused:
            _tell(refused)
            return FAILED
        except OSError as error:
            _tell(f"{error.filename}: {error.strerror}")
            return FAILED

    return told


COMMANDS = {
    name: _told(command)
    for name, command in {
        "ca": _ca,
        "issue": _issue,
        "csr": _csr,
        "sign": _sign,
        "crl": _crl,
        "show": _show,
    }.items()
}
