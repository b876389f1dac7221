"""What an operator can say about a workload whose policy comes in the words of a mesh: where its proxy stands, who it
is, and which faults of the sidecar that stood there before it is to have as well.

    said = decode(Compat, {"identity": "header", "plugins": "refuse"})

Policy says who may ask whom.  It says nothing of sockets, and SMI nothing of certificates: that is said here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from meshproxy.model.address import Address, HostAddress, ListenAddress
from meshproxy.model.matching import Found
from meshproxy.model.routes import RouteFilter
from meshproxy.model.tls import KeyPem, Pem
from meshproxy.schema.kinds import Bool, choice
from meshproxy.schema.shapes import ONE_OR_MANY

ANY = "0.0.0.0"  # noqa: S104 - what is redirected arrives at any address of the workload
INBOUND = Address("ipv4", ANY, 15003)
OUTBOUND = Address("ipv4", ANY, 15001)


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Where policy in the words of a mesh is put in force, and by whom."""

    inbound: Annotated[tuple[ListenAddress, ...], ONE_OR_MANY, "where connections for the workload arrive"] = (INBOUND,)
    outbound: Annotated[tuple[ListenAddress, ...], ONE_OR_MANY, "where those of the workload arrive"] = (OUTBOUND,)
    certificate: Annotated[
        Pem | None, "what the workload shows to others of the mesh; absent: what its policy brings, or nothing"
    ] = None
    key: Annotated[KeyPem | None, "its key"] = None
    ca: Annotated[Pem | None, "who may sign certificates of others of the mesh"] = None
    permissive: Annotated[
        Bool, "whether plain connections from the mesh are let in too; they prove no identity"
    ] = False
    source: Annotated[
        HostAddress | None,
        "with `workloads`: the local address from which they are asked; by it rules of redirection know what has been "
        "let in already; absent: the system chooses",
    ] = None


@dataclass(frozen=True, slots=True)
class PluginFilters:
    """What stands in the place of a script."""

    SHORTHAND: ClassVar[str] = "filters"

    filters: Annotated[tuple[RouteFilter, ...], "filters of a rule, in this order; an empty list: nothing is missed"]


@dataclass(frozen=True, slots=True)
class Compat:
    """The ways of other sidecars, each by its own switch; see docs/fsm.md for what is lost by it."""

    identity: Annotated[
        Literal["certificate", "header"],
        choice("certificate", "header"),
        "who a client is: what it has proved, or what its header `serviceidentity` says, which anybody can write",
    ] = "certificate"
    server_name: Annotated[
        Literal["verified", "ignored"],
        choice("verified", "ignored"),
        "whether the name in a server's certificate is looked at, beside the authority that has signed it",
    ] = "verified"
    balance: Annotated[
        Literal["request", "connection"],
        choice("request", "connection"),
        "how often an endpoint is chosen: for each request, or once for each connection of a client",
    ] = "request"
    retry: Annotated[
        Literal["safe", "any"],
        choice("safe", "any"),
        "what is asked again: requests that may be repeated; or any, such as a payment",
    ] = "safe"
    breaker: Annotated[
        Literal["half_open", "closed"],
        choice("half_open", "closed"),
        "how a breaker that was open goes on: with a probe, or with all that waits",
    ] = "half_open"
    regex: Annotated[
        Literal["anchored", "search"],
        choice("anchored", "search"),
        "where expressions for paths and headers match: at the start, as SMI says; or anywhere",
    ] = "anchored"
    methods: Annotated[
        Literal["all", "seven"],
        choice("all", "seven"),
        "what a rule without methods is for: all; or DELETE, GET, HEAD, OPTIONS, PATCH, POST and PUT",
    ] = "all"
    order: Annotated[
        Literal["written", "specific"],
        choice("written", "specific"),
        "which of several rules of FSM decides: the first as written, or the most specific",
    ] = "written"
    bodies: Annotated[
        Literal["streamed", "buffered"],
        choice("streamed", "buffered"),
        "whether bodies go on as they come, or when all of them is there",
    ] = "streamed"
    headers: Annotated[
        Literal["kept", "last"],
        choice("kept", "last"),
        "what becomes of repeated header fields: all go on, or the last one; but for cookies",
    ] = "kept"
    plugins: Annotated[
        Literal["skip", "refuse"],
        choice("skip", "refuse"),
        "what becomes of a script in a chain for which there are no `plugin_filters`: it is left away with a warning; "
        "or the document is refused",
    ] = "skip"
    plugin_filters: Annotated[
        tuple[tuple[str, PluginFilters], ...], "by the name of a script, as in `plugins/NAME.js`: filters in its place"
    ] = ()


# What does not fit together -----------------------------------------------------------------------


def sidecar_problems(said: Sidecar) -> Found:
    yield from papers_problems(said.certificate, said.key, said.ca)


def papers_problems(certificate: object, key: object, ca: object) -> Found:
    """Of who shows a certificate to others, and asks for theirs."""
    papers = {"certificate": certificate, "key": key, "ca": ca}
    missing = [key for key, value in papers.items() if value is None]
    for key in (key for key in papers if missing and key not in missing):
        yield (key,), f"`{key}` needs {_listed(missing)}"


def _listed(keys: list[str]) -> str:
    return " and ".join(f"`{key}`" for key in keys)


PLAIN_SIDECAR = Sidecar()
PLAIN_COMPAT = Compat()
