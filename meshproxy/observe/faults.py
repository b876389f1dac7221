"""Which answers count as errors: those of 500 and more, and those with a flag that is not the client's own doing.

    is_error(200)             # False
    is_error("200 UC")        # True: it was cut
    is_error("429 RL")        # False: there were too many of them
"""

from __future__ import annotations

from functools import lru_cache

CLIENTS_OWN = frozenset({"AD", "AZ", "DC", "DI", "DPE", "DT", "FC", "NR", "RL"})
"""What the client did, or may not do; and `DI`, a delay on purpose, with which nothing has failed yet."""
SERVER_ERROR = 500


@lru_cache(maxsize=1024)
def is_error(answer: int | str) -> bool:
    """As `AnswerStats.requests` has it for a key: the status, or the status and the flags."""
    status, _, flags = str(answer).partition(" ")
    return int(status) >= SERVER_ERROR or (bool(flags) and not CLIENTS_OWN.issuperset(flags.split(",")))
