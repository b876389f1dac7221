"""What an operator can say about clusters that share the requests of a rule: who gets which, and from when on.

shares = (Share("books-v1", 95), Share("books-v2", steps=(Step(0, 5), Step(600, 50))))
list(split_problems(shares, None))      # [], or the place of each thing that does not fit, with the reason
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from meshproxy.model.balance import Labels, NoSubset
from meshproxy.model.matching import MOST_OF_ANYTHING, Found, ValueMatch, at_most, below, header_names, token
from meshproxy.schema.kinds import Bool, Duration, Name, cut, show_duration, shown, whole

MOST_SHARES = 64
MOST_STEPS = 64


@dataclass(frozen=True, slots=True)
class Step:
    """Another weight, from some time on."""

    after: Annotated[Duration, "how long after the plan was first put in force"]
    weight: Annotated[int, whole(0, 65535), "the weight from then on"]


@dataclass(frozen=True, slots=True)
class Share:
    """A cluster, and its part of the requests of a rule."""

    cluster: Annotated[Name, "a name under `clusters`"]
    weight: Annotated[int, whole(0, 65535), "its share of the requests; 0: it gets none"] = 1
    steps: Annotated[
        tuple[Step, ...], "weights that follow each other; a reload that leaves the split as it is does not stop them"
    ] = ()
    headers: Annotated[
        tuple[tuple[str, ValueMatch], ...], "it gets what has all of these, and no part by weight; the first share wins"
    ] = ()
    cookies: Annotated[tuple[tuple[str, ValueMatch], ...], "the same, by cookies"] = ()
    subset: Annotated[Labels, "only endpoints that have all these labels; empty: all endpoints"] = ()
    no_subset: Annotated[NoSubset, "who gets them where no such endpoint is fit: any of the cluster, or none"] = "none"

    @property
    def chosen(self) -> bool:
        """Whether it gets what it asks for, and nothing by weight."""
        return bool(self.headers or self.cookies)

    def weight_after(self, seconds: float) -> int:
        return next((step.weight for step in reversed(self.steps) if step.after <= seconds), self.weight)


@dataclass(frozen=True, slots=True)
class SplitBy:
    """What is hashed, so that the same value always draws the same share; without it a share is drawn by chance."""

    CHOICE: ClassVar[bool] = True

    header: Annotated[Name | None, "the value of this header"] = None
    cookie: Annotated[Name | None, "the value of this cookie"] = None
    client: Annotated[Bool | None, "the address of who asks"] = None
    identity: Annotated[Bool | None, "what the client has proved to be"] = None
    connection: Annotated[Bool | None, "the connection of who asks: all its requests draw the same share"] = None


def moments(shares: Iterable[Share]) -> list[float]:
    """When any weight changes, in seconds; the first is the beginning."""
    return sorted({0.0, *(step.after for share in shares for step in share.steps)})


# What does not fit together -----------------------------------------------------------------------


def split_problems(shares: tuple[Share, ...], by: SplitBy | None) -> Found:
    """Each with its place in the rule."""
    yield from at_most(MOST_SHARES, "split", shares)
    drawn = [share for share in shares if not share.chosen]
    for moment in moments(drawn) if shares else ():
        if not any(share.weight_after(moment) for share in drawn):
            when = f" after {show_duration(moment)}" if moment else ""
            yield ("split",), f"`split` has no `weight` above 0{when}, so nobody gets the requests"
            break
    for index, share in enumerate(shares):
        for path, message in _share_problems(share):
            yield ("split", index, *path), message
    if by is not None:
        yield from below("split_by", _by_problems(by))
        if len(drawn) < 2:
            yield ("split_by",), "`split_by` needs a `split` in which two or more have a weight"


def _share_problems(share: Share) -> Found:
    yield from at_most(MOST_STEPS, "steps", share.steps)
    for index in range(1, len(share.steps)):
        if share.steps[index].after <= share.steps[index - 1].after:
            yield ("steps", index, "after"), "`after` must be later than that of the step before"
    if share.chosen and (share.weight != 1 or share.steps):
        key = "steps" if share.steps else "weight"
        yield (key,), f"`{key}` means nothing beside `headers` or `cookies`: say the cluster twice"
    for key in ("headers", "cookies"):
        yield from at_most(MOST_OF_ANYTHING, key, getattr(share, key))
    yield from below("headers", header_names(name for name, _ in share.headers))
    yield from below("cookies", _cookie_names(name for name, _ in share.cookies))


def _cookie_names(names: Iterable[str]) -> Found:
    """In any case they are others."""
    for name in names:
        if not token(name):
            yield (name,), f"{shown(name)} is not the name of a cookie"


def _by_problems(by: SplitBy) -> Found:
    for key in ("client", "identity", "connection"):
        if getattr(by, key) is False:
            yield (key,), f"`{key}` can only be true: leave `split_by` away to draw by chance"
    for key, name in (("header", by.header), ("cookie", by.cookie)):
        if name is not None and not token(name):
            yield (key,), f"`{key}` {cut(name)} is not the name of a {key}"
