"""Two configurations side by side: the version of each, the changes in words, and secrets carried over."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from meshproxy.errors import Invalid, Problem
from meshproxy.model.config import Config
from meshproxy.model.forward import Forward
from meshproxy.schema import encode
from meshproxy.schema.kinds import Secret
from meshproxy.schema.spelled import spelled


def version(config: Config) -> str:
    """The same for equal configurations, and for the same one in the next release."""
    digest = sha256()
    for piece in spelled(encode(config, redact=True), sort_keys=True, ensure_ascii=False):
        digest.update(piece.encode())
    return digest.hexdigest()


def diff(old: Config, new: Config) -> list[str]:
    """What changes, in short words: "listener web: added", "cluster books: changed (endpoints)"."""
    return [*_changes(_parts(old), _parts(new))]


def _parts(config: Config) -> dict[str, Any]:
    """Everything that is named in a diff, under its name there. A part that is absent is not in it."""
    sections = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    named = {what: sections.pop(f"{what}s") for what in ("workload", "listener", "route", "bridge", "cluster")}
    return {
        **{name: section for name, section in sections.items() if section is not None},
        **{f"{what} {part.name}": part for what, parts in named.items() for part in parts},
    }


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in old:
        if name not in new:
            yield f"{name}: removed"
    for name, part in new.items():
        if name not in old:
            yield f"{name}: added"
        elif part != old[name]:
            yield f"{name}: changed{_fields(old[name], part)}"


def _fields(old: Any, new: Any) -> str:
    if not dataclasses.is_dataclass(new):
        return ""
    changed = [field.name for field in dataclasses.fields(new) if getattr(old, field.name) != getattr(new, field.name)]
    return f" ({', '.join(changed)})"


def restore(config: Config, known: Config) -> Config:
    """The configuration with each secret that came back redacted as it is in `known`, or `Invalid`.

    Only for the same use: nobody who has not seen a password may have it sent elsewhere.
    """
    redacted = [each for each in _secrets(config) if each.secret.text is None]
    if not redacted:
        return config
    in_clear = {(each.use, each.secret): each.secret for each in _secrets(known)}
    if missing := [each.path for each in redacted if (each.use, each.secret) not in in_clear]:
        raise Invalid(
            Problem(path, f"`{path.rpartition('.')[2]}` is redacted, and is not the one in force: write it in clear")
            for path in missing
        )
    found: Config = _filled(config, {secret: secret for secret in in_clear.values()})
    return found


class _Held(NamedTuple):
    path: str
    use: object
    """For what it is: whom it is told."""
    secret: Secret


def _secrets(config: Config) -> Iterator[_Held]:
    if config.admin.token is not None:
        yield _Held("admin.token", "admin", config.admin.token)
    for source in config.sources:
        if source.token is not None:
            yield _Held(f"sources.{source.name}.token", source.url, source.token)
        if source.tls is not None and isinstance(source.tls.key, Secret):
            yield _Held(f"sources.{source.name}.tls.key", source.tls.certificate, source.tls.key)
    if isinstance(config.sidecar.key, Secret):
        yield _Held("sidecar.key", config.sidecar.certificate, config.sidecar.key)
    for workload in config.workloads:
        if isinstance(workload.key, Secret):
            yield _Held(f"workloads.{workload.name}.key", workload.certificate, workload.key)
    for listener in config.listeners:
        servers = [("tls", listener.tls)]
        servers += [(f"chains[{place}].tls", chain.tls or ()) for place, chain in enumerate(listener.chains)]
        for where, several in servers:
            for place, server in enumerate(several):
                if isinstance(server.key, Secret):
                    at = f"{where}[{place}]" if len(several) > 1 else where
                    yield _Held(f"listeners.{listener.name}.{at}.key", server.certificate, server.key)
        socks = [("socks5", listener.socks5)]
        socks += [(f"chains[{place}].socks5", chain.socks5) for place, chain in enumerate(listener.chains)]
        for where, forward in socks:
            yield from _of_users(f"listeners.{listener.name}.{where}", forward)
    for cluster in config.clusters:
        client = cluster.tls
        if client is not None and isinstance(client.key, Secret):
            yield _Held(f"clusters.{cluster.name}.tls.key", client.certificate, client.key)
        if cluster.mqtt.password is not None:
            whom = (tuple([endpoint.address for endpoint in cluster.members]), client, cluster.mqtt.user)
            yield _Held(f"clusters.{cluster.name}.mqtt.password", whom, cluster.mqtt.password)
    for table in config.routes:
        for place, rule in enumerate(table.rules):
            yield from _of_users(f"routes.{table.name}.rules[{place}].connect", rule.connect)
            for number, each in enumerate(rule.filters):
                redis = each.rate_limit.redis if each.rate_limit is not None else None
                if redis is not None and redis.password is not None:
                    where = f"routes.{table.name}.rules[{place}].filters[{number}].rate_limit.redis.password"
                    yield _Held(where, redis.address, redis.password)


def _of_users(where: str, said: Forward | None) -> Iterator[_Held]:
    for user in said.users if said is not None else ():
        yield _Held(f"{where}.users.{user.name}.password", user.name, user.password)


def _filled(part: Any, in_clear: Mapping[Secret, Secret]) -> Any:
    if isinstance(part, Secret):
        return in_clear.get(part, part)
    if isinstance(part, tuple):
        return tuple([_filled(each, in_clear) for each in part])
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        said = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
        filled = {name: _filled(each, in_clear) for name, each in said.items()}
        changed = {name: each for name, each in filled.items() if each is not said[name]}
        return dataclasses.replace(part, **changed) if changed else part
    return part
