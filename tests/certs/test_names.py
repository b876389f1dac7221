"""What may be a name in a certificate, and what is said of what may not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshproxy.certs.names import address, common_name, domain_of, host, identity, spiffe, trust_domain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shop/books", "spiffe://cluster.local/ns/shop/sa/books"),
        ("a/b.c-d.e", "spiffe://cluster.local/ns/a/sa/b.c-d.e"),
        ("spiffe://other.example/any/Path_1", "spiffe://other.example/any/Path_1"),
    ],
)
def test_an_identity_stands_for_a_spiffe_id(text: str, expected: str) -> None:
    assert identity(text) == text
    assert spiffe(text, "cluster.local") == expected


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (identity, "books", "namespace/account"),
        (identity, "", "namespace/account"),
        (identity, "shop/", "namespace/account"),
        (identity, "/books", "namespace/account"),
        (identity, "shop/books/more", "namespace/account"),
        (identity, "Shop/books", "namespace/account"),
        (identity, "shop/bo oks", "namespace/account"),
        (identity, "shop.a/books", "namespace/account"),
        (identity, "-shop/books", "namespace/account"),
        (identity, "shop/books.", "namespace/account"),
        (identity, "shop/books\n", "namespace/account"),
        (identity, "a" * 64 + "/books", "namespace/account"),
        (identity, "shop/" + ".".join(["a" * 60] * 5), "namespace/account"),
        (identity, "https://cluster.local/ns/shop", "namespace/account"),
        (identity, "spiffe://cluster.local", "path"),
        (identity, "spiffe://cluster.local/", "path"),
        (identity, "spiffe://cluster.local/a//b", "path"),
        (identity, "spiffe://cluster.local/a/../b", "path"),
        (identity, "spiffe://cluster.local/a%20b", "path"),
        (identity, "spiffe://cluster.local/a?b", "path"),
        (identity, "spiffe://cluster.local/a\n", "path"),
        (identity, "spiffe:///a", "trust domain"),
        (identity, "spiffe://Cluster.local/a", "trust domain"),
        (identity, "spiffe://host:1/a", "trust domain"),
        (identity, "spiffe://user@host/a", "trust domain"),
        (identity, "spiffe://a/" + "b" * 2048, "at most 2048"),
        (domain_of, "https://a/b", "begins with spiffe://"),
        (trust_domain, "", "trust domain"),
        (trust_domain, "Shop", "trust domain"),
        (trust_domain, "a/b", "trust domain"),
        (trust_domain, "a" * 256, "trust domain"),
        (host, "", "1 to 63"),
        (host, "a..b", "1 to 63"),
        (host, "a_b.c", "no _"),
        (host, "a.b.", "no final dot"),
        (host, "*", "letters"),
        (host, "*.", "1 to 63"),
        (host, "*.local", "at least two labels"),
        (host, "a.*.b.c", "letters"),
        (host, "*.*.b.c", "letters"),
        (host, "bücher.shop", "xn--"),
        (host, "127.0.0.1", "ends in a number"),
        (host, "-a.b", "letters"),
        (host, ".".join(["a" * 60] * 5), "longer than"),
        (address, "books", "an IP address"),
        (address, "127.0.0.1/8", "an IP address"),
        (address, "127.1", "an IP address"),
        (address, "fe80::1%eth0", "without the interface"),
        (common_name, "", "1 to 64"),
        (common_name, " ", "1 to 64"),
        (common_name, "a\nb", "1 to 64"),
        (common_name, "a" * 65, "1 to 64"),
    ],
)
def test_what_is_no_name_is_refused_with_what_it_should_be(
    read: Callable[[str], object], text: str, words: str
) -> None:
    with pytest.raises(ValueError) as refused:
        read(text)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 300


def test_host_names_are_written_small() -> None:
    assert host("Books.Shop") == "books.shop"
    assert host("*.books.shop") == "*.books.shop"
    assert str(address("0:0::1")) == "::1"
    assert common_name("Bücher CA") == "Bücher CA"
