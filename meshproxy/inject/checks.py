"""What a pod may not say if a proxy is to stand in it, and what it may, although it will not like it."""

from __future__ import annotations

from collections.abc import Iterator

from meshproxy.inject.containers import DNS_PORT, DRAIN, PROXY, REDIRECT, USER
from meshproxy.inject.options import Options
from meshproxy.inject.view import Asked, Container, Pod

OURS = (*range(15000, 15022), *range(15901, 15905))
"""Ports of the proxy; some of them are not redirected, so an application there would be reached past it."""
CHANGES_RULES = {"NET_ADMIN", "ALL"}
"""Capabilities with which rules can be taken away."""
Said = tuple[str, str]
"""The name of a container, or nothing where it is about the pod; and what is said of it."""


def refusals(pod: Pod, volumes: set[str], options: Options) -> Iterator[Said]:
    """Of the pod as it is without an injection. `volumes` are names of those that it would get."""
    seen: set[str] = set()
    for container in _containers(pod):
        if container.name in (PROXY, REDIRECT):
            yield container.name, f"a container has the name `{container.name}`, and was not injected by this"
        elif container.name in seen:
            yield container.name, f"two containers have the name `{container.name}`"
        seen.add(container.name)
        yield from _of_one(container, pod, options)
    for volume in pod.spec.volumes:
        if volume.name in volumes:
            yield "", f"a volume has the name `{volume.name}`, and was not injected by this"


def _of_one(container: Container, pod: Pod, options: Options) -> Iterator[Said]:
    for port in container.ports:
        if port.number in OURS or (options.dns and port.number == DNS_PORT):
            yield container.name, f"container `{container.name}` has port {port.number}, which the proxy needs"
    what, own = ("group", "runAsGroup") if options.tproxy else ("user", "runAsUser")
    said = getattr(container.security, what)
    if (getattr(pod.spec.security, what) if said is None else said) == USER:
        words = f"container `{container.name}` has `{own}` {USER}, as the proxy has: its traffic would go past it"
        yield container.name, words


def warnings(pod: Pod, options: Options) -> Iterator[Said]:
    for container in _containers(pod):
        hooks = {"postStart": container.lifecycle.post_start, "preStop": container.lifecycle.pre_stop}
        for hook, asked in hooks.items():
            if _over_the_net(asked):
                words = "is asked by the kubelet, as a client without a certificate"
                yield container.name, f"`{hook}` of container `{container.name}` {words}"
        security = container.security
        if options.redirects and (security.privileged or CHANGES_RULES.intersection(security.capabilities.add)):
            yield container.name, f"container `{container.name}` may take the rules away, and go past the proxy"
    if pod.spec.grace < DRAIN:
        words = f"connections may need {DRAIN} to end"
        yield "", f"`terminationGracePeriodSeconds` is {pod.spec.grace}: {words}"
    if options.tproxy:
        yield "", "with tproxy the proxy runs as root and has NET_ADMIN: Pod Security admits it as `privileged` only"
    if options.form == "older" and options.redirects:
        for container in pod.spec.init_containers:
            yield container.name, f"init container `{container.name}` runs before the proxy: it reaches nobody"


def _containers(pod: Pod) -> tuple[Container, ...]:
    return (*pod.spec.init_containers, *pod.spec.containers)


def _over_the_net(asked: Asked) -> bool:
    return asked.http is not None or asked.tcp is not None
