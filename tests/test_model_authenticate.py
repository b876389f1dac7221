"""What an operator can say about who clients are, and what is a mistake in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import jsonschema
import pytest

from meshproxy.errors import Invalid
from meshproxy.model import decode, encode
from meshproxy.model.authenticate import MOST_CREDENTIALS, Anonymous, Credential, credential_problems
from meshproxy.model.papers import of_credentials
from meshproxy.schema import json_schema


@dataclass(frozen=True, slots=True)
class Policy:
    """Whatever has such a list."""

    authenticate: Annotated[tuple[Credential, ...], "who clients are"]


SCHEMA = jsonschema.Draft202012Validator(json_schema(Policy))
PEM = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
USERS = {"users": "/etc/meshproxy/mqtt-users"}


def jwt(**said: Any) -> dict[str, Any]:
    return {"jwt": {"keys": "issuer.pem", "algorithms": ["ES256"]} | said}


def read(*entries: Any) -> tuple[Credential, ...]:
    found: Policy = decode(Policy, {"authenticate": list(entries)})
    return found.authenticate


def problems(*entries: Any) -> dict[tuple[str | int, ...], str]:
    return dict(credential_problems(read(*entries)))


def test_all_that_can_be_said() -> None:
    said = [
        USERS,
        jwt(algorithms=["HS256", "HS512"], issuer="https://id.local", audience="mqtt", user="name", leeway="1m"),
        jwt(keys=PEM, algorithms=["RS256", "EdDSA"]),
        {"certificate": "common_name"},
        {"anonymous": {"user": "guest"}},
    ]
    assert problems(*said) == {}
    SCHEMA.validate({"authenticate": said})
    entries = read(*said)
    assert [each.kind for each in entries] == ["users", "jwt", "jwt", "certificate", "anonymous"]
    assert decode(Policy, encode(Policy(entries))) == Policy(entries)
    assert read({"anonymous": "guest"})[0].anonymous == Anonymous("guest")


def test_what_is_absent() -> None:
    (said,) = read(jwt())
    assert said.jwt is not None
    assert (said.jwt.issuer, said.jwt.audience, said.jwt.user, said.jwt.leeway) == (None, None, "sub", 30.0)


@pytest.mark.parametrize(
    ("entries", "path", "words"),
    [
        ([], (), "must not be empty"),
        ([{"users": f"{number}"} for number in range(MOST_CREDENTIALS + 1)], (), "has 17 entries, more than 16"),
        ([USERS, USERS], (1,), "`authenticate[0]` decides about the same"),
        ([{"certificate": "identity"}, {"certificate": "common_name"}], (1,), "`certificate` is never asked"),
        ([jwt(), jwt(issuer="a")], (1,), "`authenticate[0]` says no `issuer`"),
        ([jwt(issuer="a"), jwt(issuer="a", keys="other")], (1,), "decides about the same"),
        ([{"anonymous": "guest"}, USERS], (0, "anonymous"), "must be the last"),
        ([jwt(algorithms=["RS256", "HS256"])], (0, "jwt", "algorithms"), "has HS256, of a secret, beside RS256"),
        ([jwt(algorithms=[])], (0, "jwt", "algorithms"), "must not be empty"),
        ([jwt(algorithms=["RS256", "RS256"])], (0, "jwt", "algorithms"), "twice"),
        ([jwt(algorithms=["HS256"], keys=PEM)], (0, "jwt", "keys"), "is PEM, and HS256 needs"),
        ([jwt(issuer="")], (0, "jwt", "issuer"), "must not be empty"),
        ([jwt(audience="")], (0, "jwt", "audience"), "must not be empty"),
        ([jwt(leeway="2h")], (0, "jwt", "leeway"), "longer than 1h"),
    ],
)
def test_what_does_not_fit(entries: list[Any], path: tuple[str | int, ...], words: str) -> None:
    found = problems(*entries)
    assert list(found) == [path]
    assert words in found[path]


def test_issuers_beside_each_other() -> None:
    assert problems(jwt(issuer="a"), jwt(issuer="b"), jwt()) == {}


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"users": "a", "certificate": "identity"},
        {"users": ""},
        {"users": "a\nb"},
        {"certificate": "san"},
        {"anonymous": {}},
        {"anonymous": ""},
        {"anonymous": "a\0"},
        {"jwt": {"keys": "a"}},
        {"jwt": {"algorithms": ["RS256"]}},
        jwt(algorithms=["none"]),
        jwt(algorithms=["rs256"]),
        jwt(algorithms="RS256"),
        jwt(keys=""),
        jwt(keys=PEM.replace("PUBLIC", "PRIVATE")),
        jwt(user=""),
        jwt(leeway="-1s"),
        jwt(secret="x"),
        {"ldap": {}},
    ],
)
def test_what_is_refused_as_it_stands(entry: Any) -> None:
    with pytest.raises(Invalid):
        read(entry)


def test_files_in_it() -> None:
    entries = read(USERS, {"certificate": "identity"}, jwt(keys="a.pem"), jwt(keys=PEM, issuer="x"))
    uses = list(of_credentials("plant", ("mqtt", "plant", "authenticate"), entries))
    assert [(use.key, use.role, use.file, use.algorithms) for use in uses] == [
        ("mqtt.plant.authenticate[0].users", "users", "/etc/meshproxy/mqtt-users", ()),
        ("mqtt.plant.authenticate[2].jwt.keys", "keys", "a.pem", ("ES256",)),
        ("mqtt.plant.authenticate[3].jwt.keys", "keys", None, ("ES256",)),
    ]
    assert (uses[0].listener, uses[0].cluster) == ("", "")
