"""What can be wrong with what an MQTT peer sends, as a closed vocabulary.

A `Malformed` carries the word that logs and metrics count, and the code that a peer of 5.0 is told; to one of 3.1.1
nothing can be said after its CONNECT, and the connection is closed.
"""

from __future__ import annotations

from enum import StrEnum

from meshproxy.wire.mqtt.codes import Code

Cut = tuple[int, int, int]
"""Of a packet in some bytes: where it starts, where its body starts, where it ends."""


class Fault(StrEnum):
    # Packets
    BAD_TYPE = "bad_type"
    BAD_FLAGS = "bad_flags"
    BAD_LENGTH = "bad_length"
    """A number of more than four bytes, or of more than it needs."""
    TOO_LARGE = "too_large"
    CUT_SHORT = "cut_short"
    """The packet ends before what it says it holds."""
    LEFT_OVER = "left_over"
    """Or it goes on behind that."""
    # What they hold
    BAD_TEXT = "bad_text"
    BAD_TOPIC = "bad_topic"
    BAD_FILTER = "bad_filter"
    BAD_ID = "bad_id"
    BAD_QOS = "bad_qos"
    BAD_OPTIONS = "bad_options"
    BAD_CODE = "bad_code"
    NOTHING_ASKED = "nothing_asked"
    # Properties
    UNKNOWN_PROPERTY = "unknown_property"
    FOREIGN_PROPERTY = "foreign_property"
    REPEATED_PROPERTY = "repeated_property"
    MISSING_PROPERTY = "missing_property"
    BAD_VALUE = "bad_value"
    # CONNECT and its answer
    NOT_MQTT = "not_mqtt"
    UNKNOWN_VERSION = "unknown_version"
    BAD_WILL = "bad_will"
    BAD_CREDENTIALS = "bad_credentials"
    BAD_CLIENT_ID = "bad_client_id"
    BAD_SESSION = "bad_session"


class Malformed(Exception):
    """Nothing more is read of this peer."""

    def __init__(self, word: Fault, text: str, code: Code = Code.MALFORMED_PACKET) -> None:
        super().__init__(text)
        self.word = word
        self.code = code
        self.before: tuple[bytes, list[Cut]] = (b"", [])
        """Where `Frames` raises it: what came whole before the fault, as `feed` would have told."""
