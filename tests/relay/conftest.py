"""What several tests of relays have."""

from __future__ import annotations

import pytest

from tests.pki import Ca, Pair, Pki


@pytest.fixture
def ca(pki: Pki) -> Ca:
    return pki.ca()


@pytest.fixture
def books(ca: Ca) -> Pair:
    return ca.issue("shop/books", dns=["books.shop"])
