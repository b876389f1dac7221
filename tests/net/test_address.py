"""What is told by the two addresses of a connection."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from meshproxy.net.address import is_near


class Played:
    def __init__(self, peer: Any, local: Any) -> None:
        self.family = socket.AF_INET6 if ":" in local else socket.AF_INET
        self._peer, self._local = peer, local

    def getpeername(self) -> Any:
        if isinstance(self._peer, OSError):
            raise self._peer
        return self._peer, 40000

    def getsockname(self) -> Any:
        return self._local, 15000


@pytest.mark.parametrize(
    ("peer", "local", "near"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("10.1.0.9", "10.1.0.7", False),
        ("10.1.0.7", "10.1.0.7", False),
        # What a proxy brings to the address of the pod, `source: 127.0.0.6`, has come from elsewhere.
        ("127.0.0.6", "10.1.0.7", False),
        (OSError(), "127.0.0.1", False),
    ],
)
def test_a_connection_is_near_if_both_of_its_ends_are(peer: Any, local: str, near: bool) -> None:
    played: Any = Played(peer, local)
    assert is_near(played) is near
