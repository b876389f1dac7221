"""What an operator can say about bridges: topics of one cluster of brokers that are published at another.

    bridges:
      - {name: site, local: brokers, remote: centre, push: [{filter: out/#, prefix: site-7/}], pull: ["commands/#"]}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Annotated, ClassVar

from meshproxy.model.mqtt_upstream import MqttVersion
from meshproxy.schema.kinds import Bool, Duration, Name, Text, size, string, whole
from meshproxy.schema.shapes import Path

MOST_PASSAGES = 256
_LEVEL = r"[^+#/]*"

BridgeFilter = Annotated[
    str,
    string(
        "topic filter",
        "a topic filter such as plant/+/state or plant/#, not a shared one",
        rf"(?!$|\$share/)(?:(?:\+|{_LEVEL})/)*(?:\+|\#|{_LEVEL})",
        1024,
    ),
]
BridgePrefix = Annotated[
    str, string("prefix", "whole levels of a topic such as site-7/, without + and #", rf"(?:{_LEVEL}/)*", 1024)
]
Qos = Annotated[int, whole(0, 2)]


@dataclass(frozen=True, slots=True)
class Passage:
    """Some topics that go over a bridge; a plain filter is short for all of them with at most QoS 1."""

    SHORTHAND: ClassVar[str] = "filter"

    filter: Annotated[BridgeFilter, "which topics, as they are called where they come from"]
    qos: Annotated[Qos, "a higher QoS is lowered to this one"] = 1
    prefix: Annotated[BridgePrefix, "stands before the topic on the other side"] = ""
    strip: Annotated[BridgePrefix, "is taken away from the topic before that; `filter` begins with it"] = ""
    retain: Annotated[Bool, "whether what is retained here is retained there"] = True

    @property
    def lands(self) -> str:
        """The filter of the topics on the other side."""
        return self.prefix + self.filter.removeprefix(self.strip)


@dataclass(frozen=True, slots=True)
class Bridge:
    """Two sessions of the proxy's own, and what goes from one to the other; see docs/mqtt.md."""

    name: Annotated[Name, "a unique name, used in logs and metrics"]
    local: Annotated[Name, "the brokers on this side, a name under `clusters`; its `mqtt` says how they are spoken to"]
    remote: Annotated[Name, "the brokers on the other side"]
    push: Annotated[tuple[Passage, ...], "what goes from `local` to `remote`"] = ()
    pull: Annotated[tuple[Passage, ...], "what goes from `remote` to `local`"] = ()
    client_id: Annotated[
        Text | None,
        "who it is for both sides, and nobody else may be; absent: `node.service`, or meshproxy, then a dash and the "
        "name of the bridge",
    ] = None
    in_flight: Annotated[
        int, whole(1, 1024), "messages of QoS 1 and 2 on their way at a time, in each direction"
    ] = 32
    packet: Annotated[int, size(1 << 10, 1 << 28), "the largest packet that is taken from brokers"] = 1 << 20
    session: Annotated[
        Duration, "how long brokers of version 5 keep what they have for it while it is away; 3.1.1 has no limit"
    ] = 3600.0


def bridge_problems(said: Bridge, local: MqttVersion, remote: MqttVersion) -> Iterator[tuple[Path, str]]:
    """With the versions that are spoken to its sides."""
    if not said.push and not said.pull:
        yield (), f"bridge `{said.name}` needs `push`, `pull` or both: nothing goes over it"
    if said.local == said.remote:
        yield ("remote",), f"`remote` {said.remote} is `local` as well: a bridge has two sides"
    for way in ("push", "pull"):
        passages: tuple[Passage, ...] = getattr(said, way)
        if len(passages) > MOST_PASSAGES:
            yield (way,), f"`{way}` has {len(passages)} entries, and may have {MOST_PASSAGES}"
            return
        for index, passage in enumerate(passages):
            if not passage.filter.startswith(passage.strip):
                yield (way, index, "strip"), f"`strip` {passage.strip} is not how `filter` {passage.filter} begins"
            for before in range(index):
                if meet(passage.filter, passages[before].filter):
                    why = f"has topics that `{way}[{before}]` has too: they would go twice"
                    yield (way, index, "filter"), f"`filter` {passage.filter} {why}"
    yield from _circles(said, "push", "pull", remote, said.remote)
    yield from _circles(said, "pull", "push", local, said.local)


def _circles(said: Bridge, way: str, back: str, version: MqttVersion, there: str) -> Iterator[tuple[Path, str]]:
    """5.0 does not give a client what it has published itself; 3.1.1 has no such thing."""
    if version == "5":
        return
    for index, passage in enumerate(getattr(said, way)):
        for other, returning in enumerate(getattr(said, back)):
            if meet(passage.lands, returning.filter):
                yield (
                    (way, index),
                    f"what goes there as {passage.lands} would come back by `{back}[{other}]` {returning.filter}: "
                    f"say a `prefix`, or `mqtt.version` 5 for cluster `{there}`",
                )


def meet(one: str, two: str) -> bool:
    """Whether there is a topic that both filters match."""
    for mine, yours in zip_longest(one.split("/"), two.split("/")):
        if "#" in (mine, yours):
            return True
        if mine != yours and (mine is None or yours is None or "+" not in (mine, yours)):
            return False
    return True
