"""What an operator can say about copies of requests.

decode(Mirror, {"cluster": "books-next", "share": 0.1})     # a tenth of the requests; "books-next" alone: all of them
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from meshproxy.schema.kinds import Name, PositiveDuration, Ratio, Size, whole


@dataclass(frozen=True, slots=True)
class Mirror:
    """A cluster that is sent copies of requests, and whose answers nobody waits for; see docs/mirror.md."""

    SHORTHAND: ClassVar[str] = "cluster"

    cluster: Annotated[Name, "a name under `clusters`, and none that gets the requests themselves"]
    share: Annotated[Ratio, "the share of the requests that is copied"] = 1.0
    timeout: Annotated[PositiveDuration, "how long a copy may take, with its answer"] = 5.0
    buffer: Annotated[Size, "bytes of a body that may wait for a mirror that is slow; more: the copy is dropped"] = (
        256 * 1024
    )
    max_requests: Annotated[int, whole(1, 65535), "copies under way at a time, in each worker; more are dropped"] = 256
