"""Who a client is: the first that knows it decides, slow comparisons are made elsewhere, and nothing is shown."""

from __future__ import annotations

import asyncio
import hmac
import json
import threading
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Coroutine
from hashlib import sha512
from types import SimpleNamespace
from typing import Any

import pytest

from meshproxy.core import passwords
from meshproxy.core.jwk import read_keys
from meshproxy.core.jwt import Tokens
from meshproxy.core.passwords import LONGEST_PASSWORD, read_users
from meshproxy.net import signatures
from meshproxy.net.clock import at_once
from meshproxy.relay.mqtt import authentication
from meshproxy.relay.mqtt.authentication import (
    MOST_REMEMBERED,
    REMEMBERED,
    Ask,
    Authenticator,
    Comparison,
    Outcome,
    Refusal,
    Roll,
    as_anybody,
    by_common_name,
    by_identity,
    by_password,
    by_token,
)
from meshproxy.relay.mqtt.hashing import AT_ONCE, MOST_WAITING, Hashing, threads
from meshproxy.relay.origin import Origin
from tests.conftest import FakeClock

Run = Callable[[Coroutine[Any, Any, None]], None]
SECRET = "a secret of thirty-two bytes, ok"
WRONG, UNKNOWN, NOTHING, BUSY = Refusal
UNPROVEN = Origin(None, None)


def line(name: str, password: str) -> str:
    digest = b64encode(sha512(password.encode() + b"abc").digest()).decode()
    return f"{name}:$6$YWJj${digest}\n"


def proven(identity: str, common_name: str = "") -> Origin:
    origin = Origin(None, None)
    certificate = SimpleNamespace(by_subject=common_name)
    origin.peer = SimpleNamespace(identity=identity, certificate=certificate)  # type: ignore[assignment]
    return origin


def token(**claims: object) -> bytes:
    parts = (json.dumps(part).encode() for part in ({"alg": "HS256"}, claims))
    both = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    return both + b"." + urlsafe_b64encode(hmac.digest(SECRET.encode(), both, "sha256")).rstrip(b"=")


class World:
    """What is run in threads waits here until it is said that it is done."""

    def __init__(self, clock: FakeClock, *users: tuple[str, str]) -> None:
        self.clock = clock
        self.begun: list[tuple[Callable[[], bool], Callable[[bool], None]]] = []
        self.hashing = Hashing(lambda verify, over: self.begun.append((verify, over)))
        self.roll = Roll(clock)
        self.roll.users = at_once(read_users("".join(line(*user) for user in users)))
        self.heard: list[Outcome] = []
        self.authenticator = self.of(by_password(self.roll))

    def of(self, *asked: Ask) -> Authenticator:
        assert self.roll.users is not None
        return Authenticator(asked, self.hashing, self.roll.users.decoy, Counter())

    def tokens(self, **said: Any) -> Ask:
        plain: dict[str, Any] = {"issuer": None, "audience": None, "user": "sub", "leeway": 0.0}
        return by_token(Tokens(read_keys(SECRET, ("HS256",), signatures), **plain | said), self.clock)

    def ask(self, user: str | None, password: bytes | None, origin: Origin = UNPROVEN) -> Comparison | None:
        return self.authenticator.identify(user, password, origin, self.heard.append)

    def finish(self, most: int = 1 << 30) -> int:
        """How many have been compared."""
        done = 0
        while self.begun and done < most:
            verify, over = self.begun.pop(0)
            over(verify())
            done += 1
        return done

    def told(self, user: str | None, password: bytes | None, origin: Origin = UNPROVEN) -> Outcome:
        self.ask(user, password, origin)
        self.finish()
        return self.heard.pop()


@pytest.fixture
def world(clock: FakeClock) -> World:
    return World(clock, ("alice", "secret"), ("bob", "hunter2"))


# Passwords --------------------------------------------------------------------------------------------


def test_password_is_compared_elsewhere(world: World) -> None:
    assert world.ask("alice", b"secret") is not None
    assert (world.heard, len(world.begun)) == ([], 1)
    world.finish()
    assert world.heard == ["alice"]
    assert world.authenticator.counts == {"ok": 1}


def test_who_is_wrong_and_who_is_unknown_take_the_same_way(world: World) -> None:
    """One comparison each; the outcomes differ for us, and both are counted."""
    for user, password, outcome in (("alice", b"Secret", WRONG), ("carol", b"secret", UNKNOWN)):
        assert world.ask(user, password) is not None
        assert len(world.begun) == 1
        world.finish()
        assert world.heard.pop() is outcome
    # Nor does the password of the decoy let anybody in.
    assert world.told("carol", b"hunter2") is UNKNOWN
    assert world.told("carol", b"secret") is UNKNOWN
    assert world.authenticator.counts == {"wrong": 1, "unknown": 3}


def test_who_says_no_password_or_nothing(world: World) -> None:
    assert world.told("alice", None) is UNKNOWN
    assert world.told(None, b"secret") is UNKNOWN
    assert world.told("", b"secret") is UNKNOWN
    assert world.told(None, None) is NOTHING
    assert world.told("", None) is NOTHING
    assert world.told("alice", b"") is WRONG
    assert world.begun == []


def test_password_of_any_length_that_anybody_has(clock: FakeClock) -> None:
    longest = "x" * LONGEST_PASSWORD
    world = World(clock, ("alice", longest), ("bob", longest + "x"))
    assert world.told("alice", longest.encode()) == "alice"
    for name in ("alice", "bob", "carol"):
        assert world.ask(name, longest.encode() + b"x") is None
        assert world.heard.pop() is UNKNOWN


def test_empty_file_knows_nobody(clock: FakeClock) -> None:
    world = World(clock)
    assert world.told("alice", b"secret") is UNKNOWN


def test_password_is_remembered_for_a_while(world: World, clock: FakeClock) -> None:
    assert world.told("alice", b"secret") == "alice"
    clock.advance(REMEMBERED - 1)
    assert world.ask("alice", b"secret") is None
    assert world.heard == ["alice"]
    # What is remembered is a name with its password, and nothing else.
    for user, password in (("alice", b"secre"), ("bob", b"secret"), ("alices", b"ecret")):
        assert world.ask(user, password) is not None
        world.finish()
        assert isinstance(world.heard.pop(), Refusal)
    clock.advance(1)
    assert world.ask("alice", b"secret") is not None


def test_name_and_password_are_not_one_text(clock: FakeClock) -> None:
    world = World(clock, ("a", "bc"), ("ab", "x"))
    assert world.told("a", b"bc") == "a"
    assert world.told("ab", b"c") is WRONG


def test_failures_are_not_remembered(world: World) -> None:
    for _ in range(2):
        assert world.ask("alice", b"wrong") is not None
        world.finish()
    assert world.heard == [WRONG, WRONG]
    assert world.authenticator.counts == {"wrong": 2}


def test_only_so_many_are_remembered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_REMEMBERED == 10_000
    monkeypatch.setattr(authentication, "MOST_REMEMBERED", 1)
    for user, password in (("alice", b"secret"), ("bob", b"hunter2")):
        assert world.told(user, password) == user
    assert world.ask("bob", b"hunter2") is None
    assert world.ask("alice", b"secret") is not None


def test_who_comes_again_is_remembered_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "MOST_REMEMBERED", 2)
    for name in ("first", "second", "first", "third"):
        world.roll.remember(name, b"x")
    assert [world.roll.remembers(name, b"x") for name in ("first", "second", "third")] == [True, False, True]


def test_who_is_gone_costs_nothing_more(world: World) -> None:
    comparisons = [world.ask("alice", b"secret") for _ in range(AT_ONCE + 3)]
    for comparison in comparisons[AT_ONCE:-1]:
        assert comparison is not None
        comparison.cancel()
    begun = comparisons[0]
    assert begun is not None
    begun.cancel()
    assert world.finish() == AT_ONCE + 1
    assert world.heard == ["alice"] * AT_ONCE
    begun.cancel()


def test_too_many_are_told_so(world: World) -> None:
    waiting = [world.ask("alice", b"wrong") for _ in range(AT_ONCE + MOST_WAITING)]
    assert len(world.begun) == AT_ONCE
    assert world.ask("alice", b"secret") is None
    assert world.ask("carol", b"secret") is None
    assert world.heard == [BUSY, BUSY]
    last = waiting[-1]
    assert last is not None
    last.cancel()
    assert world.ask("alice", b"secret") is not None
    assert world.ask("alice", b"secret") is None
    assert world.finish() == AT_ONCE + MOST_WAITING
    assert world.heard[-1] == "alice"
    assert world.authenticator.counts == {"busy": 3, "wrong": AT_ONCE + MOST_WAITING - 1, "ok": 1}


def test_no_more_than_a_few_at_a_time(world: World) -> None:
    for _ in range(10):
        world.ask("alice", b"wrong")
    while len(world.heard) < 10:
        assert len(world.begun) <= AT_ONCE
        world.finish(1)


def test_secrets_are_not_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = world.ask("bob", b"hunter2")
    assert comparison is not None
    shown = repr((comparison, comparison.verify, world.begun, world.roll, world.roll.users, world.authenticator))
    assert "hunter2" not in shown
    assert "$6$" not in shown

    def fail(*_: object) -> bool:
        raise MemoryError

    monkeypatch.setattr(authentication, "fits", fail)
    with pytest.raises(MemoryError) as caught:
        comparison.verify()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_in_threads(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        world.hashing = Hashing(threads(loop))
        authenticator = world.of(by_password(world.roll))
        here, seen = threading.get_ident(), set()
        genuine = passwords.fits

        def fits(hashed: str, password: bytes) -> bool:
            seen.add(threading.get_ident())
            if password == b"fault":
                raise MemoryError
            return genuine(hashed, password)

        monkeypatch.setattr(authentication, "fits", fits)
        heard: asyncio.Queue[tuple[str, Outcome, int]] = asyncio.Queue()
        said = [("alice", "secret"), ("alice", "fault"), ("bob", "secret"), ("bob", "hunter2"), ("eve", "secret")]
        for name, password in said:

            def done(outcome: Outcome, password: str = f"{name}:{password}") -> None:
                heard.put_nowait((password, outcome, threading.get_ident()))

            assert authenticator.identify(name, password.encode(), UNPROVEN, done) is not None
        found = [await heard.get() for _ in said]
        assert {said: outcome for said, outcome, _ in found} == {
            "alice:secret": "alice",
            "alice:fault": WRONG,
            "bob:secret": WRONG,
            "bob:hunter2": "bob",
            "eve:secret": UNKNOWN,
        }
        assert {thread for _, _, thread in found} == {here}
        assert here not in seen
        assert len(seen) <= AT_ONCE

    run(scenario())


# Tokens, certificates, nobody -------------------------------------------------------------------------


def test_token_in_the_password(world: World, clock: FakeClock) -> None:
    world.authenticator = world.of(world.tokens())
    good = token(sub="dev-7", exp=clock.wall() + 10)
    assert world.told(None, good) == "dev-7"
    assert world.told("", good) == "dev-7"
    assert world.told("dev-7", good) == "dev-7"
    assert world.told("admin", good) is WRONG
    assert world.told("dev-7", good[:-1]) is WRONG
    assert world.told(None, b"no token") is UNKNOWN
    clock.advance(10)
    assert world.told(None, good) is WRONG


def test_issuers_have_entries_of_their_own(world: World) -> None:
    world.authenticator = world.of(world.tokens(issuer="a"), world.tokens(issuer="b", user="name"))
    assert world.told(None, token(iss="a", sub="x", name="y")) == "x"
    assert world.told(None, token(iss="b", sub="x", name="y")) == "y"
    assert world.told(None, token(iss="a", name="y")) is WRONG
    assert world.told(None, token(iss="c", sub="x")) is UNKNOWN
    assert world.told(None, token(sub="x")) is UNKNOWN
    assert world.told(None, b"e30.~.") is UNKNOWN


def test_certificate_is_the_user_name(world: World) -> None:
    world.authenticator = world.of(by_identity)
    for user in (None, "", "shop/books"):
        assert world.told(user, b"whatever", proven("shop/books")) == "shop/books"
    assert world.told("shop/admin", None, proven("shop/books")) is WRONG
    assert world.told("shop/books", b"x", proven("")) is UNKNOWN
    assert world.told("shop/books", b"x") is UNKNOWN
    assert world.told(None, None) is NOTHING
    assert world.told(None, None, proven("a\x00b")) is NOTHING
    world.authenticator = world.of(by_common_name)
    assert world.told(None, None, proven("books.shop", "press-7")) == "press-7"
    assert world.told("books.shop", None, proven("books.shop", "press-7")) is WRONG
    assert world.told(None, None, proven("books.shop", "")) is NOTHING
    assert world.told("press-7", None) is UNKNOWN


def test_anonymous_says_nothing(world: World) -> None:
    world.authenticator = world.of(as_anybody("guest"))
    assert world.told(None, None) == "guest"
    assert world.told("", None) == "guest"
    assert world.told("guest", None) is UNKNOWN
    assert world.told("alice", b"x") is UNKNOWN
    assert world.told(None, b"") is UNKNOWN


def test_the_first_that_knows_decides(world: World) -> None:
    world.authenticator = world.of(by_password(world.roll), world.tokens(), by_identity, as_anybody("guest"))
    certificate = proven("shop/books")
    assert world.told("alice", b"secret", certificate) == "alice"
    assert world.told("alice", token(sub="alice"), certificate) is WRONG
    assert world.told("carol", token(sub="carol"), certificate) == "carol"
    assert world.told("carol", token(sub="alice"), certificate) is WRONG
    # alice is known with a password only
    assert world.told("alice", None, certificate) is WRONG
    assert world.told("alice", None) is UNKNOWN
    assert world.told("shop/books", b"x", certificate) == "shop/books"
    assert world.told(None, None, certificate) == "shop/books"
    assert world.told(None, None) == "guest"
