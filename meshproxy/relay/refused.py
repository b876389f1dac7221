"""Whose stream of HTTP/2 it is that is answered before it has become an exchange: nobody's."""

from __future__ import annotations

from meshproxy.wire.h2 import Block


class Refused:
    """Satisfies `wire.h2.User`."""

    def headed(self, block: Block, last: bool) -> None:
        """Nobody asks."""

    def taken(self, data: bytes, last: bool) -> None:
        """Nobody takes it."""

    def trailed(self, block: Block) -> None:
        """Nor these."""

    def reset(self, code: int) -> None:
        """It is over."""

    def refused(self) -> None:
        """So it is."""

    def hold(self) -> None:
        """There is no more."""

    def release(self) -> None:
        """That was all."""


REFUSED = Refused()
