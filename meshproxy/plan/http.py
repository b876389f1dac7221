"""HTTP on a listener, compiled: a table of routes becomes a router of handlings."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from math import inf

from meshproxy import model
from meshproxy.cluster.retry import SAFE, Retry, causes
from meshproxy.core.client import asker, within
from meshproxy.core.clientele import MOST_ROUTERS, Routers
from meshproxy.core.exchange import Exchange, Tell
from meshproxy.core.filter import Hooks, Pipeline
from meshproxy.core.identity import CLAIMS, Identity
from meshproxy.core.introduction import Introduction
from meshproxy.core.overload import CONNECTIONS, LOW
from meshproxy.core.reply import Reply
from meshproxy.core.route import Router
from meshproxy.core.table import Claims
from meshproxy.core.target import normaliser
from meshproxy.core.template import Names, template
from meshproxy.errors import Failure
from meshproxy.filters import authorize
from meshproxy.filters.max_body import smallest
from meshproxy.model.matching import RouteMatch
from meshproxy.model.routes import variables
from meshproxy.observe.metrics.answers import MirrorStats
from meshproxy.plan.answer import edited, fixed
from meshproxy.plan.codec import engines, request_codec, request_limits, requests
from meshproxy.plan.filters import compile_filters
from meshproxy.plan.forward import MakeForwarder
from meshproxy.plan.group import Group
from meshproxy.plan.observers import Observers
from meshproxy.plan.refusals import of_identity
from meshproxy.plan.rim import Rim
from meshproxy.plan.split import compile_split
from meshproxy.plan.telling import Telling
from meshproxy.relay.http.buffered import Buffered
from meshproxy.relay.http.failures import NO_ROUTE
from meshproxy.relay.http.fallback import Elsewhere, Instead
from meshproxy.relay.http.filtered import Filtered
from meshproxy.relay.http.forwarding import Forwarded, told
from meshproxy.relay.http.grpc import counting
from meshproxy.relay.http.handling import (
    NO_EDIT,
    NOTHING,
    Answering,
    Draw,
    Edit,
    Fallback,
    Forwarding,
    Handling,
    NewPath,
    Patience,
    Refusing,
    Share,
    common,
    nobody_else,
)
from meshproxy.relay.http.meeting import Meeting
from meshproxy.relay.http.mirror import Mirror, original_over
from meshproxy.relay.http.priority import Gated, Room
from meshproxy.relay.http.service import Front, FrontOf, HttpService
from meshproxy.relay.live import Kept, ListenerState, OfRoute
from meshproxy.relay.origin import Origin
from meshproxy.wire.h1 import Limits, encode


def http_service(
    said: model.Listener,
    chain: model.Chain,
    table: model.RouteTable,
    clusters: Mapping[str, Group],
    state: ListenerState,
    claims: Claims,
    rim: Rim,
    overload: model.Overload | None,
    trust_domain: str,
    observers: Observers,
    introduction: Introduction | None,
    forward: MakeForwarder,
) -> Generator[None, None, HttpService]:
    """In steps, for a table may be large.

    `introduction` is for clients who prove who they are, if any do; `forward` for those who name where they want to go.
    """

    telling = Telling(said.name, state, claims, rim, observers)
    tell = telling.of
    timeouts = chain.timeouts
    patience = Patience.of(timeouts.idle or inf, timeouts.request or inf)
    nowhere = partial(Refusing, tracer=observers.tracer, tell=tell("", ""), patience=patience, listener=said.name)

    def refusing(failure: Failure) -> Refusing:
        return nowhere(failure=failure)

    def answering(reply: Reply) -> Answering:
        return Answering(
            make=lambda _: reply, tell=tell("", ""), tracer=observers.tracer, patience=patience, listener=said.name
        )

    who = asker(said.http.forwarded)

    def compiled(place: int, name: str, rule: model.Rule) -> Handling:
        mirror = _mirror(rule.mirror, said.name, name, clusters, state, claims, rim) if rule.mirror else None
        room = _room(overload, said, claims, rim) if overload is not None and rule.priority == "low" else None
        own = []
        if rule.authorize is not None:
            own.append(authorize.build(rule.authorize, trust_domain, who, of_identity(rim.log, said.name)))
        if said.http.grpc_metrics:
            own.append(Hooks(done=counting(state.stats.calls, name)))
        if mirror is not None:
            own.append(Hooks(done=original_over))
        if room is not None:
            own.append(Hooks(done=room.leave))
        pipeline = compile_filters(
            rule, name, (table.name, place), said.name, state, claims, rim, who, trust_domain, own
        )

        def share_of(share: model.Share) -> Share:
            return Share(clusters[share.cluster].part(share), tell(name, share.cluster))

        def split() -> Draw:
            return compile_split(rule, table.name, share_of, who, rim)

        if rule.connect is not None:
            where = f"routes.{table.name}.rules[{place}].connect"
            only = Share(clusters[rule.connect.cluster].cluster, tell(name, rule.connect.cluster))
            handling: Handling = Forwarded(
                only=only, forwarder=forward(rule.connect, where), patience=_patience(rule, patience),
                pipeline=pipeline, fallback=told, tunnels=True, listener=said.name, route=name,
            )  # fmt: skip
            return in_front(rule, name, handling, room)
        shares = rule.shares
        handling = _handling(rule, shares, name, said.name, share_of, split, patience, tell, pipeline, mirror)
        most = smallest(each.buffer.request for each in rule.filters if each.buffer is not None)
        if most is not None and shares:
            # Nor is it kept any longer than its exchange.
            seen = common(handling) | {"answers_plainly": False}
            handling = Buffered(inner=handling, tell=tell(name, ""), most=most, **seen)
        if any(clusters[share.cluster].config.sticky for share in shares):
            handling = replace(handling, response=_with_cookie(handling.response), answers_plainly=False)
        return in_front(rule, name, handling, room)

    def in_front(rule: model.Rule, name: str, handling: Handling, room: Room | None) -> Handling:
        """Behind what is asked before it."""
        handling = replace(handling, tracer=observers.tracer, timed=telling.times)
        if handling.pipeline.request:
            handling = Filtered(
                inner=handling, tell=tell(name, ""), **common(handling) | {"limits": _limits(rule, said.http)}
            )
        if overload is None or rule.priority == "high":
            return handling
        return Gated(
            inner=handling, tell=tell(name, ""), overload=rim.overload,
            refused_from=CONNECTIONS if room is None else LOW, room=room, **common(handling),
        )

    handlings: list[tuple[RouteMatch, Handling]] = []
    tunnels: list[tuple[RouteMatch, Handling]] = []
    for place, (name, rule) in enumerate(table.named()):
        (handlings if rule.connect is None else tunnels).append((rule.match, compiled(place, name, rule)))
        yield
    written = table.order == "written"
    routers = yield from Routers.in_steps(handlings, trust_domain, written=written)
    of_connect = yield from Routers.in_steps(tunnels, trust_domain, written=written)
    regular = normaliser(said.http.path)
    begun = engines(said)
    kind = Front if introduction is None else partial(Meeting, introduction)
    forwarded = said.http.forwarded
    networks = (peer for peer in forwarded.trusted if peer != "unix")

    def front(without: frozenset[bytes]) -> FrontOf:
        def made(router: Router[Handling], to_tunnels: Router[Handling]) -> Front:
            return kind(
                request_codec(said.http, said.codec, without),
                requests(said.http, without) if begun is not None else None,
                router, to_tunnels, regular, refusing, answering,
            )  # fmt: skip

        if routers.only is not None and of_connect.only is not None:
            only = made(routers.only, of_connect.only)
            return lambda _: only
        known = lru_cache(MOST_ROUTERS)(made)

        def of_client(origin: Origin) -> Front:
            who = origin.identity or ""
            return known(routers[who], of_connect[who])

        return of_client

    identity = Identity(forwarded)
    others = front(CLAIMS)
    return HttpService(
        rim.http,
        state,
        refusing(NO_ROUTE),
        identity,
        within(networks),
        "unix" in forwarded.trusted,
        others,
        front(identity.replaced) if forwarded.trusted else others,
        begun,
        "h1" not in said.http.versions,
        head=timeouts.head or inf,
        idle=timeouts.idle or inf,
        lifetime=timeouts.lifetime or inf,
        shortest=min(
            timeouts.idle or inf, patience.first, *(each.patience.first for _, each in (*handlings, *tunnels))
        ),
    )


def _handling(
    rule: model.Rule,
    shares: tuple[model.Share, ...],
    name: str,
    listener: str,
    share_of: Callable[[model.Share], Share],
    split: Callable[[], Draw],
    default: Patience,
    tell: Callable[[str, str], Tell],
    pipeline: Pipeline,
    mirror: Mirror | None,
) -> Handling:
    patience = _patience(rule, default)
    names = Names(listener, name)
    response = _edit(rule.response_headers, names)

    def answering(make: Callable[[Exchange], Reply]) -> Answering:
        return Answering(
            make=make, tell=tell(name, ""), patience=patience, pipeline=pipeline, listener=listener, route=name
        )

    if rule.reply is not None:
        return answering(_reply(rule.reply, response))
    if rule.redirect is not None:
        return answering(_redirect(rule.redirect, response))
    request = _with_host(_edit(rule.request_headers, names), rule.rewrite.host)
    new_path = _new_path(rule)
    holds = smallest(each.buffer.response for each in rule.filters if each.buffer is not None)
    if any(each.repeated for each in rule.filters):
        request, response = replace(request, last=True), replace(response, last=True)
    only = share_of(shares[0]) if len(shares) == 1 else None
    return Forwarding(
        only=only,
        draw=split() if only is None else nobody_else,
        new_path=new_path,
        request=request,
        response=response,
        patience=patience,
        pipeline=pipeline,
        fallback=_fallback(rule.fallback, share_of),
        retry=_retry(rule.retry) if rule.retry is not None else None,
        asks_plainly=request.more is None and not pipeline.request_data,
        answers_plainly=response == NO_EDIT
        and holds is None
        and not (pipeline.response or pipeline.response_data or pipeline.done),
        holds=holds,
        mirror=mirror,
        listener=listener,
        route=name,
        as_is=new_path is None and not (request.without or request.lines or request.last),
    )


def _patience(rule: model.Rule, default: Patience) -> Patience:
    timeouts = rule.timeouts
    if timeouts.idle is None and timeouts.request is None:
        return default
    return Patience.of(
        default.idle if timeouts.idle is None else timeouts.idle or inf,
        default.total if timeouts.request is None else timeouts.request or inf,
    )


def _room(overload: model.Overload, said: model.Listener, claims: Claims, rim: Rim) -> Room:
    under_way = claims.claim(("low", said.name), lambda: Kept(set())).value
    return Room(under_way, max(int(overload.low * said.max_connections / rim.guests.workers), 1))


def _mirror(
    said: model.Mirror,
    listener: str,
    route: str,
    clusters: Mapping[str, Group],
    state: ListenerState,
    claims: Claims,
    rim: Rim,
) -> Mirror:
    key = ("mirror", listener, route, said.cluster)
    counted = claims.claim(key, lambda: OfRoute(state.stats.mirrors, route, said.cluster, MirrorStats()))
    return Mirror(
        rim.http,
        clusters[said.cluster].cluster,
        counted.stats,
        encode.line(b"X-Meshproxy-Mirror", route.encode("ascii")),
        share=said.share,
        timeout=said.timeout,
        buffer=said.buffer,
        most=said.max_requests,
    )


def _fallback(said: model.Fallback | None, share_of: Callable[[model.Share], Share]) -> Fallback | None:
    if said is None:
        return None
    if said.cluster is not None:
        return Elsewhere(share_of(model.Share(said.cluster)))
    assert said.reply is not None
    return Instead(fixed(said.reply))


def _limits(rule: model.Rule, http: model.Http) -> Limits | None:
    """Of bodies, where the rule admits less than its listener."""
    limits, most = request_limits(http), smallest(each.max_body for each in rule.filters)
    if most is None or (limits.body is not None and limits.body <= most):
        return None
    return replace(limits, body=most)


def _retry(said: model.Retry) -> Retry:
    return Retry(
        attempts=said.attempts,
        causes=causes(said.on),
        methods=NOTHING if said.unsafe else SAFE,
        per_try=said.per_try_timeout or inf,
        pause_first=said.backoff,
        pause_most=said.max_backoff,
        most_asked_for=said.max_retry_after,
        most_body=said.max_body,
        hedge=said.hedge or inf,
    )


def _edit(said: model.HeaderEdit, names: Names) -> Edit:
    if not (said.remove or said.set or said.add):
        return NO_EDIT
    constant = _constant(said)
    varying = [
        (name.encode("ascii"), template(value, names)) for name, value in (*said.set, *said.add) if variables(value)
    ]
    if not varying:
        return constant

    def more(x: Exchange) -> bytes:
        """A field that would say nothing is not written."""
        return encode.lines((name, value) for name, fill in varying if (value := fill(x)))

    return replace(constant, more=more)


@lru_cache(1024)
def _constant(said: model.HeaderEdit) -> Edit:
    """What is the same for every exchange; and for ten thousand rules, where all of them say who asks."""
    left_out = frozenset(name.lower().encode("ascii") for name in (*said.remove, *(name for name, _ in said.set)))
    fields = [
        (name.encode("ascii"), value.encode("ascii")) for name, value in (*said.set, *said.add) if not variables(value)
    ]
    return Edit(left_out, encode.lines(fields))


def _with_host(edit: Edit, host: str | None) -> Edit:
    if host is None:
        return edit
    line = encode.line(b"Host", host.encode("ascii"))
    return replace(edit, without=edit.without | {b"host"}, lines=line + edit.lines)


def _with_cookie(edit: Edit) -> Edit:
    """And the cookie of whoever was picked, if the client has not got it."""
    more = edit.more
    return replace(edit, more=lambda x: more(x) + x.notes.cookie if more is not None else x.notes.cookie)


def _new_path(rule: model.Rule) -> NewPath | None:
    rewrite, match = rule.rewrite, rule.match.path
    if rewrite.path is not None:
        path = rewrite.path.encode("ascii")
        return lambda _: path
    if rewrite.prefix is not None:
        matched = len((match.prefix or "/").rstrip("/")) if match is not None else 0
        prefix = rewrite.prefix.rstrip("/").encode("ascii")
        return lambda path: prefix + path[matched:] or b"/"
    return None


def _reply(said: model.Reply, edit: Edit) -> Callable[[Exchange], Reply]:
    reply = fixed(said, edit)
    return lambda _: reply


def _redirect(said: model.Redirect, edit: Edit) -> Callable[[Exchange], Reply]:
    said_scheme = said.scheme.encode("ascii") if said.scheme is not None else None
    host = said.host.encode("ascii") if said.host is not None else None
    path = said.path.encode("ascii") if said.path is not None else None

    def make(x: Exchange) -> Reply:
        head = x.request
        scheme = said_scheme or (b"http" if x.origin.peer is None else b"https")
        where = b"%b://%b%b" % (scheme, host or head.authority.text, path or head.target)
        return Reply(said.status, edited([(b"Location", where)], edit), added=edit.lines)

    return make
