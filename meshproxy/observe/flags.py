"""What the flags of metrics, logs and taps mean, in a sentence each for whoever has to find out what happened.

    words("DI,UF")          # one sentence for each flag
    words("")               # (): all went well
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

FLAGS: Mapping[str, str] = MappingProxyType({
    "AD": "An `access` filter refused it; compare the client's address, the method and the path with its entries.",
    "AZ": "No entry of `authorize` admits the client, `authenticate` does not know it, or its certificate is not "
          "good; look at the identity that it has proved, and at the entries.",
    "DC": "The client left before its answer was there, or without the farewell of its protocol; if many do, see "
          "whether the answers are slow.",
    "DI": "A `fault` filter held it up on purpose.",
    "DPE": "What the client sends breaks the protocol, or is larger than is allowed; "
           "`meshproxy_listener_malformed_total`, the reason and the answer's body say which rule.",
    "DR": "The proxy was stopping, or its configuration had changed, and the time for what was under way ran out.",
    "DT": "A request, a handshake or the next packet did not come in time, or what the client was sent was not "
          "taken; look at the client and its network.",
    "FC": "The client called itself by a name that is not its own (`claim`); look at the identity that it has proved.",
    "FE": "A filter raised, took too long, or answered with what is no answer; the log says which one and why.",
    "FI": "A `fault` filter failed it on purpose.",
    "NR": "No rule, chain or entry of `sessions` is for it, or it is what is never passed on; ask `/routes/explain` "
          "with host and path.",
    "OM": "The proxy had too much to do, or too many connections or requests of low priority were under way; see its "
          "overload and `max_connections`.",
    "RL": "It was more than a `rate_limit` allows; compare the rate of the route or of the listener with the limit.",
    "SI": "Nothing moved for as long as `timeouts.idle` allows; look at what the endpoint did.",
    "UC": "The endpoint ended or reset the connection before its answer, or the session, was whole; look at its own "
          "log.",
    "UF": "No connection to an endpoint could be made, its TLS failed, or it let nobody in; see whether it runs and "
          "can be reached.",
    "UH": "The cluster had no endpoint to give: none is there, or none is healthy; look at `/clusters`.",
    "UO": "The cluster was at a limit, or its breaker was open; look at its load and at its failures.",
    "UPE": "The endpoint's answer breaks the protocol, or is larger than is allowed; "
           "`meshproxy_cluster_malformed_total` says which rule.",
    "UR": "The endpoint refused the request, or the session, without having begun with it; look at its limits, and "
          "at whom it knows.",
    "UT": "The time for the request or for one of its tries was over; look at how long the endpoint takes.",
})  # fmt: skip


def words(flags: str) -> tuple[str, ...]:
    """A filter of one's own may say what it likes: that has no sentence here."""
    return tuple(FLAGS.get(flag, f"A filter says {flag}.") for flag in flags.split(",")) if flags else ()
