"""What an operator can say about who clients are: by name and password, by a token, by a certificate, or by nothing.

    said = decode(Credential, {"jwt": {"keys": "issuer.pem", "algorithms": ["ES256"], "audience": "mqtt"}})
    list(credential_problems((said,)))      # [], or the place of each thing that does not fit, with the reason

In a list the first that knows the kind of what a client says decides, and asks no other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

from meshproxy.model.matching import Found
from meshproxy.model.tls import Pem, is_inline
from meshproxy.schema.kinds import Duration, Text, choice, string

MOST_CREDENTIALS = 16
LONGEST_LEEWAY = 3600.0

_SALT = r"(?:[A-Za-z0-9+/]{4}){0,63}(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)"
HASHED = re.compile(rf"\$(?:6|7\$([1-9][0-9]{{0,7}}))\${_SALT}\$[A-Za-z0-9+/]{{86}}==").fullmatch
"""A password as `mosquitto_passwd` writes it; the group is the number of iterations."""

ALGORITHMS = (
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
)  # fmt: skip

# Kinds --------------------------------------------------------------------------------------------

Algorithm = Annotated[str, choice(*ALGORITHMS)]
UserName = Annotated[str, string("user name", "a user name of printable characters", r".+", 1024)]
FilePath = Annotated[str, string("path", "the path of a file", r".+", 4096)]
Claim = Annotated[str, string("claim", "the name of a claim such as sub", r".+", 253)]


def is_of_secret(algorithm: str) -> bool:
    """Whether who verifies could sign as well."""
    return algorithm.startswith("HS")


# What is said -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Jwt:
    """Tokens of an issuer (RFC 7519), signed; one that says when it ends (`exp`) or begins is refused outside of it."""

    keys: Annotated[
        Pem,
        "a file with public keys in PEM, with a JSON Web Key Set, or with the secret itself, and nothing else in it; "
        "or PEM text",
    ]
    algorithms: Annotated[tuple[Algorithm, ...], "with which they may be signed: all by secrets (HS…), or none"]
    issuer: Annotated[
        Text | None, "whose tokens (`iss`), while those of others are left to later entries; absent: anybody's"
    ] = None
    audience: Annotated[
        Text | None, "for whom (`aud`) they must be; absent: none that says for whom it is is taken"
    ] = None
    user: Annotated[Claim, "the claim that is the user name; one that the client says beside it must be the same"] = (
        "sub"
    )
    leeway: Annotated[Duration, "how far clocks may differ"] = 30.0


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Clients that say neither a user name nor a password."""

    SHORTHAND: ClassVar[str] = "user"

    user: Annotated[UserName, "who they are"]


@dataclass(frozen=True, slots=True)
class Credential:
    """One way to find out who a client is, called by its only key."""

    CHOICE: ClassVar[bool] = True

    users: Annotated[
        FilePath | None,
        "a file of users and their passwords, hashed, as `mosquitto_passwd` writes it; it knows the names in it, of "
        "clients that say a password",
    ] = None
    jwt: Annotated[Jwt | None, "the password is a JSON Web Token"] = None
    certificate: Annotated[
        Literal["identity", "common_name"] | None,
        choice("identity", "common_name"),
        "what a client certificate has proved is the user name: its identity, as `tls` says which, or its common name; "
        "a user name that the client says beside it must be the same, and a password is not looked at",
    ] = None
    anonymous: Annotated[Anonymous | None, "who says neither user name nor password; the last entry"] = None

    @property
    def kind(self) -> str:
        return next(field.name for field in fields(self) if getattr(self, field.name) is not None)


# What does not fit together -----------------------------------------------------------------------


def credential_problems(several: tuple[Credential, ...]) -> Found:
    """Each with its place in the list."""
    if not several:
        yield (), "`authenticate` must not be empty: nobody would be let in; leave it out, and everybody is"
    if len(several) > MOST_CREDENTIALS:
        yield (), f"`authenticate` has {len(several)} entries, more than {MOST_CREDENTIALS}"
    first: dict[object, int] = {}
    any_issuer: int | None = None
    for index, said in enumerate(several):
        before = first.setdefault(_known(said), index)
        if before != index:
            yield (index,), f"`{said.kind}` is never asked: `authenticate[{before}]` decides about the same clients"
        elif said.jwt is not None and any_issuer is not None:
            yield (index,), f"`jwt` is never asked: `authenticate[{any_issuer}]` says no `issuer` and decides about all"
        if said.jwt is not None:
            if said.jwt.issuer is None and any_issuer is None:
                any_issuer = index
            for path, words in _jwt_problems(said.jwt):
                yield (index, "jwt", *path), words
        if said.anonymous is not None and index < len(several) - 1:
            yield (index, "anonymous"), "`anonymous` must be the last entry: who is nobody is found out last"


def _known(said: Credential) -> object:
    """About whom it decides; two that decide about the same are one too many."""
    return said.kind, said.users, said.jwt.issuer if said.jwt is not None else None


def _jwt_problems(said: Jwt) -> Found:
    if not said.algorithms:
        yield ("algorithms",), "`algorithms` must not be empty: no token would be taken"
    if len(set(said.algorithms)) < len(said.algorithms):
        yield ("algorithms",), "`algorithms` says one of them twice"
    secret = [name for name in said.algorithms if is_of_secret(name)]
    public = [name for name in said.algorithms if not is_of_secret(name)]
    if secret and public:
        yield (
            ("algorithms",),
            f"`algorithms` has {secret[0]}, of a secret, beside {public[0]}, of a public key, which anybody could take "
            "for the secret: they need two entries",
        )
    elif secret and is_inline(said.keys):
        yield ("keys",), f"`keys` is PEM, and {secret[0]} needs the path of a file with a secret"
    for key in ("issuer", "audience"):
        if getattr(said, key) == "":
            yield (key,), f"`{key}` must not be empty: leave it out"
    if said.leeway > LONGEST_LEEWAY:
        yield ("leeway",), "`leeway` is longer than 1h"
