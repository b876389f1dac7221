"""Who a client is, by what it says of itself and by what its certificate has proved.

    asked = [by_password(roll), by_token(tokens, clock), by_identity]
    authenticator = Authenticator(asked, hashing, users.decoy, Counter())
    waiting = authenticator.identify(user, password, origin, done)      # done("alice"), or done(Refusal.WRONG)
    if waiting is not None:                                             # it is not said yet
        waiting.cancel()                                                # nobody wants to know any more

The first that knows the kind of what is said decides.  Nothing of a password or a token is ever shown.
"""

from __future__ import annotations

import hmac
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeGuard

from meshproxy.core.jwt import Refused, Tokens, issuer_of, looks_like_token
from meshproxy.core.passwords import LONGEST_PASSWORD, Users, fits
from meshproxy.net.clock import Clock
from meshproxy.relay.mqtt.hashing import Hashing
from meshproxy.relay.origin import Origin

REMEMBERED = 60.0
"""Seconds for which a password is not compared again."""
MOST_REMEMBERED = 10_000


class Refusal(Enum):
    """Why a client is nobody; it hears the same of those that are wrong and those that are unknown."""

    WRONG = "wrong"
    UNKNOWN = "unknown"
    NOTHING = "nothing"
    """It has said nothing, and has proved nothing."""
    BUSY = "busy"


Outcome = str | Refusal
"""The user name, or why there is none."""
Done = Callable[[Outcome], None]


Ask = Callable[[str | None, bytes | None, Origin], "Outcome | Comparison | None"]
"""Of a user name, a password and what the connection has proved; None: it does not know this kind of client."""


# Users ------------------------------------------------------------------------------------------------


class Roll:
    """Live, as long as nobody has touched the file: the users in it, and who has lately proved to be one of them.

    When ten thousand devices come back at once, those that were here a minute ago are let in at once.
    """

    __slots__ = ("_clock", "_key", "_proved", "users")

    def __init__(self, clock: Clock) -> None:
        self.users: Users | None = None
        """None: they are being read."""
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._proved: OrderedDict[bytes, float] = OrderedDict()
        """Until when; the first one is the first to be forgotten."""

    def remembers(self, user: str, password: bytes) -> bool:
        until = self._proved.get(self._seal(user, password))
        return until is not None and self._clock.now() < until

    def remember(self, user: str, password: bytes) -> None:
        seal, proved = self._seal(user, password), self._proved
        proved[seal] = self._clock.now() + REMEMBERED
        proved.move_to_end(seal)
        if len(proved) > MOST_REMEMBERED:
            proved.popitem(last=False)

    def _seal(self, user: str, password: bytes) -> bytes:
        """No name that can stand in the file has a NUL in it."""
        return hmac.digest(self._key, b"%b\0%b" % (user.encode(), password), "sha256")

    def retire(self, grace: float) -> None:
        """Who is being compared goes on with what was in force."""
        self._proved.clear()


class Comparison:
    """One password with one hash, for whoever waits for it."""

    __slots__ = ("_decoy", "_done", "_hashed", "_hashing", "_password", "_roll", "_user")

    def __init__(self, roll: Roll | None, user: str, password: bytes, hashed: str) -> None:
        """Without a `roll` it is nobody, whatever the password: that is to take as long to say as of somebody."""
        self._roll = roll
        self._user = user
        self._password = password
        self._hashed = hashed
        self._hashing: Hashing | None = None
        self._done: Done | None = None

    def begin(self, hashing: Hashing, done: Done) -> bool:
        """Whether there is room for it."""
        self._hashing = hashing
        self._done = done
        return hashing.ask(self)

    def verify(self) -> bool:
        """In another thread."""
        return fits(self._hashed, self._password)

    def over(self, fits: bool) -> None:
        roll, done = self._roll, self._done
        if roll is not None and fits:
            # Also if nobody waits any more: who has lost patience comes back.
            roll.remember(self._user, self._password)
        if done is not None:
            done(Refusal.UNKNOWN if roll is None else self._user if fits else Refusal.WRONG)

    def cancel(self) -> None:
        self._done = None
        if self._hashing is not None:
            self._hashing.forget(self)


def _may_be_compared(password: bytes | None) -> TypeGuard[bytes]:
    """One that is too long is that of nobody, whoever is known."""
    return password is not None and len(password) <= LONGEST_PASSWORD


def by_password(roll: Roll) -> Ask:
    users = roll.users
    assert users is not None, "it has been read"
    known = users.hashed

    def ask(user: str | None, password: bytes | None, _origin: Origin) -> Outcome | Comparison | None:
        if user is None or not _may_be_compared(password) or (hashed := known.get(user)) is None:
            return None
        return user if roll.remembers(user, password) else Comparison(roll, user, password, hashed)

    return ask


# Others -----------------------------------------------------------------------------------------------


def by_token(tokens: Tokens, clock: Clock) -> Ask:
    def ask(user: str | None, password: bytes | None, _origin: Origin) -> Outcome | None:
        if password is None or not looks_like_token(password):
            return None
        if tokens.issuer is not None and issuer_of(password) != tokens.issuer:
            return None
        try:
            said = tokens.user_of(password, clock.wall())
        except Refused:
            return Refusal.WRONG
        return said if user in (None, said) else Refusal.WRONG

    return ask


def by_identity(user: str | None, _password: bytes | None, origin: Origin) -> Outcome | None:
    return _proved(origin.identity or "", user)


def by_common_name(user: str | None, _password: bytes | None, origin: Origin) -> Outcome | None:
    peer = origin.peer
    return _proved(peer.certificate.by_subject if peer is not None and peer.certificate is not None else "", user)


def _proved(name: str, user: str | None) -> Outcome | None:
    if not name or not name.isprintable():
        return None
    return name if user in (None, name) else Refusal.WRONG


def as_anybody(name: str) -> Ask:
    return lambda user, password, _origin: name if user is None and password is None else None


# All of them ------------------------------------------------------------------------------------------


class Authenticator:
    __slots__ = ("_asked", "_decoy", "_hashing", "counts")

    def __init__(self, asked: Sequence[Ask], hashing: Hashing, decoy: str | None, counts: Counter[str]) -> None:
        """`decoy` is a hash with which the passwords of those are compared whom nobody knows."""
        self._asked = asked
        self._hashing = hashing
        self._decoy = decoy
        self.counts = counts
        """`ok`, or the value of a `Refusal`: how often."""

    def identify(self, user: str | None, password: bytes | None, origin: Origin, done: Done) -> Comparison | None:
        """`done` hears who it is: at once, and nothing is returned, or later.  An empty user name says nothing."""
        found = self._find(user or None, password, origin)
        if isinstance(found, Comparison):

            def over(outcome: Outcome) -> None:
                self._count(outcome)
                done(outcome)

            if found.begin(self._hashing, over):
                return found
            found = Refusal.BUSY
        self._count(found)
        done(found)
        return None

    def _find(self, user: str | None, password: bytes | None, origin: Origin) -> Outcome | Comparison:
        for ask in self._asked:
            found = ask(user, password, origin)
            if found is not None:
                return found
        if user is None and password is None:
            return Refusal.NOTHING
        if self._decoy is None or user is None or not _may_be_compared(password):
            return Refusal.UNKNOWN
        return Comparison(None, user, password, self._decoy)

    def _count(self, outcome: Outcome) -> None:
        self.counts[outcome.value if isinstance(outcome, Refusal) else "ok"] += 1
