"""Names of the mesh, answered beside the workload, whose resolver is told to ask there.

What the sidecar of FSM invents for names that do not exist, 127.0.0.2, is not had: a name that nobody has written
stays one that does not exist.
"""

from __future__ import annotations

from meshproxy.dialects.fsm.draft import Data, Draft
from meshproxy.schema.shapes import Path

NAME = "dns"
LISTEN = "127.0.0.153:5300"
PATH: Path = ("Spec", "LocalDNSProxy")
TABLE: Path = ("DNSResolveDB",)
CLUSTER_DNS = "10.96.0.10"
"""Where most clusters have theirs."""
TTL = "10m"


def put_dns(draft: Draft) -> None:
    """Without a proxy for names nobody asks for those of the table."""
    said = draft.said.spec.dns_proxy
    if said is None:
        return
    if draft.setting.workload is not None:
        message = "names are answered, and asked for, for all workloads of the proxy: say it in our words, under `dns`"
        draft.note("ignored", PATH, message)
        return
    draft.put("listeners", NAME, {"listen": LISTEN, "protocol": "dns"}, PATH)
    if draft.setting.dns is not None:
        draft.note("ignored", PATH, "who is asked for names, and which ones are answered, is said in `dns` already")
        return
    draft.make(len(draft.said.dns), TABLE)
    servers = [server for server in (said.servers.primary, said.servers.secondary) if server] or [CLUSTER_DNS]
    names: Data = {name: list(addresses) for name, addresses in draft.said.dns if addresses is not None}
    found: Data = {"servers": servers, "names": names, "ttl": TTL} if names else {"servers": servers}
    draft.say("dns", found, PATH)
    for name in names:
        draft.meant(("dns", "names", name), (*TABLE, name))
