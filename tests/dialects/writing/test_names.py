"""Who and what is meant by names as a mesh gives them."""

from __future__ import annotations

import pytest

from meshproxy.dialects.writing.names import (
    Names,
    account_of,
    service_of_cluster,
    service_of_host,
    service_of_hosts,
)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("books", ("shop", "books")),
        ("books:80", ("shop", "books")),
        ("books.other", ("other", "books")),
        ("books.other.svc", ("other", "books")),
        ("books.other.svc.cluster.local:8080", ("other", "books")),
        ("books.example.com", None),
        ("*.shop", None),
        ("10.0.0.1", None),
    ],
)
def test_hosts(host: str, expected: tuple[str, str] | None) -> None:
    assert service_of_host(host, "shop") == expected


def test_several_hosts_mean_one_service_or_none() -> None:
    assert service_of_hosts(["books", "books.shop:80"], "shop") == ("shop", "books")
    assert service_of_hosts(["books", "books.other"], "shop") is None
    assert service_of_hosts([], "shop") is None


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ("books", ("shop", "books")),
        ("other/books", ("other", "books")),
        ("other/books|14001", ("other", "books")),
        ("other/books|14001|local", ("other", "books")),
        ("a/b/c", None),
        ("Books_1", None),
    ],
)
def test_clusters(cluster: str, expected: tuple[str, str] | None) -> None:
    assert service_of_cluster(cluster, "shop") == expected


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("shop/books", ("shop", "books")),
        ("spiffe://cluster.local/ns/shop/sa/books", ("shop", "books")),
        ("books.shop.cluster.local", ("shop", "books")),
        ("my.books.shop.cluster.local", ("shop", "my.books")),
        ("spiffe://other.local/ns/shop/sa/books", None),
        ("books.shop.other.local", None),
        ("shop/*", None),
        ("*", None),
        ("spiffe://cluster.local/ns/shop/*", None),
    ],
)
def test_accounts(identity: str, expected: tuple[str, str] | None) -> None:
    assert account_of(identity, "cluster.local") == expected


def test_a_name_is_given_once_to_a_kind() -> None:
    names = Names()
    assert [names.new("A", "web/0"), names.new("A", "Web_0"), names.new("B", "web/0")] == ["web-0", "web-0-2", "web-0"]
    assert (names.new("A", "!"), len(names.new("A", "x" * 300))) == ("unnamed", 245)
