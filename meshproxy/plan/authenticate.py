"""Who clients are, compiled: a list `authenticate`, and what is in its files, become an `Authenticator`.

What is known of a file stays as long as its content does, over any number of reloads, and with it who has lately
proved to be somebody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from hashlib import sha256

from meshproxy.core.jwk import bytes_of, read_keys
from meshproxy.core.jwt import Tokens
from meshproxy.core.papers import Unusable, text_of
from meshproxy.core.passwords import read_users
from meshproxy.core.table import Claims
from meshproxy.errors import Invalid, Problem
from meshproxy.model.authenticate import Credential, Jwt
from meshproxy.model.papers import Use, of_credentials
from meshproxy.net import signatures
from meshproxy.net.clock import at_once
from meshproxy.plan.rim import Rim
from meshproxy.relay.live import Kept
from meshproxy.relay.mqtt.authentication import (
    Ask,
    Authenticator,
    Roll,
    as_anybody,
    by_common_name,
    by_identity,
    by_password,
    by_token,
)
from meshproxy.relay.mqtt.hashing import Hashing, threads
from meshproxy.schema.shapes import Path


def authenticator(
    said: tuple[Credential, ...] | None, name: str, path: Path, claims: Claims, rim: Rim
) -> Generator[None, None, Authenticator | None]:
    """None: everybody is let in.  `name` and `path` are those of the policy, as in `model.papers`."""
    if said is None:
        return None
    uses = {use.path: use for use in of_credentials(name, path, said)}
    asked: list[Ask] = []
    rolls: list[Roll] = []
    for number, each in enumerate(said):
        at: Path = (*path, number)
        if each.users is not None:
            rolls.append((yield from _roll(uses[*at, "users"], claims, rim)))
            asked.append(by_password(rolls[-1]))
        elif each.jwt is not None:
            asked.append(by_token(_tokens(each.jwt, uses[*at, "jwt", "keys"], rim), rim.clock))
        elif each.certificate is not None:
            asked.append(by_identity if each.certificate == "identity" else by_common_name)
        elif each.anonymous is not None:
            asked.append(as_anybody(each.anonymous.user))
    users = [roll.users for roll in rolls if roll.users is not None and roll.users.decoy is not None]
    slowest = max(users, key=lambda each: each.iterations, default=None)
    return Authenticator(
        asked,
        claims.claim(("hashing",), lambda: Hashing(threads(rim.loop))),
        slowest.decoy if slowest is not None else None,
        claims.claim(("authenticated", name), lambda: Kept(Counter())).value,
    )


def unusable(use: Use, text: str) -> str:
    """Why what stands in a file of users or keys cannot be used, or nothing; nor is anything wrong with other files."""
    try:
        if use.role == "users":
            at_once(read_users(text))
        elif use.role == "keys":
            read_keys(text, use.algorithms, signatures)
    except Unusable as why:
        return str(why)
    return ""


def _roll(use: Use, claims: Claims, rim: Rim) -> Generator[None, None, Roll]:
    text = _text(use, rim)
    # The key stands where keys of the table are shown, and the text must not.
    roll = claims.claim(("roll", sha256(bytes_of(text)).hexdigest()), lambda: Roll(rim.clock))
    if roll.users is None:
        try:
            roll.users = yield from read_users(text)
        except Unusable as why:
            raise _problem(use, why) from None
    return roll


def _tokens(said: Jwt, use: Use, rim: Rim) -> Tokens:
    try:
        keys = read_keys(_text(use, rim), said.algorithms, signatures)
    except Unusable as why:
        raise _problem(use, why) from None
    return Tokens(keys, issuer=said.issuer, audience=said.audience, user=said.user, leeway=said.leeway)


def _text(use: Use, rim: Rim) -> str:
    text = text_of(use, rim.papers)
    assert text is not None, "what a configuration names has been read"
    return text


def _problem(use: Use, why: Unusable) -> Invalid:
    return Invalid([Problem(use.key, use.about(str(why)))])
