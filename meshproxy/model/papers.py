"""Papers: the certificates, keys, lists, users and dictionaries that a configuration uses, and where it says so.

    [use.key for use in uses(config)]      # ["listeners.web.tls.certificate", "listeners.web.tls.key", ...]
    use.file                               # "web.pem", or None: the text itself stands in the configuration
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from meshproxy.model.authenticate import Credential
from meshproxy.model.config import Config
from meshproxy.model.tls import ClientTls, ServerTls, is_inline
from meshproxy.schema.kinds import Secret
from meshproxy.schema.shapes import Path, path_text

Role = Literal["certificate", "key", "client_ca", "ca", "crl", "users", "keys", "dictionary"]
ROLES: tuple[Role, ...] = ("certificate", "key", "client_ca", "ca", "crl")
"""In TLS."""


@dataclass(frozen=True, slots=True)
class Use:
    name: str
    """Of the listener, the cluster or the source."""
    path: Path
    """In its document."""
    role: Role
    source: str | Secret
    algorithms: tuple[str, ...] = ()
    """Of `keys`: what they are for."""

    @property
    def key(self) -> str:
        """The path with the name of the listener or source: its number says nothing where several documents are one."""
        section, _, *below = self.path
        return path_text((section, self.name, *below))

    @property
    def listener(self) -> str:
        return self.name if self.path[0] == "listeners" else ""

    @property
    def cluster(self) -> str:
        return self.name if self.path[0] == "clusters" else ""

    @property
    def file(self) -> str | None:
        return self.source if isinstance(self.source, str) and not is_inline(self.source) else None

    def about(self, words: str) -> str:
        """What follows its name, as a message."""
        return f"`{self.role}` {f'{self.file} ' if self.file is not None else ''}{words}"


def uses(config: Config) -> Iterator[Use]:
    for place, listener in enumerate(config.listeners):
        at: Path = ("listeners", place)
        yield from _of(listener.name, (*at, "tls"), listener.tls)
        for number, chain in enumerate(listener.chains):
            yield from _of(listener.name, (*at, "chains", number, "tls"), chain.tls or ())
    for cluster in config.clusters:
        if cluster.tls is not None:
            yield from _of(cluster.name, ("clusters", cluster.name, "tls"), (cluster.tls,))
    for tunnel in config.tunnels:
        if tunnel.tls is not None:
            yield from _of(tunnel.name, ("tunnels", tunnel.name, "tls"), (tunnel.tls,))
        if tunnel.dictionary is not None:
            yield Use(tunnel.name, ("tunnels", tunnel.name, "dictionary"), "dictionary", tunnel.dictionary)
    for policy in config.mqtt:
        yield from of_credentials(policy.name, ("mqtt", policy.name, "authenticate"), policy.authenticate or ())
    for number, log in enumerate(config.access_log):
        if log.to.http is not None and log.to.http.tls is not None:
            yield from _of(str(number), ("access_log", number, "to", "http", "tls"), (log.to.http.tls,))
    export = config.tracing.export if config.tracing is not None else None
    if export is not None and export.to.tls is not None:
        yield from _of("export", ("tracing", "export", export.kind, "tls"), (export.to.tls,))
    for number, source in enumerate(config.sources):
        if source.tls is not None:
            yield from _of(source.name, ("sources", number, "tls"), (source.tls,))


def _of(name: str, path: Path, several: tuple[ServerTls | ClientTls, ...]) -> Iterator[Use]:
    for number, said in enumerate(several):
        at: Path = (*path, number) if len(several) > 1 else path
        for role in ROLES:
            source = getattr(said, role, None)
            if source is not None:
                yield Use(name, (*at, role), role, source)


def of_credentials(name: str, path: Path, several: tuple[Credential, ...]) -> Iterator[Use]:
    """The files by which a list `authenticate` knows clients."""
    for number, said in enumerate(several):
        at: Path = (*path, number)
        if said.users is not None:
            yield Use(name, (*at, "users"), "users", said.users)
        if said.jwt is not None:
            yield Use(name, (*at, "jwt", "keys"), "keys", said.jwt.keys, said.jwt.algorithms)
