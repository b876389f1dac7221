"""Files of users: what `mosquitto_passwd` writes is read, and what is wrong is told without a word of it."""

from __future__ import annotations

import shutil
import subprocess
from base64 import b64encode
from hashlib import pbkdf2_hmac, sha512
from pathlib import Path

import pytest

from meshproxy.core import passwords
from meshproxy.core.papers import Unusable
from meshproxy.core.passwords import MOST_ITERATIONS, Users, fits, read_users
from meshproxy.net.clock import at_once

SALT = b"0123456789ab"


def shown(data: bytes) -> str:
    return b64encode(data).decode()


def hashed(password: str, iterations: int = 3, salt: bytes = SALT) -> str:
    return f"$7${iterations}${shown(salt)}${shown(pbkdf2_hmac('sha512', password.encode(), salt, iterations))}"


def once(password: str) -> str:
    return f"$6${shown(SALT)}${shown(sha512(password.encode() + SALT).digest())}"


def read(text: str) -> Users:
    return at_once(read_users(text))


def test_both_kinds_of_hashes() -> None:
    users = read(f"# those of the plant\nalice:{hashed('secret')}\n\nbob:{once('hunter2')}\r\ndörte 1:{hashed('ü')}")
    assert list(users.hashed) == ["alice", "bob", "dörte 1"]
    assert fits(users.hashed["alice"], b"secret")
    assert fits(users.hashed["bob"], b"hunter2")
    assert fits(users.hashed["dörte 1"], "ü".encode())
    for wrong in (b"", b"secret ", b"hunter2\0", b"SECRET"):
        assert not fits(users.hashed["alice"], wrong)
        assert not fits(users.hashed["bob"], wrong)


def test_salt_of_any_length_counts() -> None:
    for length in (1, 2, 3, 12, 64):
        assert fits(hashed("x", salt=b"s" * length), b"x")
        assert not fits(hashed("x", salt=b"s" * length), b"y")


def test_decoy_is_the_slowest_one() -> None:
    users = read(f"a:{once('a')}\nb:{hashed('b', 7)}\nc:{hashed('c', 5)}\n")
    assert (users.decoy, users.iterations) == (users.hashed["b"], 7)
    assert (read("").decoy, read("").iterations) == (None, 0)
    assert read(f"a:{once('a')}").decoy == once("a")


DIGEST = shown(bytes(64))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("x:hunter2", "not `name"),
        ("hunter2", "not `name"),
        ("x:", "not `name"),
        (f"x:$5$AAAA${DIGEST}", "not `name"),
        (f"x:$argon2id$AAAA${DIGEST}", "not `name"),
        (f"x:$6$${DIGEST}", "not `name"),
        (f"x:$6$AAA${DIGEST}", "not `name"),
        (f"x:$6${'AAAA' * 65}${DIGEST}", "not `name"),
        (f"x:$6$AAAA${DIGEST[:-4]}", "not `name"),
        (f"x:$6$AAAA${DIGEST}AAAA", "not `name"),
        (f"x:$6$AAAA${DIGEST} ", "not `name"),
        (f"x:$7$0$AAAA${DIGEST}", "not `name"),
        (f"x:$7$-1$AAAA${DIGEST}", "not `name"),
        (f"x:$7$٣$AAAA${DIGEST}", "not `name"),
        (f"x:$7$AAAA${DIGEST}", "not `name"),
        (f"x:$7$999999999$AAAA${DIGEST}", "not `name"),
        (f"x:$7${MOST_ITERATIONS + 1}$AAAA${DIGEST}", "more than 10000000 iterations"),
        (f":{once('x')}", "the name"),
        (f"{'x' * 1025}:{once('x')}", "the name"),
        (f"x\0:{once('x')}", "the name"),
        (f"\udcff:{once('x')}", "the name"),
        (f"known:{once('x')}", "a name that is there already"),
    ],
)
def test_what_is_wrong_is_told_by_its_line_and_no_more(line: str, why: str) -> None:
    with pytest.raises(Unusable) as caught:
        read(f"known:{once('x')}\n{line}\nbeyond:{once('x')}\n")
    assert str(caught.value).startswith(f"line 2: {why}")
    assert "hunter2" not in str(caught.value)
    assert DIGEST not in str(caught.value)


def test_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MOST_USERS", 2)
    lines = [f"{name}:{once('x')}" for name in "abc"]
    assert len(read("\n".join(lines[:2])).hashed) == 2
    with pytest.raises(Unusable, match="line 3: more than 2 users"):
        read("\n".join(lines))
    with pytest.raises(Unusable, match="more than 200000 lines"):
        read("\n" * 200_001)


def test_a_long_file_is_read_in_slices() -> None:
    text = f"name:{hashed('x')}\n" + "# nobody\n" * 2000
    assert sum(1 for _ in read_users(text)) == 4


def test_hashes_are_not_shown() -> None:
    assert "$6$" not in repr(read(f"a:{once('x')}"))


@pytest.mark.skipif(shutil.which("mosquitto_passwd") is None, reason="mosquitto_passwd is not installed")
def test_file_of_mosquitto_passwd(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.touch()
    said = [("alice", "secret", ()), ("bob", "with spaces: and $", ("-H", "sha512")), ("dörte", "ü", ())]
    for name, password, options in said:
        subprocess.run(["mosquitto_passwd", *options, "-b", path, name, password], check=True, capture_output=True)
    users = read(path.read_text())
    assert {value[:3] for value in users.hashed.values()} == {"$6$", "$7$"}
    for name, password, _ in said:
        assert fits(users.hashed[name], password.encode())
        assert not fits(users.hashed[name], password.encode() + b"!")
