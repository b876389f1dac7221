"""Passwords of users, hashed, as `mosquitto_passwd` writes them: a file of lines `name:$7$iterations$salt$hash`.

    users = at_once(read_users(text))       # raises Unusable, with the number of the line
    hashed = users.hashed.get("alice")      # None: nobody of that name
    fits(hashed, b"secret")                 # slow, as it is meant to be: not for the thread in which the traffic is

`$7$` is PBKDF2 with SHA-512; `$6$`, of older files, is SHA-512 once, which whoever steals the file can guess fast.
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from hashlib import pbkdf2_hmac, sha512

from meshproxy.core.papers import Unusable
from meshproxy.model.authenticate import HASHED

MOST_USERS = 100_000
MOST_LINES = 2 * MOST_USERS
"""Blank ones and comments too."""
LONGEST_NAME = 1024
LONGEST_PASSWORD = 4096
"""Bytes: a thousand of them may wait to be compared."""
MOST_ITERATIONS = 10_000_000
IN_ONE_GO = 500
"""Lines that are read between two looks at the traffic."""


@dataclass(frozen=True, slots=True, eq=False)
class Users:
    hashed: Mapping[str, str] = field(repr=False)
    """By name."""
    decoy: str | None = field(repr=False)
    """The one that takes longest to compare with: who is not there must not be found out by the time that it takes.
    None: nobody is there."""
    iterations: int
    """Of that one; 0: SHA-512 once."""


def read_users(text: str) -> Generator[None, None, Users]:
    """What is wrong is told without a word of what stands there, which may be a password."""
    hashed: dict[str, str] = {}
    decoy: str | None = None
    slowest = -1
    if text.count("\n") > MOST_LINES:
        raise Unusable(f"has more than {MOST_LINES} lines")
    for number, line in enumerate(text.split("\n"), 1):
        if number % IN_ONE_GO == 0:
            yield
        line = line.removesuffix("\r")
        if not line or line.startswith("#"):
            continue
        name, _, said = line.partition(":")
        if (found := HASHED(said)) is None:
            raise Unusable(f"line {number}: not `name:$7$…` or `name:$6$…`, as `mosquitto_passwd` writes it")
        # What is not UTF-8 is no character that can be printed either.
        if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
            raise Unusable(f"line {number}: the name is not 1 to {LONGEST_NAME} printable characters")
        if name in hashed:
            raise Unusable(f"line {number}: a name that is there already")
        iterations = int(found[1] or 0)
        if iterations > MOST_ITERATIONS:
            raise Unusable(f"line {number}: more than {MOST_ITERATIONS} iterations")
        if len(hashed) == MOST_USERS:
            raise Unusable(f"line {number}: more than {MOST_USERS} users")
        hashed[name] = said
        if iterations > slowest:
            slowest, decoy = iterations, said
    return Users(hashed, decoy, max(slowest, 0))


def fits(hashed: str, password: bytes) -> bool:
    """Takes as long for a wrong password as for the right one."""
    *kind, salt, digest = hashed[1:].split("$")
    if kind[0] == "6":
        made = sha512(password + b64decode(salt)).digest()
    else:
        made = pbkdf2_hmac("sha512", password, b64decode(salt), int(kind[1]))
    return hmac.compare_digest(made, b64decode(digest))
