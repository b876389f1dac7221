"""What several tests of relays have."""

from __future__ import annotations

import pytest

from tests.pki import Ca, Pair, Pki


@pytest.fixture(autouse=True)
def watched_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for the end of a connection that nobody reads waits for as long as it is young."""
    monkeypatch.setattr("meshproxy.net.alarm.YOUTH", 0.05)


@pytest.fixture
def ca(pki: Pki) -> Ca:
    return pki.ca()


@pytest.fixture
def books(ca: Ca) -> Pair:
    return ca.issue("shop/books", dns=["books.shop"])
