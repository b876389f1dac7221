"""Whose proxy this is: one workload of the mesh, with its services and their ports.

    here = Workload.of(mesh, setting, words)        # None: nobody knows it; what is missing is a problem
    here.ports                                      # {8080: (Serves(books, port 80),), ...}
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from meshproxy.dialects.smi.mesh import Kin, Known, Mesh, Port, has, targets
from meshproxy.dialects.smi.resources import Key, Party
from meshproxy.dialects.translation import Note, Setting, Words
from meshproxy.errors import Problem


@dataclass(frozen=True, slots=True, eq=False)
class Serves:
    """A port of a service that leads here."""

    service: Known
    port: Port


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    mesh: Mesh
    account: Key
    pods: tuple[Kin, ...]
    labels: dict[str, str]
    """In place of pods, where none is known."""
    services: tuple[Known, ...]
    ports: dict[int, tuple[Serves, ...]] = field(default_factory=dict)
    """By where the workload listens."""

    @classmethod
    def of(cls, mesh: Mesh, setting: Setting, words: Words) -> Workload | None:
        node = setting.node
        account = (node.namespace, node.service_account)
        missing = [key for key in ("namespace", "service_account") if not getattr(node, key)]
        if missing:
            said = " and ".join(f"`{setting.place}.{key}`" for key in missing)
            message = f"policy of SMI is for one workload: {said} must say whose proxy this is"
            words.problems.append(Problem(setting.place, message))
            return None
        named = mesh.services.get((node.namespace, node.service)) if node.service else None
        if account not in mesh.accounts and named is None:
            unknown = Problem(
                setting.place,
                f"no ServiceAccount, Pod, Deployment, StatefulSet or DaemonSet knows {node.namespace}/"
                f"{node.service_account}" + (f", and there is no Service `{node.service}`" if node.service else ""),
            )
            if setting.workload is None:
                words.problems.append(unknown)
            else:
                # It may be new. The others that live here must not wait for what is known of it.
                words.notes.append(Note("not-in-force", unknown))
            return None
        labels = dict(node.labels)
        pods = mesh.of(account)
        narrowed = tuple(pod for pod in pods if has(pod.labels, labels))
        pods = narrowed or (() if labels else pods)
        services = [
            service
            for service in mesh.services.values()
            if service is named or (service.namespace == node.namespace and _selects(service, pods, labels))
        ]
        found = cls(mesh, account, pods, labels, tuple(services))
        found.ports.update(found._ports(words))
        return found

    def _ports(self, words: Words) -> dict[int, tuple[Serves, ...]]:
        found: dict[int, list[Serves]] = defaultdict(list)
        for service in self.services:
            for port in service.ports:
                numbers = self._numbers(service, port)
                if not numbers:
                    target = port.place.below("targetPort")
                    message = f"`targetPort` {port.said.target} is the name of no port of {'/'.join(self.account)}"
                    words.problems.append(target.problem(message))
                for number in numbers:
                    found[number].append(Serves(service, port))
        return {number: tuple(found[number]) for number in sorted(found)}

    def _numbers(self, service: Known, port: Port) -> list[int]:
        if isinstance(port.said.target, int):
            return [port.said.target]
        numbers = [number for pod in self.pods for number in targets(port, pod)]
        numbers += [each.port for each in service.endpoints(port) if each.account in (None, self.account)]
        return [*dict.fromkeys(numbers)]

    def is_party(self, party: Party) -> bool:
        if party.kind == "ServiceAccount":
            return party.key == self.account
        binding = self.mesh.objects.bindings[party.key]
        # Other pods of the service account may have other labels.
        pods = {*self.pods}
        return self.account in self.mesh.named(binding) or any(pod in pods for pod in self.mesh.takes(binding))


def _selects(service: Known, pods: tuple[Kin, ...], labels: dict[str, str]) -> bool:
    selector = dict(service.said.spec.selector)
    if not selector:
        return False
    return any(has(pod.labels, selector) for pod in pods) or (not pods and has(labels, selector))
