"""Whether a stream whose first bytes are these speaks MQTT."""

from __future__ import annotations

from meshproxy.wire.mqtt.codes import CONNECT
from meshproxy.wire.mqtt.faults import Fault, Malformed
from meshproxy.wire.mqtt.fields import number_at

_NAMES = (b"\0\4MQTT", b"\0\6MQIsdp")


def looks_like_connect(first: bytes) -> bool | None:
    """None: more has to come before that is sure.  MQTT 3.1 is MQTT too, which is told that it is too old."""
    if not first:
        return None
    if first[0] != CONNECT << 4:
        return False
    try:
        _, at = number_at(first, 1, len(first))
    except Malformed as malformed:
        return None if malformed.word is Fault.CUT_SHORT else False
    said = first[at:]
    for name in _NAMES:
        if said.startswith(name):
            return True
        if name.startswith(said):
            return None
    return False
