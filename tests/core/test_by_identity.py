"""Whom an entry names, and what it costs to ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.core.by_identity import MOST_REMEMBERED, ByIdentity

DOMAIN = "cluster.local"


def named(whom: str, identity: str) -> bool:
    return bool(ByIdentity([((whom,), None)], DOMAIN)[identity])


SHOP = "spiffe://cluster.local/ns/shop"


@pytest.mark.parametrize(
    ("whom", "those", "others"),
    [
        (
            "shop/web", [f"{SHOP}/sa/web"],
            [f"{SHOP}/sa/web2", f"{SHOP}/sa/we", f"{SHOP}/sa/web/x", f"{SHOP}/sa/Web",
             "spiffe://other.local/ns/shop/sa/web", "shop/web"],
        ),
        (
            "shop/*", [f"{SHOP}/sa/web", f"{SHOP}/sa/web/x"],
            [f"{SHOP}/sa", f"{SHOP}/sa/", "spiffe://cluster.local/ns/shop2/sa/a", f"{SHOP}/other/web", "shop/web",
             f"{SHOP}/sa/../../admin/sa/x"],
        ),
        (
            "spiffe://a.b/*", ["spiffe://a.b/x", "spiffe://a.b/x/y"],
            ["spiffe://a.b", "spiffe://a.b.c/x", "spiffe://a.b/", "spiffe://a.b//x", "spiffe://a.b/./x", "http://a.b/x"],
        ),
        ("spiffe://a.b/x", ["spiffe://a.b/x"], ["SPIFFE://a.b/x", "spiffe://a.b/X", "spiffe://a.b/x/"]),
        ("Web.shop", ["web.shop", "WEB.shop"], ["a.web.shop", "web.shop.", "xweb.shop"]),
        (
            "*.shop", ["a.shop", "a.b.Shop"],
            ["shop", ".shop", "a..shop", "ashop", "a.shop.x", "spiffe://a.shop", "x/a.shop"],
        ),
        ("*", [SHOP, "a", "*", "spiffe://a//"], []),
        ("a", [], ["*", "b"]),
    ],
)  # fmt: skip
def test_whom_it_means(whom: str, those: list[str], others: list[str]) -> None:
    assert [each for each in (*those, *others) if named(whom, each)] == those
    assert not named(whom, "")


PARTS = st.sampled_from(("a", "b", "ab", "A", "sa", "ns"))
IDS = st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: f"spiffe://{'/'.join(parts)}")
HOSTS = st.lists(PARTS, min_size=1, max_size=4).map(".".join)
WHOM = st.one_of(
    IDS, IDS.map("{}/*".format), HOSTS, HOSTS.map("*.{}".format), st.just("*"), st.sampled_from(("a/b", "a/*", "b/a"))
)
IDENTITIES = st.one_of(IDS, HOSTS, st.sampled_from(("", "*", "spiffe://a/ns/a/sa/b", "spiffe://a/ns/a/sa/b/a", "a/b")))


def means(whom: str, identity: str) -> bool:
    """As the documentation says it."""
    if not identity or whom == "*":
        return bool(identity)
    if "/" in whom and "://" not in whom:
        namespace, account = whom.split("/")
        whom = f"spiffe://a/ns/{namespace}/sa/{account}"
    if whom.startswith("spiffe://"):
        if whom.endswith("/*"):
            return identity.startswith(whom[:-1]) and len(identity) > len(whom) - 1
        return identity == whom
    if "/" in identity:
        return False
    if whom.startswith("*."):
        return identity.lower().endswith(whom[1:].lower()) and len(identity) > len(whom) - 1
    return identity.lower() == whom.lower()


@given(st.lists(st.lists(WHOM, min_size=1, max_size=3), max_size=6), st.lists(IDENTITIES, max_size=4))
def test_it_finds_what_all_entries_one_after_the_other_say(said: list[list[str]], identities: list[str]) -> None:
    by_identity = ByIdentity([(whom, place) for place, whom in enumerate(said)], "a")
    for identity in (*identities, *identities):
        assert by_identity[identity] == tuple(
            place for place, whom in enumerate(said) if any(means(each, identity) for each in whom)
        )


def test_who_comes_again_is_one_look_up_and_only_so_many_are_remembered() -> None:
    by_identity = ByIdentity([(("*",), 1)], DOMAIN)
    assert by_identity["a"] is by_identity["a"]
    for number in range(3 * MOST_REMEMBERED):
        assert by_identity[f"{number}.local"] == (1,)
        assert len(by_identity) <= MOST_REMEMBERED


def test_an_identity_of_a_thousand_parts_is_no_work_of_a_million() -> None:
    by_identity = ByIdentity([((f"spiffe://a{'/x' * 1000}/*",), 1)], DOMAIN)
    assert by_identity["spiffe://a" + "/x" * 1001] == (1,)
    assert by_identity["spiffe://a" + "/x" * 1000] == ()
