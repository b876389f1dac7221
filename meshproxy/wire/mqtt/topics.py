"""Which names topics may have, and which filters there may be."""

from __future__ import annotations

import re

from meshproxy.wire.h1.memo import Memo
from meshproxy.wire.mqtt.codes import Code
from meshproxy.wire.mqtt.faults import Fault, Malformed
from meshproxy.wire.mqtt.fields import check_text, cut_short

LONGEST = 65_535

SHARE = b"$share/"

_wildcard = re.compile(rb"[+#]").search
# A wildcard is a whole level, and `#` the last one
_levels = re.compile(rb"(?:[^+#/]*+|\+)(?:/(?:[^+#/]*+|\+))*(?:/#)?|#").fullmatch


def check_topic(topic: bytes) -> None:
    """Of a message."""
    if not 0 < len(topic) <= LONGEST:
        raise _bad_topic("a topic of no or too many bytes")
    if _wildcard(topic):
        raise _bad_topic("a topic with a wildcard")
    check_text(topic)


def check_filter(filter: bytes) -> None:
    """Of a subscription; a shared one is looked at in both versions, since brokers share in both."""
    if not 0 < len(filter) <= LONGEST:
        raise _bad_filter("a filter of no or too many bytes")
    shared = filter[: len(SHARE)] == SHARE or filter == SHARE[:-1]
    if shared:
        group, filter = share_of(filter)
        if not group or not filter or _wildcard(group):
            raise _bad_filter("a shared filter without a group or a filter")
    if not _levels(filter):
        raise _bad_filter("a wildcard that is not a level, or is not the last one")
    check_text(filter)
    if shared:
        check_text(group)


def share_of(filter: bytes) -> tuple[bytes, bytes]:
    """The group and the filter of `$share/group/filter`; of any other, no group."""
    if filter[: len(SHARE)] != SHARE:
        return b"", filter
    _, group, rest = [*filter.split(b"/", 2), b""][:3]
    return group, rest


def topic_at(data: bytes, body: int, end: int) -> bytes:
    """Of a PUBLISH whose body begins there: checked, or empty."""
    begin = body + 2
    if begin > end:
        raise cut_short()
    stop = begin + (data[body] << 8 | data[body + 1])
    if stop > end:
        raise cut_short()
    return checked[data[begin:stop]]


def _checked(topic: bytes) -> bytes:
    if topic:
        check_topic(topic)
    return topic


checked: Memo[bytes] = Memo(_checked)
"""The topic itself, or none.  Few topics see most messages."""


def _bad_topic(text: str) -> Malformed:
    return Malformed(Fault.BAD_TOPIC, text, Code.TOPIC_NAME_INVALID)


def _bad_filter(text: str) -> Malformed:
    return Malformed(Fault.BAD_FILTER, text, Code.TOPIC_FILTER_INVALID)
