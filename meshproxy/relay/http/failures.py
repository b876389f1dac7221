"""Why an exchange failed: the word for metrics and logs, the status for the client, and Envoy's flag."""

from __future__ import annotations

from meshproxy.errors import Failure

# Before anything was sent
NO_ROUTE = Failure("no_route", 404, "NR")
NO_CONNECT = Failure("connect_refused", 405, "NR")
BAD_TARGET = Failure("bad_target", 400, "DPE")
"""Of CONNECT: nobody's address."""
NO_TRACE = Failure("trace_refused", 405, "NR")
OVERFLOW = Failure("overflow", 503, "UO")
BAD_UPGRADE = Failure("bad_upgrade", 400, "DPE")
"""An offer that HTTP/2 has no way to pass on."""

# The upstream
UPSTREAM_LOST = Failure("upstream_lost", 502, "UC")
UPSTREAM_MALFORMED = Failure("upstream_malformed", 502, "UPE")
STREAM_REFUSED = Failure("stream_refused", 503, "UR")
"""The endpoint has surely not begun with it."""
NO_UPGRADE = Failure("no_upgrade", 502, "UPE")
"""It speaks HTTP/2, and no stream of it may become anything else."""
NOT_SWITCHED = Failure("not_switched", 502, "UPE")
ANSWER_TOO_LARGE = Failure("answer_too_large", 502, "UPE")

# The client
HEAD_TIMEOUT = Failure("head_timeout", 408, "DT")
BODY_TOO_LARGE = Failure("body_too_large", 413, "DPE")
BODY_TIMEOUT = Failure("body_timeout", 408, "DT")
CLIENT_GONE = Failure("client_gone", 499, "DC")

# Time
TRY_TIMEOUT = Failure("try_timeout", 504, "UT")
REQUEST_TIMEOUT = Failure("request_timeout", 504, "UT")
DEADLINE = Failure("deadline_exceeded", 504, "UT")
IDLE_TIMEOUT = Failure("idle_timeout", 504, "SI")
DRAINED = Failure("drained", 503, "DR")
