"""Resources of SMI are read strictly: who writes them means something by every key."""

from __future__ import annotations

from typing import ClassVar


class Strict:
    """Part of a resource of SMI: null is absent, and a key that is not known is a problem."""

    __slots__ = ()
    FOREIGN: ClassVar[bool] = True
