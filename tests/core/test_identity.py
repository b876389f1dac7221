"""What a client may not say of itself."""

from __future__ import annotations

from meshproxy.core.identity import CLAIMS
from meshproxy.wire.h1.body import FORBIDDEN_TRAILERS


def test_what_is_not_believed_in_a_head_is_not_believed_behind_a_body_either() -> None:
    assert CLAIMS <= FORBIDDEN_TRAILERS
