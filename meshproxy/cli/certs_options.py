"""What `meshproxy certs` may be told.  Every `meshproxy` knows it, so nothing is imported here that making needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from meshproxy.cli import FAILED


def add(certs: argparse.ArgumentParser) -> None:
    certs.set_defaults(command=_certs)
    made = certs.add_subparsers(title="commands", metavar="COMMAND", dest="made", required=True)

    ca = made.add_parser("ca", help="a certificate authority, of its own or below another one")
    ca.add_argument("--ca", metavar="DIR", help="the CA that answers for it; without one it is a root")
    ca.add_argument("--name", type=_name, default="meshproxy CA", help="its common name (%(default)s)")
    ca.add_argument("--trust-domain", type=_trust_domain, help="of the identities that it certifies (cluster.local)")
    _key_option(ca)
    _lifetime_options(ca, None, "3650d, with --ca 365d")
    _out_options(ca)

    issue = made.add_parser("issue", help="a certificate with its key")
    _ca_option(issue)
    _name_options(issue)
    _key_option(issue)
    _role_option(issue)
    _lifetime_options(issue, "90d")
    _out_options(issue)

    csr = made.add_parser("csr", help="a key, and a request for its certificate")
    _name_options(csr)
    csr.add_argument("--trust-domain", type=_trust_domain, help="of --identity (cluster.local)")
    _key_option(csr)
    _out_options(csr)

    sign = made.add_parser("sign", help="the certificate that a request asks for")
    sign.add_argument("request", metavar="CSR", help="the request, whose names have to be those that are said here")
    _ca_option(sign)
    _name_options(sign)
    _role_option(sign)
    _lifetime_options(sign, "90d")
    _out_options(sign)

    crl = made.add_parser("crl", help="the list of a CA's revoked certificates, crl.pem beside it: made, or continued")
    _ca_option(crl)
    crl.add_argument("--revoke", action="append", default=[], metavar="FILE", help="one more; may be repeated")
    _lifetime_options(crl, "30d")

    show = made.add_parser("show", help="what certificates say")
    show.add_argument("files", nargs="+", metavar="FILE")
    show.add_argument("-o", "--output", default="table", choices=("table", "json"))


def _certs(arguments: argparse.Namespace) -> int:
    try:
        from meshproxy.cli.certs import COMMANDS
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "cryptography":
            raise
        print("meshproxy: certs needs the library cryptography: pip install 'meshproxy[certs]'", file=sys.stderr)
        return FAILED
    return COMMANDS[arguments.made](arguments)


def _ca_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--ca", required=True, metavar="DIR", help="where the CA is: ca.pem and ca.key")


def _out_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", required=True, metavar="DIR", help="where the files go")
    command.add_argument("--force", action="store_true", help="replace those that are there")


def _key_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--key", default="ec", choices=("ec", "rsa"), help="P-256 or RSA of 2048 bits (%(default)s)")


def _role_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--only", choices=("server", "client"), help="may not do the other; else it may do both")


def _name_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--identity", type=_identity, metavar="NS/ACCOUNT", help="namespace/account, or a SPIFFE ID in full"
    )
    command.add_argument("--dns", type=_host, action="append", default=[], metavar="NAME", help="may be repeated")
    command.add_argument("--ip", type=_address, action="append", default=[], metavar="ADDRESS", help="may be repeated")
    command.add_argument("--name", type=_name, help="the common name of its subject, which else is empty")


def _lifetime_options(command: argparse.ArgumentParser, default: str | None, shown: str = "%(default)s") -> None:
    command.add_argument(
        "--lifetime", type=_lifetime, default=default, metavar="DURATION", help=f"how long it is valid ({shown})"
    )
    command.add_argument(
        "--start", type=_time, metavar="TIME", help="from when on, as 2026-01-31 or 2026-01-31T12:00Z; else from now on"
    )


def _refusing(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """What is wrong is said in the words of who reads it."""

    def kind(text: str) -> Any:
        try:
            return read(text)
        except (ValueError, OverflowError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return kind


@_refusing
def _identity(text: str) -> str:
    from meshproxy.certs.names import identity

    return identity(text)


@_refusing
def _trust_domain(text: str) -> str:
    from meshproxy.certs.names import trust_domain

    return trust_domain(text)


@_refusing
def _host(text: str) -> str:
    from meshproxy.certs.names import host

    return host(text)


@_refusing
def _address(text: str) -> object:
    from meshproxy.certs.names import address

    return address(text)


@_refusing
def _name(text: str) -> str:
    from meshproxy.certs.names import common_name

    return common_name(text)


@_refusing
def _lifetime(text: str) -> timedelta:
    from meshproxy.schema.kinds import read_duration

    seconds = read_duration(text)
    if seconds < 1:
        raise ValueError(f"must be at least 1s, not {text}")
    return timedelta(seconds=seconds)


@_refusing
def _time(text: str) -> datetime:
    """Without a zone it is UTC, as everything is in certificates."""
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
