"""A proxy beside what a manifest of Kubernetes runs: manifest -> manifest, offline, always the same.

    Stream.of(data, "app.yaml").injected(Options(form="older"))     # a text
    inject(manifest, (), options, findings)                         # one manifest
    sidecar(options)                                                # what is added to a pod

Injected twice is injected once: what an injection leaves behind says how it is undone (`undo`), and a new one begins
with that.
"""

from __future__ import annotations

from meshproxy.inject.containers import sidecar as sidecar
from meshproxy.inject.findings import Findings as Findings
from meshproxy.inject.manifests import inject as inject
from meshproxy.inject.options import Options as Options
from meshproxy.inject.stream import Done as Done
from meshproxy.inject.stream import Stream as Stream
