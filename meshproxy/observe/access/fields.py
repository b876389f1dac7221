"""Header fields in a line: those of a request, with what HTTP/2 has as such, and those of an endpoint's answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter

from meshproxy.observe.access.columns import Column, Id, Number, Read, Told
from meshproxy.observe.record import Asked, Record

_KNOWN: dict[str, Callable[[Asked], bytes | None]] = {
    ":method": attrgetter("method"),
    ":path": attrgetter("target"),
    ":authority": attrgetter("authority.text"),
}
_ID = "x-request-id"
"""What goes on has it, also where the client has sent none."""
_TIME = "x-envoy-upstream-service-time"
"""Not what an endpoint says of itself: how long it took."""


def of_request(names: Sequence[str], longest: int | None) -> Column:
    """The first of these fields that is there, by names in lower case, and so many bytes of it at most."""
    name, *others = names
    if _ID in names:
        return _with_id(names, longest)
    if others or longest is not None:
        reads = [_of_head(name) for name in names]
        return Told(lambda request: _first([read(request) for read in reads], longest))
    return Told(_of_head(name), field=b"" if name in _KNOWN else name.encode("ascii"))


def _of_head(name: str) -> Callable[[Asked], bytes | None]:
    key = name.encode("ascii")
    return _KNOWN.get(name) or (lambda request: request.peek(key))


def _with_id(names: Sequence[str], longest: int | None) -> Column:
    if len(names) == 1 and longest is None:
        return Id()
    reads = [None if name == _ID else _of_head(name) for name in names]
    return Read(
        lambda record: _first(
            [record.id if read is None else read(record.request) for read in reads], longest
        )
    )  # fmt: skip


def of_answer(names: Sequence[str], longest: int | None) -> Column:
    if names == [_TIME]:
        return Number("took", _took)
    keys = [name.encode("ascii") for name in names]

    def read(record: Record) -> bytes | None:
        response = record.response
        return _first([response.get(key) for key in keys], longest) if response is not None else None

    return Read(read)


def _took(record: Record) -> int | None:
    """Milliseconds from when the endpoint was asked to when it began to answer."""
    return int((record.answered - record.asked) * 1000) if record.answered else None


def path(query: bool, longest: int | None) -> Column:
    if query:
        return of_request([":path"], longest)
    return Told(lambda request: request.target.partition(b"?")[0][:longest])


def _first(values: Sequence[bytes | None], longest: int | None) -> bytes | None:
    """That is there."""
    return next((value[:longest] for value in values if value), None)
