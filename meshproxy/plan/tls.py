"""TLS, compiled: certificates become contexts, and with them services that end TLS and attempts that begin it.

A context stays as long as everything in it does, over any number of reloads: with it stay the tickets by which clients
resume their sessions.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256

from meshproxy import model
from meshproxy.core.reply import of_failure
from meshproxy.core.server_name import by_name
from meshproxy.core.table import Claims
from meshproxy.errors import Invalid, Problem
from meshproxy.model.tls import ClientTls, ServerTls, is_inline
from meshproxy.net.conn import Conn
from meshproxy.net.tls.context import Pair, Terms, Unusable, client_context, server_context
from meshproxy.plan.refusals import of_client
from meshproxy.plan.rim import Rim
from meshproxy.relay.declined import Declined
from meshproxy.relay.entry import Service
from meshproxy.relay.farewell import Farewell
from meshproxy.relay.live import Kept, ListenerState
from meshproxy.relay.secure import Admission, Answer, Certified, TlsService
from meshproxy.relay.turns import Turns
from meshproxy.schema.kinds import Secret
from meshproxy.schema.shapes import Path, path_text
from meshproxy.wire import x509

Papers = Mapping[str, str]
"""What stands in the files that a configuration names."""

ALPN = {"h2": "h2", "h1": "http/1.1"}
"""What the versions of HTTP are called there, the one first that we like more."""


def needs_hello(chain: model.Chain) -> bool:
    """Whether something is decided by what a hello says, or by whether there is one."""
    return bool(
        chain.protocol == "tls"
        or chain.match.sni
        or chain.match.alpn
        or (chain.tls and (chain.permissive or len(chain.tls) > 1))
    )


# Who we are -------------------------------------------------------------------------------------------


def securing(
    inner: Service,
    said: model.Listener,
    place: int,
    chain: model.Chain,
    state: ListenerState,
    claims: Claims,
    rim: Rim,
) -> Service:
    """TLS ends before this service, if the chain says so, which stands at this place."""
    if not chain.tls:
        return inner
    own = place < len(said.chains) and said.chains[place].tls is not None
    at = f"listeners.{said.name}.chains[{place}].tls" if own else f"listeners.{said.name}.tls"
    several = len(chain.tls) > 1
    spoken = said.http.versions if chain.routes else ()
    alpn = tuple(word for version, word in ALPN.items() if version in spoken)
    certified = [
        _certified(each, said.name, f"{at}[{number}]" if several else at, alpn, claims, rim)
        for number, each in enumerate(chain.tls)
    ]
    find = by_name((name, each) for names, each in certified for name in names)
    first = certified[0][1]
    turns = claims.claim(
        ("handshakes", said.name, said.max_handshakes),
        lambda: Kept(Turns(said.max_handshakes, rim.clock.now, rim.loop.call_soon)),
    ).value
    within = chain.timeouts.handshake
    assert within is not None, "an outcome says everything"
    return TlsService(
        inner,
        state,
        rim.clock,
        rim.http.deadlines,
        within,
        turns,
        (lambda name: find(name) or first) if several else lambda _: first,
        bool(chain.permissive),
        _answer(rim, state) if chain.protocol == "http" else None,
        of_client(rim.log, said.name),
    )


def _certified(
    said: ServerTls, listener: str, where: str, alpn: tuple[str, ...], claims: Claims, rim: Rim
) -> tuple[tuple[str, ...], Certified]:
    """And the server names that it is for."""
    papers = rim.papers
    required = said.client == "required" and said.client_ca is not None
    refusal = 0 if said.without_certificate == "alert" else int(said.without_certificate)
    terms = server_terms(said, alpn, papers)
    with told_at(where, {"ca": "client_ca"}):
        at_once = required and not refusal
        admission = claims.claim(
            ("admission", listener, said.drain, digest(terms, at_once)),
            lambda: Admission(server_context(terms, required=at_once), rim.clock, drains=said.drain),
        )
    names, identity = _own(_text(said.certificate, papers))
    return said.sni or names, Certified(admission, identity, required, refusal, said.identity == "cn")


def server_terms(said: ServerTls, alpn: tuple[str, ...], papers: Papers) -> Terms:
    """`alpn`, unless it says something else."""
    return Terms(
        Pair(_text(said.certificate, papers), _text(said.key, papers)),
        _text_or_none(said.client_ca, papers),
        _text_or_none(said.crl, papers),
        said.min_version,
        said.ciphers,
        said.alpn or alpn,
    )


def _own(pem: str) -> tuple[tuple[str, ...], str]:
    """The server names that a certificate is for, and who it says that we are."""
    try:
        own = x509.read(x509.blocks(pem, "CERTIFICATE")[0])
    except (x509.Unreadable, IndexError):
        return (), ""  # OpenSSL has taken it, so it serves; `/certs` says what is odd about it
    return own.dns, own.identity


def _answer(rim: Rim, state: ListenerState) -> Answer:
    def say(conn: Conn, agreed: str | None, status: int, words: str) -> None:
        reply, date = of_failure(status, words), rim.http.dates.line()
        if agreed == ALPN["h2"]:
            Declined(rim.clock, state, conn, reply, date, "tls")
        else:
            Farewell(rim.clock, state, conn, reply.render(date + b"Connection: close\r\n"), "tls")

    return say


# Whom we ask ------------------------------------------------------------------------------------------


def client_context_of(
    where: Path, said: ClientTls, papers: Papers, claims: Claims, *, named: bool
) -> tuple[ssl.SSLContext, str]:
    """And its digest; `where` it is said."""
    terms = client_terms(said, papers)
    chain, named = said.verify != "off", named and said.verify == "name"
    with told_at(path_text(where), {}):
        known = digest(terms, chain, named)
        context = claims.claim(("tls", known), lambda: Kept(client_context(terms, chain=chain, named=named))).value
    return context, known


def client_terms(said: ClientTls, papers: Papers) -> Terms:
    pair = None
    if said.certificate is not None and said.key is not None:
        pair = Pair(_text(said.certificate, papers), _text(said.key, papers))
    return Terms(
        pair,
        _text_or_none(said.ca, papers),
        _text_or_none(said.crl, papers),
        said.min_version,
        said.ciphers,
        said.alpn,
    )


# Both -------------------------------------------------------------------------------------------------


def digest(terms: Terms, *more: object) -> str:
    """By which contexts are known: a key must not stand where keys of the table are shown."""
    parts = [terms.pair.certificate, terms.pair.key] if terms.pair is not None else []
    said = repr((replace(terms, pair=None), more))
    return sha256(json.dumps([*parts, said]).encode()).hexdigest()


@contextmanager
def told_at(where: str, names: Mapping[str, str]) -> Iterator[None]:
    """What cannot be used is a problem there; `names` are the keys whose names differ."""
    try:
        yield
    except Unusable as why:
        part = names.get(why.part, why.part)
        raise Invalid([Problem(f"{where}.{part}", f"`{part}` {why}")]) from None


def _text(source: str | Secret, papers: Papers) -> str:
    if isinstance(source, Secret):
        assert source.text is not None, "what is redacted has been filled in"
        return source.text
    return source if is_inline(source) else papers[source]


def _text_or_none(source: str | Secret | None, papers: Papers) -> str | None:
    return None if source is None else _text(source, papers)
