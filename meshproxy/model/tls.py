"""What an operator can say about TLS: who we are, whom we believe, and how it is spoken.

said = decode(ServerTls, {"certificate": "web.pem", "key": "web.key", "client_ca": "mesh-ca.pem"})
said.client                 # "required": a client without a certificate of that CA is not let in

Certificates and keys are paths, or PEM text itself.  A key in the text is a secret and never shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from meshproxy.model.address import Address, Named
from meshproxy.model.matching import Found
from meshproxy.schema.kinds import SECRET, Bool, Scalar, Secret, choice, same, shown, string

MOST_NAMES = 64
"""Server names, protocols and alternatives in one list."""
LONGEST_PEM = 1 << 18

# Kinds --------------------------------------------------------------------------------------------

_BEGIN = "-----BEGIN "
_PATH = re.compile(r"[^\x00-\x1f\x7f]{1,4096}").fullmatch


def is_inline(source: str) -> bool:
    """Whether it is PEM itself, and not the path of a file."""
    return source.lstrip().startswith(_BEGIN)


def _read_pem(value: object) -> str:
    """Of what may be shown."""
    source = _read_source(value)
    if "PRIVATE KEY-----" in source:
        raise ValueError("must not hold a private key, which belongs into `key`")
    return source


def _read_source(value: object) -> str:
    if isinstance(value, str):
        if is_inline(value):
            if len(value) <= LONGEST_PEM:
                return value
        elif _PATH(value) and _BEGIN not in value:
            return value
    raise ValueError("must be the path of a file, or PEM text")


def _read_key(value: object) -> str | Secret:
    if isinstance(value, Mapping):
        found: Secret = SECRET.read(value)
        return found
    source = _read_source(value)
    return Secret.of(source) if is_inline(source) else source


_PEM_JSON = {"type": "string", "maxLength": LONGEST_PEM}
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"


def _read_server_name(value: object) -> str:
    return str(_SERVER_NAME.read(value)).lower()


_SERVER_NAME = string(
    "server name", "a host name such as shop.local or *.shop.local", rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", 253
)
_SPIFFE = r"spiffe://[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)+"
_NAMESAKE = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?"

Pem = Annotated[str, Scalar("path or PEM", _read_pem, same, _PEM_JSON)]
KeyPem = Annotated[str | Secret, Scalar("path or PEM", _read_key, same, {"anyOf": [_PEM_JSON, SECRET.json]})]
ServerName = Annotated[str, Scalar("server name", _read_server_name, same, _SERVER_NAME.json)]
OwnName = Annotated[str, string("host name", "a host name such as shop.local", rf"{_LABEL}(?:\.{_LABEL})*", 253)]
AlpnName = Annotated[str, string("protocol", "a name of a protocol such as http/1.1", r"[!-+\--~]+", 255)]
Ciphers = Annotated[str, string("cipher list", "a cipher list of OpenSSL", r"[A-Za-z0-9_:!+@=.-]+", 1024)]
Version = Annotated[Literal["1.2", "1.3"], choice("1.2", "1.3")]
Identity = Annotated[
    str,
    string(
        "identity",
        "`namespace/service-account`, an id such as spiffe://cluster.local/ns/shop/sa/books, or a host name",
        rf"{_SPIFFE}|{_NAMESAKE}/{_NAMESAKE}|(?:\*\.)?{_LABEL}(?:\.{_LABEL})*",
        2048,
    ),
]


def full_identity(identity: str, trust_domain: str) -> str:
    """`shop/books` is short for a SPIFFE id; host names are in small letters, as those of certificates are read."""
    if "/" in identity and ":" not in identity:
        namespace, _, account = identity.partition("/")
        return f"spiffe://{trust_domain}/ns/{namespace}/sa/{account}"
    return identity if ":" in identity else identity.lower()


# What is said -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServerTls:
    """How TLS is terminated: one certificate, and what is asked of clients."""

    certificate: Annotated[Pem, "the certificate, and after it those between it and its CA"]
    key: Annotated[KeyPem, "its key"]
    sni: Annotated[
        tuple[ServerName, ...],
        "in a list: the server names for which this one is taken; empty: those of the certificate",
    ] = ()
    client_ca: Annotated[Pem | None, "who may sign certificates of clients; absent: clients are not asked for one"] = (
        None
    )
    client: Annotated[
        Literal["required", "optional"], choice("required", "optional"), "whether a client must show one"
    ] = "required"
    without_certificate: Annotated[
        Literal["alert", "400", "403"],
        choice("alert", "400", "403"),
        "what a client gets that has to show one and has none: a TLS alert, or for http an answer with this status",
    ] = "alert"
    identity: Annotated[
        Literal["san", "cn"],
        choice("san", "cn"),
        "which name is the identity of a client: its SPIFFE id, else its first DNS name, else its common name; or its "
        "common name alone",
    ] = "san"
    crl: Annotated[
        Pem | None, "revocation lists; then each CA above a client's certificate must have one that is valid"
    ] = None
    min_version: Annotated[Version, "the oldest version of TLS"] = "1.2"
    ciphers: Annotated[Ciphers | None, "for TLS 1.2, in the words of OpenSSL; absent: its own strong ones"] = None
    alpn: Annotated[
        tuple[AlpnName, ...], "protocols, the best first; empty: for http `http/1.1`, else none is agreed on"
    ] = ()
    drain: Annotated[
        Bool, "whether connections that were let in by an older certificate or CA are drained when it is replaced"
    ] = False


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How TLS is spoken to endpoints."""

    ca: Annotated[Pem | None, "who may sign certificates of endpoints; absent: the system's authorities"] = None
    certificate: Annotated[Pem | None, "the certificate that is shown; absent: none"] = None
    key: Annotated[KeyPem | None, "its key"] = None
    sni: Annotated[
        OwnName | None, "the server name that is asked for; absent: the endpoint's host name, if it has one"
    ] = None
    verify: Annotated[
        Literal["name", "chain", "off"],
        choice("name", "chain", "off"),
        "what must be right: the chain of signatures and a name; only the chain; nothing at all, which is no security",
    ] = "name"
    names: Annotated[
        tuple[Identity, ...],
        "with `verify: name`: one of these must be in the certificate of an endpoint without an `identity`; empty: "
        "`sni`, else its host name or address",
    ] = ()
    crl: Annotated[
        Pem | None, "revocation lists; then each CA above an endpoint's certificate must have one that is valid"
    ] = None
    min_version: Annotated[Version, "the oldest version of TLS"] = "1.2"
    ciphers: Annotated[Ciphers | None, "for TLS 1.2, in the words of OpenSSL; absent: its own strong ones"] = None
    alpn: Annotated[tuple[AlpnName, ...], "protocols to offer; empty: none"] = ()
    resume: Annotated[Bool, "whether sessions are resumed"] = True

    def nameless(self, address: Address | Named, identity: str | None) -> bool:
        """Whether a name is to be verified of an endpoint that has none."""
        known = self.sni or self.names or identity or isinstance(address, Named) or address.host
        return self.verify == "name" and not known


# What does not fit together -----------------------------------------------------------------------


_OF_CLIENTS = "client_ca", "client", "without_certificate", "identity", "crl"


def demands_of(several: tuple[ServerTls, ...] | None) -> object:
    """What is asked of clients, which is the same for all entries of a list."""
    return tuple(getattr(several[0], key) for key in _OF_CLIENTS) if several else ()


def server_problems(several: tuple[ServerTls, ...], protocol: str) -> Found:
    """Each with its place among them."""
    if len(several) > MOST_NAMES:
        yield (), f"`tls` has {len(several)} entries, more than {MOST_NAMES}"
    names: dict[str, int] = {}
    for index, said in enumerate(several):
        at = (index,) if len(several) > 1 else ()
        for key in _OF_CLIENTS:
            # A client asks for the name that it likes, and they all lead to the same place.
            if getattr(said, key) != getattr(several[0], key):
                yield (*at, key), f"`{key}` must be as in `tls[0]`: `chains` that match `sni` may ask for other things"
        for path, words in _server_problems(said, protocol):
            yield (*at, *path), words
        for name in said.sni:
            before = names.setdefault(name, index)
            if before != index:
                yield (*at, "sni"), f"`sni` {name} is there twice: first in `tls[{before}]`"


def _server_problems(said: ServerTls, protocol: str) -> Found:
    yield from _bounded(said)
    if said.client_ca is None:
        absent = {"client": "required", "without_certificate": "alert", "identity": "san", "crl": None}
        for key, default in absent.items():
            if getattr(said, key) != default:
                yield (key,), f"`{key}` needs `client_ca`"
    elif said.client == "optional" and said.without_certificate != "alert":
        yield ("without_certificate",), "`without_certificate` needs `client: required`"
    if said.without_certificate != "alert" and protocol != "http":
        yield ("without_certificate",), f"`without_certificate` {said.without_certificate} needs `protocol: http`"


def client_problems(said: ClientTls) -> Found:
    yield from _bounded(said)
    if (said.certificate is None) != (said.key is None):
        missing, there = ("key", "certificate") if said.key is None else ("certificate", "key")
        yield (there,), f"`{there}` needs `{missing}`"
    if said.verify != "name" and said.names:
        yield ("names",), f"`names` need `verify: name`, not {said.verify}"
    if said.verify == "off":
        for key in ("ca", "crl"):
            if getattr(said, key) is not None:
                yield (key,), f"`{key}` is of no use with `verify: off`"
    elif said.crl is not None and said.ca is None:
        yield ("crl",), "`crl` needs `ca`"


def _bounded(said: ServerTls | ClientTls) -> Found:
    for key in ("sni", "names", "alpn"):
        several = getattr(said, key, ())
        if isinstance(several, tuple) and len(several) > MOST_NAMES:
            yield (key,), f"`{key}` has {len(several)} entries, more than {MOST_NAMES}"
    if len(set(said.alpn)) < len(said.alpn):
        yield ("alpn",), f"`alpn` names a protocol twice: {shown(', '.join(said.alpn))}"
