"""A check by MQTT: a session of its own that a broker takes, one PINGREQ that it answers, and good-bye.

    talk = MqttTalk(said, client_id)
    conn.write(talk.says())                 # and again after each `feed`
    talk.feed(data)                         # a Result, or None: more is needed
"""

from __future__ import annotations

from meshproxy.cluster.talk import CLOSED, OK, Result
from meshproxy.model.health import MqttCheck
from meshproxy.wire.mqtt import (
    CONNACK,
    PINGREQ_BYTES,
    V5,
    V311,
    Code,
    Connack,
    Connect,
    Cut,
    Disconnect,
    Fault,
    Frames,
    Malformed,
    Pong,
    decode,
    encode,
)

MOST_PACKET = 16 * 1024
KEEP_ALIVE = 60
_LEVELS = {"3.1.1": V311, "5": V5}
_RETURNED = ("accepted", "wrong-version", "rejected-id", "unavailable", "bad-credentials", "not-authorized")
"""The return codes of 3.1.1, in words."""


class MqttTalk:
    __slots__ = ("_frames", "_level", "_said", "_taken")

    def __init__(self, said: MqttCheck, client_id: str) -> None:
        self._level = _LEVELS[said.version]
        self._frames = Frames(MOST_PACKET)
        self._taken = False
        """Whether the broker has taken the session."""
        password = said.password.text if said.password is not None else None
        connect = Connect(
            self._level, client_id, True, KEEP_ALIVE, said.user, password.encode("ascii") if password else None
        )
        self._said = encode(connect, self._level)

    def says(self) -> bytes:
        said, self._said = self._said, b""
        return said

    def feed(self, data: bytes) -> Result | None:
        if not self._taken and not self._frames.waiting and data[0] != CONNACK << 4:
            # Others have packets that would have to be waited for
            return Result("malformed", Fault.NOT_MQTT.value)
        try:
            data, cuts = self._frames.feed(data)
            return self._heard(data, cuts)
        except Malformed as fault:
            return self._heard(*fault.before) or Result("malformed", fault.word.value)

    def end(self) -> Result:
        return CLOSED

    def _heard(self, data: bytes, cuts: list[Cut]) -> Result | None:
        for cut in cuts:
            packet = decode(self._level, data, *cut)
            if isinstance(packet, Disconnect) and self._level == V5:
                return Result("status", self._word(packet.code))
            if isinstance(packet, Connack) and not self._taken:
                if packet.code:
                    return Result("status", self._word(packet.code))
                self._taken = True
                self._said = PINGREQ_BYTES
            elif isinstance(packet, Pong) and self._taken and not self._said:
                self._said = encode(Disconnect(), self._level)
                return OK
            else:
                return Result("malformed", "unexpected")
        return None

    def _word(self, code: int) -> str:
        return Code(code).name.lower().replace("_", "-") if self._level == V5 else _RETURNED[code]
