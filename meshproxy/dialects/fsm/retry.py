"""A `RetryPolicy` as `retry` of the rules that lead to its cluster."""

from __future__ import annotations

import re

from meshproxy.dialects.fsm.draft import Data, Draft
from meshproxy.dialects.fsm.said import RetryPolicy
from meshproxy.schema.kinds import show_duration
from meshproxy.schema.shapes import Path

MOST_TRIES = 20
LONGEST_PAUSE = 1.0
"""Before the second try; before a later one ten times as much, as the sidecar of FSM does it."""
CAUSES = {
    "5xx": ("5xx",),
    "gateway-error": ("gateway",),
    "connect-failure": ("connect", "refused"),
    "refused-stream": ("refused",),
    "reset": ("reset",),
    "reset-before-request": ("reset",),
    "retriable-4xx": ("409",),
}
"""In the words of Envoy, of which their own sidecar knows the first alone."""

_status = re.compile("[45][0-9]{2}").fullmatch


def retry_of(draft: Draft, said: RetryPolicy, path: Path) -> Data | None:
    if not said.retries:
        return None
    words = [word for word in (each.strip() for each in said.on.split(",")) if word]
    unknown = [word for word in words if word not in CAUSES and not _status(word)]
    for word in unknown:
        draft.note("ignored", (*path, "RetryOn"), f"`RetryOn` {word} is no cause to ask again")
    on = [cause for word in words if word not in unknown for cause in CAUSES.get(word, (word,))]
    if words and not on:
        return None
    found: Data = {"on": list(dict.fromkeys(on)) or ["5xx"], "attempts": min(said.retries + 1, MOST_TRIES)}
    if said.per_try:
        found["per_try_timeout"] = show_duration(said.per_try)
    if said.backoff:
        pause = min(said.backoff, LONGEST_PAUSE)
        found |= {"backoff": show_duration(pause), "max_backoff": show_duration(round(pause * 10, 6))}
    return found if draft.compat.retry == "safe" else {**found, "unsafe": True}
