"""`resolv.conf` and the hosts file: read as the system reads them, and never without an end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.discovery.dns import Settings, from_texts, settings, system
from meshproxy.discovery.dns.settings import LARGEST_FILE, LOCALHOST, candidates
from meshproxy.model import Address
from meshproxy.wire.dns import name


def servers(*hosts: str) -> tuple[Address, ...]:
    return tuple(Address("ipv6" if ":" in host else "ipv4", host, 53) for host in hosts)


def test_in_a_pod() -> None:
    found = from_texts(
        "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n10.1.2.3\tbooks-0.books.shop.svc\tbooks-0\n",
    )
    assert found == Settings(
        servers("10.96.0.10"),
        tuple(map(name, ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local"))),
        ndots=5,
        hosts={
            "localhost": ("127.0.0.1",),
            "books-0.books.shop.svc": ("10.1.2.3",),
            "books-0": ("10.1.2.3",),
        },
    )


def test_nothing_said() -> None:
    assert from_texts("", "") == Settings(servers("127.0.0.1"), (), 1, 5, 2, LOCALHOST)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nameserver ::1\nnameserver 10.0.0.1", Settings(servers("::1", "10.0.0.1"))),
        ("nameserver fe80::1%eth0", Settings(servers("fe80::1%eth0"))),
        ("nameserver\t 10.0.0.1 # ours", Settings(servers("10.0.0.1"))),
        ("".join(f"nameserver ::{last}\n" for last in range(1, 9)), Settings(servers("::1", "::2", "::3"))),
        ("nameserver dns.example\nnameserver\nnameserver 10.0.0.300", Settings()),
        ("#nameserver 10.0.0.1\n;nameserver 10.0.0.1\nserver 10.0.0.1\nNAMESERVER 10.0.0.1", Settings()),
        ("search a b.\nsearch C.D", Settings(search=((b"c", b"d"),))),
        ("search a\ndomain b", Settings(search=((b"b",),))),
        ("search a\nsearch", Settings()),
        ("search . a -x b:1", Settings(search=((b"a",),))),
        ("search " + " ".join(f"d{n}" for n in range(40)), Settings(search=tuple((b"d%d" % n,) for n in range(32)))),
        ("options ndots:2 timeout:3 rotate attempts:4", Settings(ndots=2, timeout=3, attempts=4)),
        ("options ndots:2\noptions timeout:3", Settings(ndots=2, timeout=3)),
        ("options ndots:99 timeout:" + "9" * 5000 + " attempts:99", Settings(ndots=15, timeout=30, attempts=5)),
        ("options ndots:0 timeout:0 attempts:0", Settings(ndots=0, timeout=1, attempts=1)),
        ("options ndots: timeout:-1 attempts:x ndots:1.5 ndots:²", Settings()),
    ],
)
def test_resolv_conf(text: str, expected: Settings) -> None:
    assert from_texts(text, "") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1 A.b c. # d\n", {"a.b": ("10.0.0.1",), "c": ("10.0.0.1",)}),
        ("10.0.0.1 a\n::0001 a\n10.0.0.2 a", {"a": ("10.0.0.1", "::1", "10.0.0.2")}),
        ("#10.0.0.1 a\n10.0.0 b\nc 10.0.0.1\n10.0.0.1\n\n# \n", {}),
        ("127.0.0.1 localhost", {"localhost": ("127.0.0.1",)}),
    ],
)
def test_hosts(text: str, expected: dict[str, tuple[str, ...]]) -> None:
    assert from_texts("", text).hosts == {**LOCALHOST, **expected}


def test_one_name_in_very_many_lines() -> None:
    """In a time that grows with the lines and not with their square."""
    assert len(from_texts("", "10.0.0.1 a\n" * 90_000).hosts["a"]) == 90_000


@pytest.mark.parametrize(
    ("text", "ndots", "expected"),
    [
        ("books", 1, ["books.shop.local", "books.local", "books"]),
        ("books.", 1, ["books"]),
        ("books.shop", 1, ["books.shop", "books.shop.shop.local", "books.shop.local"]),
        ("books.shop", 2, ["books.shop.shop.local", "books.shop.local", "books.shop"]),
        ("books", 0, ["books", "books.shop.local", "books.local"]),
        ("Books.Shop.", 5, ["books.shop"]),
    ],
)
def test_the_names_that_a_name_may_stand_for(text: str, ndots: int, expected: list[str]) -> None:
    found = candidates(text, Settings(search=(name("shop.local"), name("local")), ndots=ndots))
    assert found == list(map(name, expected))


def test_a_name_that_a_search_domain_would_make_too_long_is_not_asked_for() -> None:
    long = ".".join(["a" * 49] * 5)
    assert candidates(long, Settings(search=(name("shop.local"), name("b")))) == [name(long), (*name(long), b"b")]


@given(st.text(), st.text())
def test_whatever_the_files_say(resolv_conf: str, hosts: str) -> None:
    found = from_texts(resolv_conf, hosts)
    assert 1 <= len(found.servers) <= 3
    assert found.hosts["localhost"]


# The files themselves


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "RESOLV_CONF", tmp_path / "resolv.conf")
    monkeypatch.setattr(settings, "HOSTS", tmp_path / "hosts")
    return tmp_path


def test_the_files_of_the_system(etc: Path) -> None:
    assert system() == Settings()
    (etc / "resolv.conf").write_bytes(b"# \xff\nnameserver 10.0.0.1\n")
    (etc / "hosts").write_text("10.0.0.2 a\n")
    assert system() == Settings(servers("10.0.0.1"), hosts={**LOCALHOST, "a": ("10.0.0.2",)})


def test_a_file_without_an_end_is_refused(etc: Path) -> None:
    (etc / "hosts").write_bytes(b"#" * LARGEST_FILE)
    assert system() == Settings()
    (etc / "hosts").write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(ValueError, match=r"hosts: must have at most 1048576 bytes"):
        system()


def test_a_pipe_in_place_of_a_file_holds_up_nobody(etc: Path) -> None:
    os.mkfifo(etc / "resolv.conf")
    with pytest.raises(OSError, match="Not a regular file"):
        system()
