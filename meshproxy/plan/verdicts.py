"""What a worker is told of the fitness of endpoints, and says of it.

A verdict is about a check or a judge, and an endpoint: its key holds what the configuration says of the check as well,
so that one that was told for the next generation means nothing to the present one, and the other way round.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256

from meshproxy import model
from meshproxy.cluster.outlier import Ejection

EVERYBODY = "*"
"""In place of an endpoint."""


def check_of(said: model.Cluster) -> str:
    """What the keys begin with of verdicts that checks find; nothing, where there are none."""
    if said.health is None:
        return ""
    tls = model.encode(said.tls) if said.tls is not None else None
    checked = {"health": model.encode(said.health), "proxy": said.proxy_protocol, "tls": tls}
    return _identity(said.name, {**checked, "version": said.http.version})


def judge_of(said: model.Cluster) -> str:
    """The same of ejections."""
    return "" if said.outlier is None else _identity(said.name, {"outlier": model.encode(said.outlier)})


def gate_of(said: model.Cluster) -> str:
    """The same of breakers, which concern all endpoints alike."""
    return _identity(said.name, {"breaker": model.encode(said.breaker)}) if said.breaker.opens else ""


def _identity(name: str, said: Mapping[str, object]) -> str:
    return f"{name} {sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]} "


def about(key: str) -> str:
    """The cluster."""
    return key.partition(" ")[0]


class Verdicts:
    def __init__(self, now: Callable[[], float], say: Callable[[str, Ejection], None]) -> None:
        """`say` carries an ejection to all other workers."""
        self.unfit: set[str] = set()
        self.ejected: dict[str, Ejection] = {}
        self.say = say
        self._now = now

    def hear(self, fit: Mapping[str, bool]) -> None:
        for key, well in fit.items():
            if well:
                self.unfit.discard(key)
            else:
                self.unfit.add(key)

    def hear_ejected(self, ejected: Mapping[str, Ejection]) -> None:
        self.ejected = {**_lasting(self.ejected, self._now()), **ejected}

    def forget(self, kept: Collection[str]) -> None:
        """All that is over, or is about no check or judge of these."""
        self.unfit = {key for key in self.unfit if _of(key) in kept}
        lasting = _lasting(self.ejected, self._now())
        self.ejected = {key: held for key, held in lasting.items() if _of(key) in kept}


def _of(key: str) -> str:
    """Whose key it is; an address, which may have a space in it, comes last."""
    name, digest, _ = key.split(" ", 2)
    return f"{name} {digest} "


def _lasting(ejected: Mapping[str, Ejection], now: float) -> dict[str, Ejection]:
    return {key: held for key, held in ejected.items() if held.until > now}
