"""A list `authenticate` with its files, compiled: what of it lives on over a reload, and what is told of bad files."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha512
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meshproxy.cli import papers as looking
from meshproxy.core.jwk import bytes_of
from meshproxy.core.table import Table
from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, decode
from meshproxy.model.authenticate import Credential
from meshproxy.model.papers import Use, of_credentials
from meshproxy.net.clock import at_once
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.plan import authenticate
from meshproxy.plan.authenticate import authenticator
from meshproxy.plan.rim import Rim
from meshproxy.relay.mqtt.authentication import Authenticator, Outcome, Refusal
from meshproxy.relay.origin import Origin
from meshproxy.server import papers
from meshproxy.sources.papers import read
from tests.conftest import FakeClock

AT = ("mqtt", "plant", "authenticate")
PLAIN = Origin(None, None)


def line(name: str, password: str) -> str:
    digest = b64encode(sha512(password.encode() + b"abc").digest()).decode()
    return f"{name}:$6$YWJj${digest}\n"


USERS = line("alice", "secret") + line("dörte", "ü")


def entries(*said: dict[str, Any]) -> tuple[Credential, ...]:
    return tuple(decode(Credential, each) for each in said)


class World:
    def __init__(self, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.table = Table()
        self.compared = 0
        self.texts: dict[str, str] = {}
        self.rim = cast(Rim, SimpleNamespace(loop=None, clock=clock, papers=self.texts))
        monkeypatch.setattr(authenticate, "threads", lambda _: self._run)

    def _run(self, verify: Callable[[], bool], over: Callable[[bool], None]) -> None:
        self.compared += 1
        over(verify())

    def take(self, *said: dict[str, Any]) -> Authenticator:
        claims = self.table.begin()
        try:
            found = at_once(authenticator(entries(*said), "plant", AT, claims, self.rim))
        except Invalid:
            claims.abort()
            raise
        at_once(claims.commit(0))
        assert found is not None
        return found


@pytest.fixture
def world(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(clock, monkeypatch)


def told(who: Authenticator, user: str | None, password: bytes | None) -> Outcome:
    heard: list[Outcome] = []
    who.identify(user, password, PLAIN, heard.append)
    return heard.pop()


def test_where_nothing_is_said_everybody_is_let_in(world: World) -> None:
    assert at_once(authenticator(None, "plant", AT, world.table.begin(), world.rim)) is None


def test_all_kinds(world: World) -> None:
    world.texts |= {"users": USERS, "secret": "x" * 32}
    who = world.take(
        {"users": "users"},
        {"jwt": {"keys": "secret", "algorithms": ["HS256"]}},
        {"certificate": "identity"},
        {"anonymous": "guest"},
    )
    assert told(who, "alice", b"secret") == "alice"
    assert told(who, "dörte", "ü".encode()) == "dörte"
    assert told(who, "alice", b"x") is Refusal.WRONG
    assert told(who, None, b"e30.e30.AA") is Refusal.WRONG
    assert told(who, "carol", b"x") is Refusal.UNKNOWN
    assert told(who, None, None) == "guest"


def test_the_slowest_of_all_files_is_the_decoy(world: World) -> None:
    slow = f"bob:$7$2$AAAA${b64encode(bytes(64)).decode()}\n"
    world.texts |= {"users": USERS, "more": slow, "none": ""}
    who = world.take({"users": "users"}, {"users": "none"}, {"users": "more"})
    assert who._decoy == slow.partition(":")[2].strip()
    assert world.take({"users": "none"})._decoy is None
    assert world.take({"users": "none"}, {"users": "users"})._decoy is not None


def test_what_was_proved_lives_on_as_long_as_the_file_is_the_same(world: World) -> None:
    world.texts["users"] = USERS
    who = world.take({"users": "users"})
    told(who, "alice", b"secret")
    again = world.take({"users": "users"}, {"anonymous": "guest"})
    assert told(again, "alice", b"secret") == "alice"
    assert world.compared == 1
    assert again.counts == {"ok": 2}
    world.texts["users"] = USERS.replace(line("alice", "secret"), line("alice", "changed"))
    changed = world.take({"users": "users"})
    assert told(changed, "alice", b"secret") is Refusal.WRONG
    assert told(changed, "alice", b"changed") == "alice"
    assert world.compared == 3


@pytest.mark.parametrize(
    ("entry", "text", "problem"),
    [
        (
            {"users": "file"},
            "x:hunter2",
            "mqtt.plant.authenticate[0].users: `users` file line 1: not `name:$7$…` or `name:$6$…`, as "
            "`mosquitto_passwd` writes it",
        ),
        (
            {"jwt": {"keys": "file", "algorithms": ["HS256"]}},
            "short\n",
            "mqtt.plant.authenticate[0].jwt.keys: `keys` file holds a secret of 5 bytes, which must have 32 or more "
            "for HS256",
        ),
    ],
)
def test_bad_files(
    world: World, entry: dict[str, Any], text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.texts["file"] = text
    with pytest.raises(Invalid) as caught:
        world.take(entry)
    assert str(caught.value) == problem
    # As `check --files` says it too
    monkeypatch.chdir(tmp_path)
    Path("file").write_text(text)
    monkeypatch.setattr(looking, "uses", lambda _: of_credentials("plant", AT, entries(entry)))
    found, _ = looking.look([Document("a", Config(), frozenset(), lambda _: None)], 0.0)
    assert list(map(str, found)) == [f"a: {problem}"]


# Their files ------------------------------------------------------------------------------------------


def test_nothing_of_a_file_is_lost(tmp_path: Path) -> None:
    secret = bytes(range(256))
    (tmp_path / "secret").write_bytes(secret)
    (tmp_path / "users").write_text(USERS)
    said = entries(
        {"jwt": {"keys": str(tmp_path / "secret"), "algorithms": ["HS256"]}}, {"users": str(tmp_path / "users")}
    )
    faults: list[str] = []
    texts = read(of_credentials("plant", AT, said), lambda use, words: faults.append(words))
    assert faults == []
    assert bytes_of(texts[str(tmp_path / "secret")]) == secret
    assert texts[str(tmp_path / "users")] == USERS


def test_users_may_be_many(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"#" * ((1 << 20) + 1))
    users, keys = entries({"users": str(path)}, {"jwt": {"keys": str(path), "algorithms": ["HS256"]}})
    faults: list[str] = []

    def fault(use: Use, words: str) -> None:
        faults.append(words)

    assert list(read(of_credentials("plant", AT, (users,)), fault)) == [str(path)]
    assert list(read(of_credentials("plant", AT, (keys,)), fault)) == []
    assert faults == ["has more than 1 MiB"]


def test_other_users_are_told_of(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, run: Callable[[Any], None]
) -> None:
    path, logged, process = tmp_path / "users", list[str](), ProcessStats("test")
    said = entries({"users": str(path)})
    monkeypatch.setattr(papers, "uses", lambda _: of_credentials("plant", AT, said))

    async def scenario() -> None:
        held = papers.Papers(clock, process, Log(logged.append, clock=clock.wall))
        for text in (USERS, USERS, USERS + line("bob", "hunter2")):
            path.write_text(text)
            await held.prepare(Config())
            held.commit()
        assert held.known == {str(path): text}
        assert process.certificate_renewals["ok"] == 0
        assert [entry for entry in logged if "credentials-renewed" in entry] == logged
        assert len(logged) == 1
        assert "hunter2" not in repr(held.in_force)
        path.write_text(USERS + line("carol", "x"))
        assert not await held.changed({})
        assert await held.changed({})

    run(scenario())
