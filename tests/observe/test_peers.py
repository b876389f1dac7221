"""What is remembered of other proxies: not more than fits, and only told with the edges of whom it is."""

from __future__ import annotations

from meshproxy.observe.peers import MOST_KEPT, Peers

BOOKS = {"service": "books"}


def of(source: str = "", cluster: str = "", endpoint: str = "") -> tuple[str, ...]:
    return "in", cluster, source, endpoint


def test_it_is_told_of_the_ends_of_edges_and_nobody_else() -> None:
    peers = Peers()
    assert peers.among([of("web")]) == {}
    peers.came("web", {"service": "web"})
    peers.came("elsewhere", {"service": "elsewhere"})
    peers.reached("books", "10.0.0.1:80", BOOKS)
    assert peers.among([of("web", "books", "10.0.0.1:80"), of("10.0.0.1:80", "web", "web")]) == {
        "source:web": {"service": "web"},
        "endpoint:books/10.0.0.1:80": BOOKS,
    }
    peers.forget()
    assert peers.among([of("web", "books", "10.0.0.1:80")]) == {}


def test_the_last_word_counts_and_who_has_not_said_anything_for_longest_is_forgotten() -> None:
    peers = Peers()
    peers.reached("books", "10.0.0.1:80", BOOKS)
    for number in range(MOST_KEPT):
        peers.came(f"web-{number}", {"service": "web", "version": "v1"})
    peers.came("web-0", {"service": "web", "version": "v2"})
    peers.came("one more", {"service": "web"})
    found = peers.among([of(f"web-{number}", "books", "10.0.0.1:80") for number in range(MOST_KEPT)])
    assert len(found) == MOST_KEPT
    assert found["source:web-0"]["version"] == "v2"
    assert "source:web-1" not in found
    assert found["endpoint:books/10.0.0.1:80"] == BOOKS, "clients do not push endpoints out"
