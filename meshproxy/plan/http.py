"""HTTP on a listener, compiled: a table of routes becomes a router of handlings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf

from meshproxy import model
from meshproxy.cluster.cluster import Cluster
from meshproxy.core.filter import Pipeline
from meshproxy.core.identity import CLAIMS, Identity
from meshproxy.core.reply import Reply
from meshproxy.core.route import compile_routes
from meshproxy.core.table import Claims
from meshproxy.core.target import normaliser
from meshproxy.core.template import Names, template
from meshproxy.errors import Failure
from meshproxy.model.routes import variables
from meshproxy.observe.metrics import AnswerStats
from meshproxy.plan.codec import request_codec
from meshproxy.plan.filters import compile_filters
from meshproxy.plan.rim import Rim
from meshproxy.relay.http.filtered import Filtered
from meshproxy.relay.http.handling import (
    NO_EDIT,
    Answering,
    Edit,
    Forwarding,
    Handling,
    NewPath,
    Patience,
    Refusing,
    Share,
    draw,
)
from meshproxy.relay.http.service import Front, HttpService
from meshproxy.relay.live import Answers, ListenerState
from meshproxy.wire.h1 import RequestHead, encode

Count = Callable[[str, str], AnswerStats]
"""The counters for a route and a cluster, either of which may be empty."""


def http_service(
    said: model.Listener,
    chain: model.Chain,
    table: model.RouteTable,
    clusters: Mapping[str, Cluster],
    state: ListenerState,
    claims: Claims,
    rim: Rim,
) -> HttpService:
    def count(route: str, cluster: str) -> AnswerStats:
        key = ("answers", said.name, route, cluster)
        return claims.claim(key, lambda: Answers(state.stats.answers, route, cluster)).stats

    timeouts = chain.timeouts
    patience = Patience.of(timeouts.idle or inf, timeouts.request or inf)
    unrouted = count("", "")

    def refusing(failure: Failure) -> Refusing:
        return Refusing(failure=failure, stats=unrouted, patience=patience)

    def answering(reply: Reply) -> Answering:
        return Answering(make=lambda _: reply, stats=unrouted, patience=patience)

    def compiled(place: int, name: str, rule: model.Rule) -> Handling:
        pipeline = compile_filters(rule, name, (table.name, place), said.name, state, claims, rim)
        handling = _handling(rule, name, said.name, clusters, patience, count, pipeline)
        if not pipeline.request:
            return handling
        return Filtered(
            inner=handling, stats=count(name, ""), patience=handling.patience,
            request=handling.request, response=handling.response,
            pipeline=pipeline, plain=handling.plain, as_is=handling.as_is,
        )

    handlings = [(rule.match, compiled(place, name, rule)) for place, (name, rule) in enumerate(table.named())]
    router = compile_routes(handlings, written=table.order == "written")
    regular = normaliser(said.http.path)
    forwarded = said.http.forwarded
    networks = tuple(peer for peer in forwarded.trusted if peer != "unix")

    def front(without: frozenset[bytes]) -> Front:
        return Front(request_codec(said.http, said.codec, without), router, regular, refusing, answering)

    identity = Identity(forwarded)
    others = front(CLAIMS)
    return HttpService(
        rim.http,
        state,
        unrouted,
        identity,
        networks,
        "unix" in forwarded.trusted,
        others,
        front(identity.replaced) if forwarded.trusted else others,
        head=timeouts.head or inf,
        idle=timeouts.idle or inf,
        lifetime=timeouts.lifetime or inf,
        shortest=min(timeouts.idle or inf, patience.first, *(each.patience.first for _, each in handlings)),
    )


def _handling(
    rule: model.Rule,
    name: str,
    listener: str,
    clusters: Mapping[str, Cluster],
    default: Patience,
    count: Count,
    pipeline: Pipeline,
) -> Handling:
    timeouts = rule.timeouts
    patience = Patience.of(
        default.idle if timeouts.idle is None else timeouts.idle or inf,
        default.total if timeouts.request is None else timeouts.request or inf,
    )
    names = Names(listener, name)
    response = _edit(rule.response_headers, names)
    if rule.reply is not None:
        make = _reply(rule.reply, response)
        return Answering(make=make, stats=count(name, ""), patience=patience, pipeline=pipeline)
    if rule.redirect is not None:
        make = _redirect(rule.redirect, response)
        return Answering(make=make, stats=count(name, ""), patience=patience, pipeline=pipeline)
    shares = [(Share(clusters[share.cluster], count(name, share.cluster)), share.weight) for share in rule.shares]
    request = _with_host(_edit(rule.request_headers, names), rule.rewrite.host)
    new_path = _new_path(rule)
    return Forwarding(
        only=shares[0][0] if len(shares) == 1 else None,
        draw=draw(shares),
        new_path=new_path,
        request=request,
        response=response,
        patience=patience,
        pipeline=pipeline,
        plain=response == NO_EDIT and request.more is None and pipeline.silent,
        as_is=new_path is None and not request.without and not request.lines,
    )


def _edit(said: model.HeaderEdit, names: Names) -> Edit:
    left_out = frozenset(name.lower().encode("ascii") for name in (*said.remove, *(name for name, _ in said.set)))
    fields = [(name.encode("ascii"), value) for name, value in (*said.set, *said.add)]
    constant = encode.lines((name, value.encode("ascii")) for name, value in fields if not variables(value))
    varying = [(name, template(value, names)) for name, value in fields if variables(value)]
    if not varying:
        return Edit(left_out, constant)
    return Edit(left_out, constant, lambda x: encode.lines((name, fill(x)) for name, fill in varying))


def _with_host(edit: Edit, host: str | None) -> Edit:
    if host is None:
        return edit
    line = encode.line(b"Host", host.encode("ascii"))
    return replace(edit, without=edit.without | {b"host"}, lines=line + edit.lines)


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


def _reply(said: model.Reply, edit: Edit) -> Callable[[RequestHead], Reply]:
    fields = [(name.encode("ascii"), value.encode("ascii")) for name, value in said.headers]
    reply = Reply(said.status, _edited(fields, edit), said.body.encode(), added=edit.lines)
    return lambda _: reply


def _redirect(said: model.Redirect, edit: Edit) -> Callable[[RequestHead], Reply]:
    scheme = (said.scheme or "http").encode("ascii")
    host = said.host.encode("ascii") if said.host is not None else None
    path = said.path.encode("ascii") if said.path is not None else None

    def make(head: RequestHead) -> Reply:
        where = b"%b://%b%b" % (scheme, host or head.authority.text, path or head.target)
        return Reply(said.status, _edited([(b"Location", where)], edit), added=edit.lines)

    return make


def _edited(fields: list[tuple[bytes, bytes]], edit: Edit) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in fields if name.lower() not in edit.without]
