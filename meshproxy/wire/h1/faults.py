"""What can be wrong with a message, as a closed vocabulary.

A `Malformed` carries the word that logs and metrics count, and the status that a client is owed.  It is the same for
both directions: where an upstream breaks a rule, the caller answers 502 whatever `status` says.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    # Bytes that have no place in a head
    BARE_CR = "bare_cr"
    BARE_LF = "bare_lf"
    CONTROL_BYTE = "control_byte"
    # The first line
    BAD_REQUEST_LINE = "bad_request_line"
    BAD_METHOD = "bad_method"
    BAD_TARGET = "bad_target"
    WRONG_TARGET_FORM = "wrong_target_form"
    UNSUPPORTED_VERSION = "unsupported_version"
    LINE_TOO_LONG = "line_too_long"
    BAD_STATUS_LINE = "bad_status_line"
    # Field lines
    BAD_FIELD_NAME = "bad_field_name"
    SPACE_BEFORE_COLON = "space_before_colon"
    NO_COLON = "no_colon"
    OBS_FOLD = "obs_fold"
    UNDERSCORE_IN_NAME = "underscore_in_name"
    TOO_MANY_FIELDS = "too_many_fields"
    HEAD_TOO_LARGE = "head_too_large"
    BAD_CONNECTION = "bad_connection"
    # Routing
    MISSING_HOST = "missing_host"
    REPEATED_HOST = "repeated_host"
    BAD_HOST = "bad_host"
    HOST_MISMATCH = "host_mismatch"
    # Framing
    BAD_LENGTH = "bad_length"
    REPEATED_LENGTH = "repeated_length"
    LENGTH_AND_CODING = "length_and_coding"
    BAD_CODING = "bad_coding"
    UNKNOWN_CODING = "unknown_coding"
    CODING_IN_HTTP_1_0 = "coding_in_http_1_0"
    BODY_TOO_LARGE = "body_too_large"
    BODY_NOT_ALLOWED = "body_not_allowed"
    UNKNOWN_EXPECTATION = "unknown_expectation"
    # Chunks
    BAD_CHUNK_SIZE = "bad_chunk_size"
    BAD_CHUNK_EXTENSION = "bad_chunk_extension"
    CHUNK_EXTENSION_TOO_LONG = "chunk_extension_too_long"
    BAD_CHUNK_END = "bad_chunk_end"
    FORBIDDEN_TRAILER = "forbidden_trailer"
    # What gRPC-Web has
    BAD_BASE64 = "bad_base64"
    # What only HTTP/2 has, or must not have
    BAD_PSEUDO_HEADER = "bad_pseudo_header"
    CAPITAL_IN_NAME = "capital_in_name"
    CONNECTION_FIELD = "connection_field"
    SPACE_AROUND_VALUE = "space_around_value"
    # Whatever another judge has against a head
    REFUSED_BY_H11 = "refused_by_h11"
    # Answers that nobody asked for, and ends that come too early
    UNASKED_UPGRADE = "unasked_upgrade"
    WRONG_ACCEPT = "wrong_accept"
    TOO_MANY_INTERIM = "too_many_interim"
    CUT_SHORT = "cut_short"

    @property
    def status(self) -> int:
        return _OTHER_THAN_400.get(self, 400)


_OTHER_THAN_400 = {
    Reason.UNSUPPORTED_VERSION: 505,
    Reason.LINE_TOO_LONG: 414,
    Reason.TOO_MANY_FIELDS: 431,
    Reason.HEAD_TOO_LARGE: 431,
    Reason.UNKNOWN_CODING: 501,
    Reason.BODY_TOO_LARGE: 413,
    Reason.UNKNOWN_EXPECTATION: 417,
}


class Malformed(ValueError):
    """What arrived is no HTTP message that we would pass on, whatever may follow.  Nothing more is read after it."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason

    @property
    def status(self) -> int:
        return self.reason.status
