"""Fail open by choice: rules that are taken away while the proxy is not ready, and put back when it is."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from meshproxy.redirect import Refused

READS = 65536
"""Of an answer, which nobody looks at."""


@dataclass(frozen=True, slots=True)
class Question:
    """Whether a proxy is ready: an HTTP GET that is to be answered with 200."""

    host: str
    port: int
    path: str

    def answered(self, timeout: float) -> bool:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request("GET", self.path)
            answer = connection.getresponse()
            answer.read(READS)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return answer.status == http.client.OK


def question(url: str) -> Question:
    """Of an `http://host:port/path`."""
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError as error:
        raise Refused(f"{url!r} is no address to ask: {error}") from None
    if parts.scheme != "http" or not parts.hostname or not url.isascii() or not url.isprintable() or " " in url:
        raise Refused(f"what is asked is such as http://127.0.0.1:15020/ready, not {url!r}")
    return Question(parts.hostname, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


class Watch:
    """What follows from each answer.

    At the beginning nobody knows whether the rules are in place: the first answer that the proxy is ready puts them
    there, and so many in a row that it is not take them away.  What fails is said, and tried again later.
    """

    def __init__(
        self, failures: int, put: Callable[[], object], take: Callable[[], object], tell: Callable[[str], None]
    ) -> None:
        self._failures = failures
        self._put = put
        self._take = take
        self._tell = tell
        self._failed = 0
        self.in_place: bool | None = None

    def heard(self, ready: bool) -> None:
        self._failed = 0 if ready else self._failed + 1
        if ready and self.in_place is not True:
            self._do(self._put, True, "ready: rules are in place")
        elif self._failed >= self._failures and self.in_place is not False:
            self._do(self._take, False, f"not ready {self._failed} times in a row: rules are taken away")

    def _do(self, action: Callable[[], object], in_place: bool, words: str) -> None:
        try:
            action()
        except Refused as refused:
            self._tell(str(refused))
        else:
            self.in_place = in_place
            self._tell(words)

    @property
    def left(self) -> str:
        """How things stand when nobody watches any more."""
        return {
            True: "rules stay in place",
            False: "rules stay away",
            None: "rules were neither put in place nor taken away",
        }[self.in_place]
