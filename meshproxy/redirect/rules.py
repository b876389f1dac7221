"""The rules that a plan takes, as values that every backend can write.

A chain is a list of rules, a rule is conditions and a verdict, and a hook is a rule in a chain of the kernel's own.
One description does for both families: a condition that names an address holds for packets of its family only.

Only what opens a connection is looked at (`Opening`).  A connection that is older than the rules may be new to the
kernel's tracking, and a packet from the midst of it must not be redirected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_network

from meshproxy.redirect.plan import Network, Plan, Span

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
PLAIN_SOURCES = (ip_network("127.0.0.6/32"), ip_network("::6/128"))
"""From where a proxy connects to the application beside it by an address other than loopback."""
DNS_PORT = ((53, 53),)


@dataclass(frozen=True, slots=True)
class Family:
    version: int


@dataclass(frozen=True, slots=True)
class Source:
    network: Network


@dataclass(frozen=True, slots=True)
class Destination:
    network: Network
    within: bool = True


@dataclass(frozen=True, slots=True)
class Arrives:
    interface: str
    here: bool = True


@dataclass(frozen=True, slots=True)
class Leaves:
    interface: str


@dataclass(frozen=True, slots=True)
class Protocol:
    name: str


@dataclass(frozen=True, slots=True)
class Opening:
    """The first packet of a TCP connection."""


@dataclass(frozen=True, slots=True)
class To:
    """Destination ports."""

    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class User:
    uid: int


@dataclass(frozen=True, slots=True)
class Group:
    gid: int


@dataclass(frozen=True, slots=True)
class Foreign:
    """From an address that this host does not have."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Of a connection on which `Keep` has acted."""


@dataclass(frozen=True, slots=True)
class Replying:
    """Towards who has opened the connection."""


@dataclass(frozen=True, slots=True)
class Transparent:
    """For a socket that may have addresses which are not of this host."""


@dataclass(frozen=True, slots=True)
class Jump:
    chain: str


@dataclass(frozen=True, slots=True)
class Return:
    pass


@dataclass(frozen=True, slots=True)
class Drop:
    pass


@dataclass(frozen=True, slots=True)
class Redirect:
    port: int


@dataclass(frozen=True, slots=True)
class Send:
    """To another address."""

    address: IPv4Address
    port: int


@dataclass(frozen=True, slots=True)
class Tproxy:
    """To a socket that listens on this port; the packet stays as it is, and is marked."""

    port: int


@dataclass(frozen=True, slots=True)
class Mark:
    """The packet: it is routed to this host, whatever its destination."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Mark the connection."""


Condition = (
    Family | Source | Destination | Arrives | Leaves | Protocol | Opening | To
    | User | Group | Foreign | Kept | Replying | Transparent
)  # fmt: skip
Verdict = Jump | Return | Drop | Redirect | Send | Tproxy | Mark | Keep

TCP, UDP = Protocol("tcp"), Protocol("udp")
LO = Leaves("lo")


@dataclass(frozen=True, slots=True)
class Rule:
    conditions: tuple[Condition, ...]
    verdict: Verdict

    @property
    def versions(self) -> frozenset[int]:
        """The families of which a packet can meet it."""
        found = frozenset((4,) if isinstance(self.verdict, Send) else (4, 6))
        for condition in self.conditions:
            match condition:
                case Family(version):
                    found &= {version}
                case Source(network) | Destination(network):
                    found &= {network.version}
        return found


@dataclass(frozen=True, slots=True)
class Chain:
    name: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Hook:
    base: str
    """A chain of the kernel's own: PREROUTING or OUTPUT."""
    rule: Rule


@dataclass(frozen=True, slots=True)
class Table:
    """`mangle` sees every packet first; `nat` only the first one of a connection."""

    name: str
    hooks: tuple[Hook, ...]
    chains: tuple[Chain, ...]


def tables(plan: Plan, versions: Iterable[int]) -> tuple[Table, ...]:
    """Those that have anything for these families."""
    families = frozenset(versions) & frozenset(plan.families)
    found = (_for(families, table) for table in (_mangle(plan), _nat(plan)))
    return tuple(table for table in found if table.hooks)


def _for(families: frozenset[int], table: Table) -> Table:
    """Without what no packet of these families comes to."""
    hooks = tuple(hook for hook in table.hooks if hook.rule.versions & families)
    rules = {chain.name: tuple(rule for rule in chain.rules if rule.versions & families) for chain in table.chains}
    due = [hook.rule for hook in hooks]
    reached: set[str] = set()
    while due:
        verdict = due.pop().verdict
        if isinstance(verdict, Jump) and verdict.chain not in reached:
            reached.add(verdict.chain)
            due += rules[verdict.chain]
    return Table(table.name, hooks, tuple(Chain(name, rules[name]) for name in rules if name in reached))


def _mangle(plan: Plan) -> Table:
    names = plan.layout.chains
    hooks, chains = [], []
    if guards := tuple(_guard(plan)):
        hooks.append(_hook(plan, "PREROUTING", (Arrives("lo", here=False),), Jump(names.guard)))
        chains.append(Chain(names.guard, guards))
    if plan.tproxy:
        ways = _ways(plan, Arrives) or ((Arrives("lo", here=False),),)
        hooks += [_hook(plan, "PREROUTING", (*way, TCP), Jump(names.tproxy)) for way in ways]
        hooks.append(_hook(plan, "OUTPUT", (TCP,), Jump(names.kept)))
        chains += [Chain(names.tproxy, tuple(_tproxy(plan))), Chain(names.kept, tuple(_kept(plan)))]
    return Table("mangle", tuple(hooks), tuple(chains))


def _guard(plan: Plan) -> Iterator[Rule]:
    """What is redirected comes here with the port that its client has said, so none of it is lost."""
    if plan.own_ports:
        yield Rule((TCP, Opening(), To(plan.own_ports)), Drop())
    if plan.dns_port is not None:
        port = To(((plan.dns_port, plan.dns_port),))
        yield Rule((TCP, Opening(), port), Drop())
        yield Rule((UDP, port), Drop())


def _tproxy(plan: Plan) -> Iterator[Rule]:
    yield Rule((TCP, Transparent()), Mark())
    yield from (Rule((Arrives(name),), Return()) for name in plan.exclude_interfaces)
    yield Rule((TCP, To(plan.passed_ports)), Return())
    yield Rule((TCP, Opening(), *_only(plan.inbound_ports)), Tproxy(plan.inbound_port))


def _kept(plan: Plan) -> Iterator[Rule]:
    """Connections of the proxy to the application, in the name of a client: what is answered has to come back."""
    yield from (Rule((LO, TCP, Opening(), who, Foreign()), Keep()) for who in _proxy(plan))
    yield Rule((TCP, Kept(), Replying()), Mark())


def _nat(plan: Plan) -> Table:
    names = plan.layout.chains
    hooks, chains = [], []
    own_calls = plan.own_calls and plan.inbound and plan.outbound
    if plan.inbound and (own_calls or not plan.tproxy):
        if not plan.tproxy:
            ways = _ways(plan, Arrives) or ((),)
            hooks += [_hook(plan, "PREROUTING", (*way, TCP, Opening()), Jump(names.inbound)) for way in ways]
        chains.append(Chain(names.inbound, tuple(_inbound(plan))))
        last = Rule((TCP, *_only(plan.inbound_ports)), Redirect(plan.inbound_port))
        chains.append(Chain(names.in_redirect, (last,)))
    if plan.dns_port is not None:
        hooks += _dns_hooks(plan)
        chains.append(Chain(names.dns, tuple(_dns(plan, plan.dns_port))))
    if plan.outbound:
        ways = _ways(plan, Leaves)
        if ways and own_calls:
            ways = (*ways, (LO,))
        hooks += [_hook(plan, "OUTPUT", (*way, TCP, Opening()), Jump(names.outbound)) for way in ways or ((),)]
        chains.append(Chain(names.outbound, tuple(_outbound(plan, own_calls))))
        last = Rule((TCP, *_only(plan.outbound_ports)), Redirect(plan.outbound_port))
        chains.append(Chain(names.out_redirect, (last,)))
    return Table("nat", tuple(hooks), tuple(chains))


def _inbound(plan: Plan) -> Iterator[Rule]:
    yield from (Rule((Arrives(name),), Return()) for name in plan.exclude_interfaces)
    yield Rule((TCP, To(plan.passed_ports)), Return())
    yield Rule((), Jump(plan.layout.chains.in_redirect))


def _dns_hooks(plan: Plan) -> Iterator[Hook]:
    resolver = plan.layout.resolver
    where = () if resolver is None else (Destination(ip_network(resolver)),)
    yield _hook(plan, "OUTPUT", (*where, UDP, To(DNS_PORT)), Jump(plan.layout.chains.dns))
    yield _hook(plan, "OUTPUT", (*where, TCP, Opening(), To(DNS_PORT)), Jump(plan.layout.chains.dns))


def _dns(plan: Plan, port: int) -> Iterator[Rule]:
    resolver = plan.layout.resolver
    yield from _left_alone(plan)
    for protocol in (UDP, TCP):
        yield Rule((protocol,), Redirect(port) if resolver is None else Send(resolver, port))


def _outbound(plan: Plan, own_calls: bool) -> Iterator[Rule]:
    names = plan.layout.chains
    if own_calls:
        if plan.tproxy:
            yield Rule((Kept(),), Return())
        yield from (Rule((Source(network), LO), Return()) for network in PLAIN_SOURCES)
        for who in _proxy(plan):
            yield from (Rule((Destination(each, within=False), LO, who), Jump(names.inbound)) for each in LOOPBACK)
    yield from _left_alone(plan)
    yield Rule((LO,), Return())
    yield from (Rule((Leaves(name),), Return()) for name in plan.exclude_interfaces)
    yield from (Rule((Destination(network),), Return()) for network in plan.exclude_outbound_cidrs)
    if plan.exclude_outbound_ports:
        yield Rule((TCP, To(plan.exclude_outbound_ports)), Return())
    if plan.outbound_cidrs is None:
        yield Rule((), Jump(names.out_redirect))
    else:
        yield from (Rule((Destination(network),), Jump(names.out_redirect)) for network in plan.outbound_cidrs)


def _left_alone(plan: Plan) -> Iterator[Rule]:
    yield from (Rule((who,), Return()) for who in (*_proxy(plan), *map(User, plan.exclude_uids)))


def _proxy(plan: Plan) -> tuple[User | Group, ...]:
    return (*map(User, plan.uids), *map(Group, plan.gids))


def _only(spans: tuple[Span, ...] | None) -> tuple[To, ...]:
    return () if spans is None else (To(spans),)


def _ways(plan: Plan, condition: type[Arrives] | type[Leaves]) -> tuple[tuple[Condition, ...], ...]:
    return tuple((condition(name),) for name in plan.interfaces or ())


def _hook(plan: Plan, base: str, conditions: tuple[Condition, ...], verdict: Verdict) -> Hook:
    said = len(plan.families) > 1 or any(isinstance(condition, Destination) for condition in conditions)
    only = () if said else (Family(*plan.families),)
    return Hook(base, Rule((*only, *conditions), verdict))
